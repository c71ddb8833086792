"""Each protection switched off in a copy of the tree: the test that names it must fail there, else it shows nothing.

The rows are those of docs/security.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.tree import BIN, ROOT, Tree

pytestmark = pytest.mark.slow
ROWS = (ROOT / "docs" / "security.md").read_text()
SECURITY, UNIT, WHOLE = "tests/security", "tests/unit", "tests/integration"


class Switch(NamedTuple):
    """What stands in a file, by what it is replaced, and the tests that must notice."""

    file: str
    on: str
    off: str
    test: str


SWITCHES = {
    "roles": Switch(
        "services/gateway/routes/declare.py",
        "if self.permission is not None:",
        "if False:",
        "tests/contract/test_routes.py::test_nobody_beyond_his_role",
    ),
    "identity": Switch(
        "services/gateway/control.py",
        "if path in PUBLIC_PATHS or",
        "if True or",
        "tests/contract/test_routes.py::test_nobody_without_a_key",
    ),
    "addresses inside": Switch(
        "shared/outbound.py",
        "return found.is_global and not found.is_multicast",
        "return True or not found.is_multicast",
        f"{WHOLE}/test_outbound.py::test_this_machine_is_not_called",
    ),
    "Triton's other APIs": Switch(
        "deploy/embedded/servers.py",
        'RESTRICTED = "model-repository,shared-memory,trace,logging"',
        'RESTRICTED = "health"',
        f"{WHOLE}/test_embedded.py -k restricted_apis",
    ),
    "names of pools": Switch(
        "services/inference/regions.py",
        "secrets.token_hex(NAME_BYTES)",
        "file",
        f"{WHOLE}/test_pooled_bodies.py -k start_anew",
    ),
    "bodies that were given up": Switch(
        "services/inference/data_plane.py",
        "if waiting.requests.place and not self._pools.is_held(waiting.requests.place):",
        "if False:",
        f"{WHOLE}/test_pooled_bodies.py -k given_up",
    ),
    "old Tritons": Switch(
        "services/inference/engine.py",
        "if _numbers(version) < _numbers(self._least):",
        "if False:",
        f"{WHOLE}/test_triton.py -k too_old",
    ),
    "browsers of provider logins": Switch(
        "services/auth/oidc/desk.py",
        "            if login is None or not login.is_of(request.provider, request.browser, datetime.now(UTC)):\n"
        "                raise",
        "            if login is None:\n                raise",
        f"{WHOLE}/test_oidc.py -k browser_that_began",
    ),
    "PKCE": Switch(
        "services/auth/oidc/domain.py",
        '"code_challenge_method": "S256"',
        '"code_challenge_method": "plain"',
        f"{WHOLE}/test_oidc.py -k asked_for",
    ),
    "nonces of providers": Switch(
        "services/auth/oidc/checking.py",
        "    if not isinstance(said, str) or not hmac",
        "    if False and not hmac",
        f"{UNIT}/test_oidc.py -k attack",
    ),
    "issuers of providers": Switch(
        "services/auth/oidc/checking.py", '"issuer": issuer, ', "", f"{UNIT}/test_oidc.py -k attack"
    ),
    "audiences of providers": Switch(
        "services/auth/oidc/checking.py",
        'options: Any = {"require"',
        'options: Any = {"verify_aud": False, "require"',
        f"{UNIT}/test_oidc.py -k attack",
    ),
    "algorithms of providers": Switch(
        "services/auth/oidc/checking.py",
        """    if algorithm != header.get("alg"):
        raise ValueError("another algorithm than the key's")
    return found[0], algorithm""",
        """    return found[0], str(header.get("alg"))""",
        f"{UNIT}/test_oidc.py -k attack",
    ),
    "sizes of bodies": Switch(
        "services/gateway/bodies.py",
        "    if size > limit:",
        "    if False:",
        f"{SECURITY}/test_edge.py -k large_body or too_much",
    ),
    "no pickle in models": Switch(
        "services/registry/engine.py",
        "    content = path.read_bytes()",
        '    content = path.read_bytes()\n    __import__("pickle").loads(content)',
        f"{SECURITY}/test_canaries.py -k no_model",
    ),
    "no pickle in rows": Switch(
        "shared/tables/arrays.py",
        "            self._archive = zipfile.ZipFile(path)",
        "            dict(np.load(path, allow_pickle=True))\n            self._archive = zipfile.ZipFile(path)",
        f"{SECURITY}/test_canaries.py -k no_rows and npz",
    ),
    "no pickle in sources": Switch(
        "shared/names.py",
        "import re",
        "import pickle  # noqa\nimport re",
        f"{SECURITY}/test_canaries.py -k nothing_of_ours",
    ),
    "formats by content": Switch(
        "services/registry/formats.py",
        "    if not head:",
        '    if head.startswith(b"PK"):\n        return None\n    if not head:',
        f"{WHOLE}/test_uploads.py -k other_formats",
    ),
    "external data": Switch(
        "services/registry/engine.py",
        'if kind == "TensorProto" and (',
        'if kind == "Nothing" and (',
        f"{SECURITY}/test_models.py -k external",
    ),
    "one name, one tensor": Switch(
        "services/registry/engine.py",
        "if len({spec.name for spec in specs}) < len(specs):",
        "if False:",
        f"{SECURITY}/test_models.py -k twice",
    ),
    "limits of the reading process": Switch(
        "services/registry/engine.py",
        "    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))",
        "    memory = -1",
        f"{SECURITY}/test_models.py -k beyond_its_memory",
    ),
    "no network, no programs": Switch(
        "shared/isolation.py",
        "return bool(libc.syscall(",
        "return True or bool(libc.syscall(",
        f"{UNIT}/test_isolation.py",
    ),
    "members of archives": Switch(
        "services/registry/archive.py",
        "            _check_members(archive.infolist(), most_bytes)\n",
        "",
        f"{WHOLE}/test_uploads.py -k hostile_archives",
    ),
    "bombs of arrays": Switch(
        "shared/tables/arrays.py",
        "if unpacked > max(",
        "if 0 > max(",
        f"{SECURITY}/test_models.py -k thousand",
    ),
    "headers of tokens": Switch(
        "services/gateway/tokens.py",
        "if header.keys() != HEADER or",
        "if",
        f"{UNIT}/test_tokens.py -k forged",
    ),
    "algorithms of tokens": Switch(
        "services/gateway/tokens.py",
        "        key.key,\n        algorithms=[ALGORITHM],",
        '        key.key.key.public_bytes_raw() if jwt.get_unverified_header(token)["alg"] == "HS256" else key.key,\n'
        '        algorithms=[ALGORITHM, "HS256"],',
        f"{UNIT}/test_tokens.py -k forged",
    ),
    "audience of tokens": Switch(
        "services/gateway/tokens.py",
        '"strict_aud": True',
        '"verify_aud": False',
        f"{UNIT}/test_tokens.py -k forged",
    ),
    "secrets of keys": Switch(
        "services/auth/domain.py",
        "prefix=secret[:SHOWN_CHARACTERS],",
        "prefix=secret,",
        f"{WHOLE}/test_auth.py -k secrets_stand_nowhere",
    ),
    "rates": Switch(
        "services/gateway/control.py",
        "            self._limits.check(ticket)",
        "            pass",
        f"{WHOLE}/test_limits.py -k one_more_than",
    ),
    "claimed addresses": Switch(
        "services/gateway/limits/addresses.py",
        'return self.seen(client[0] if client else UNKNOWN, scope["headers"] if self._trusted else ())',
        'return dict(scope["headers"]).get(FORWARDED_FOR, (client[0] if client else UNKNOWN).encode()).decode()',
        f"{WHOLE}/test_limits.py -k whatever_they_claim",
    ),
    "tags by whom they limit": Switch(
        "services/gateway/access.py",
        "    if is_bound_by_tags(",
        "    if False and is_bound_by_tags(",
        f"{UNIT}/test_grants_domain.py -k setting_tags",
    ),
    "projects of credentials": Switch(
        "services/gateway/caller.py",
        "        self.project: str = self.principal.project",
        '        self.project: str = request.headers.get("aimass-project", self.principal.project)',
        f"{WHOLE}/test_access_matrix.py -k whatever_is_sent",
    ),
    "allow-lists of the bus": Switch(
        "deploy/provision.py",
        "def allow_lists(declaration: Declaration) -> dict[str, Any]:",
        "def allow_lists(declaration: Declaration) -> dict[str, Any]:\n"
        "    return {}\n\n\ndef _(declaration: Any) -> Any:",
        f"{WHOLE}/test_denials.py -k nothing_else",
    ),
    "certificates of the bus": Switch(
        "deploy/embedded/servers.py",
        '"verify": True',
        '"verify": False',
        f"{SECURITY}/test_bus_tls.py -k strangers",
    ),
    "TLS before words": Switch(
        "shared/bus.py",
        "        tls_handshake_first=settings.nats_ca is not None,",
        "",
        f"{SECURITY}/test_bus_tls.py -k never_hears",
    ),
    "time of heads": Switch(
        "services/gateway/guarded.py",
        "now - self._since > self.limits.seconds",
        "False",
        f"{SECURITY}/test_edge.py -k 'who_never_asks'",
    ),
    "sizes of heads": Switch(
        "services/gateway/guarded.py",
        "            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)",
        "            pass",
        f"{SECURITY}/test_edge.py -k too_much",
    ),
    "number of connections": Switch(
        "services/gateway/guarded.py",
        "if len(self.connections) > self.limits.connections:",
        "if False:",
        f"{SECURITY}/test_edge.py -k connections_are_counted",
    ),
    "TLS of today": Switch(
        "shared/tls.py",
        "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n    context.minimum_version = ssl.TLSVersion.TLSv1_2",
        "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
        "    context.minimum_version = ssl.TLSVersion.TLSv1\n"
        '    context.set_ciphers("ALL:@SECLEVEL=0")',
        f"{SECURITY}/test_edge.py -k tls_is_of_today",
    ),
    "headers for browsers": Switch(
        "services/gateway/control.py",
        "*headers.EVERYWHERE]",
        "]",
        f"{SECURITY}/test_gateway.py -k has_its_headers",
    ),
    "origins": Switch(
        "services/gateway/headers.py",
        "allow_origins=settings.cors_origins",
        'allow_origins=["*"]',
        f"{SECURITY}/test_edge.py -k pages_of_others",
    ),
    "what is no event": Switch(
        "shared/envelope.py",
        "    except (ValueError, RecursionError):",
        "    except ZeroDivisionError:",
        f"{SECURITY}/test_fuzz.py -k events",
    ),
    "documents off": Switch(
        "services/gateway/app.py",
        "control_app(edges, settings.docs)",
        "control_app(edges)",
        f"{SECURITY}/test_gateway.py -k can_be_off",
    ),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    copy = Tree(tmp_path_factory.mktemp("switched") / "tree")
    (copy.path / ".venv-triton").symlink_to(ROOT / ".venv-triton")
    return copy


@contextmanager
def switched_off(path: Path, switch: Switch) -> Iterator[None]:
    kept = path.read_text()
    assert kept.count(switch.on) >= 1, f"{switch.file} has no longer: {switch.on}"
    path.write_text(kept.replace(switch.on, switch.off))
    try:
        yield
    finally:
        path.write_text(kept)


@pytest.mark.parametrize("name", SWITCHES)
def test_without_it_the_test_fails(tree: Tree, name: str) -> None:
    switch = SWITCHES[name]
    node, _, chosen = switch.test.partition(" -k ")
    choice = ("-k", chosen.strip("'")) if chosen else ()
    command = (BIN / "python", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", node, *choice)
    with switched_off(tree.path / switch.file, switch):
        ended = tree.run(*command)
    assert ended.returncode == 1, f"{name}: nobody noticed\n{ended.stdout[-3000:]}\n{ended.stderr[-1000:]}"
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED tests", "ERROR tests"))]
    assert failed and failed[0].startswith("FAILED "), f"{name}: no test failed, its fixtures did\n{failed}"


@pytest.mark.parametrize("name", SWITCHES)
def test_the_table_names_it(name: str) -> None:
    assert f"`{name}`" in ROWS
