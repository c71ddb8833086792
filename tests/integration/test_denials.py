"""The denial matrix: what each user of the bus may do beyond its own work, which is nothing; and who hears of it.

Grants stand here once more, by hand, so that each new one shows in review.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import nats
import pytest
from pydantic import SecretStr

from deploy import extension
from deploy.bus_plan import matches
from deploy.embedded.testing_servers import NatsServer, nats_server
from deploy.provision import bus_users, declarations, provision_bus_over
from shared.bus import Bus, connect, settle
from shared.context import Context
from shared.denials import read_denial
from shared.envelope import read_envelope
from shared.errors import Drift
from shared.events import EVENTS
from shared.events.alarms import BusAccessDenied
from shared.ops.recent import RECENT
from shared.rpc.auth import ListUsers
from shared.settings import ServiceSettings
from shared.streams import SERVICES, STREAMS, Declaration
from tests.integration.running import Running, until

EXTENSION = extension.EXTENSION
IDENTITIES = (*SERVICES, EXTENSION)
DECLARED: dict[str, Declaration] = {each.service: each for each in declarations()}
STREAM_NAMES = tuple(stream.name or "" for stream in STREAMS)
TASK_SERVICES = ("trainer", "evaluator", "inference")

SAYS = {
    "auth": ("identity",),
    "registry": ("models",),
    "trainer": ("training", "pipelines", "tasks"),
    "inference": ("deployment", "inference", "predictions", "tasks"),
    "evaluator": ("evaluation", "tasks"),
    "monitor": ("bus", "quotas"),
}
ASKS = {
    "registry": (
        *("inference.list_deployments", "inference.list_references", "monitor.check_task_quota"),
        *("trainer.list_references", "evaluator.list_references"),
    ),
    "trainer": (
        *("registry.get_dataset", "registry.get_version", "registry.register_dataset", "registry.promote_version"),
        *("inference.submit_batch", "inference.get_task", "inference.cancel_task"),
        *("evaluator.get_task", "evaluator.cancel_task", "monitor.check_task_quota"),
    ),
    "inference": (
        *("registry.get_dataset", "registry.get_model", "monitor.check_task_quota"),
        *("trainer.ask_admission", "trainer.get_task", "evaluator.get_task"),
    ),
    "evaluator": ("trainer.ask_admission", "trainer.get_task", "inference.get_task", "inference.stage_version"),
    "monitor": ("trainer.get_queues",),
    "gateway": ("*.*",),
}
CONSUMES = {
    "registry": ("EVT", "RETRY"),
    "trainer": ("EVT", "CMD", "RETRY"),
    "inference": ("EVT", "RETRY"),
    "evaluator": ("EVT", "RETRY"),
    "monitor": ("EVT", "PRED", "USAGE", "RETRY"),
    EXTENSION: ("EVT",),
}
READS = {
    "auth": ("KV_credentials",),
    "monitor": ("DLQ", "EVT"),
    "gateway": ("KV_credentials", "EVT", "LOG"),
}
FURTHER = {
    "auth": (
        *(
            "auth.revoked",
            "auth.changed",
            "$KV.credentials.x",
            "$KV.credentials.quota.default",
            "evt.default.ext-x.v1.said",
        ),
        *("$JS.API.CONSUMER.CREATE.EVT.ext:default:x", "$JS.API.CONSUMER.DELETE.EVT.ext:default:x"),
        *("$JS.API.CONSUMER.LIST.EVT", "$JS.API.CONSUMER.INFO.EVT.*"),
        *("$JS.API.CONSUMER.CREATE.EVT.auth", "$JS.API.CONSUMER.DELETE.EVT.auth"),
    ),
    "inference": ("infer.default.m", "inferred.gateway.x", "infer.default.m.withdrawn"),
    "evaluator": ("infer.default.m", "infer.default.m.withdrawn"),
    "registry": ("usage.default",),
    "gateway": ("infer.default.m", "infer.default.m.withdrawn", "usage.default"),
    "monitor": (*(f"retry.{service}" for service in SERVICES), "$KV.credentials.quota.default"),
    EXTENSION: ("cmd.default.trainer.v1.train_model",),
}
LISTENS = {
    "auth": ("rpc.auth.>",),
    "registry": ("rpc.registry.>",),
    "trainer": ("rpc.trainer.>",),
    "inference": ("rpc.inference.>", "infer.>"),
    "evaluator": ("rpc.evaluator.>",),
    "monitor": ("rpc.monitor.>",),
    "gateway": ("auth.revoked", "auth.changed", "inferred.gateway.>"),
}
OF_STREAMS = ("DELETE", "PURGE", "UPDATE", "CREATE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE")
OF_CONSUMERS = ("CREATE", "DURABLE.CREATE", "DELETE", "PAUSE", "INFO")


def verbs() -> list[str]:
    return [f"{name}.{request.verb()}" for name, declared in DECLARED.items() for request in declared.answers]


def attempts() -> set[str]:
    """All that anybody could try to publish."""
    tried = {event.subject("default") for event in EVENTS.values()}
    tried |= {command.subject("default") for declared in DECLARED.values() for command in declared.obeys}
    tried |= {f"rpc.{verb}" for verb in verbs()}
    tried |= {f"$JS.API.STREAM.{verb}.{stream}" for verb in OF_STREAMS for stream in STREAM_NAMES}
    tried |= {f"$JS.API.DIRECT.GET.{stream}" for stream in STREAM_NAMES}
    tried |= {f"$JS.API.CONSUMER.{verb}.{stream}" for verb in ("LIST", "NAMES", "CREATE") for stream in STREAM_NAMES}
    for stream in STREAM_NAMES:
        for durable in IDENTITIES:
            tried |= {f"$JS.API.CONSUMER.{verb}.{stream}.{durable}" for verb in OF_CONSUMERS}
            tried |= {f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", f"$JS.ACK.{stream}.{durable}.1.1.1.1.0"}
    tried |= {f"{begin}.{service}" for begin in ("dlq", "retry") for service in SERVICES}
    tried |= {f"_INBOX_{name}.x" for name in IDENTITIES} | {"_INBOX.x", "log.default.train-1"}
    tried |= {"$SYS.REQ.SERVER.PING", "$JS.API.ACCOUNT.PURGE.x"}
    tried |= {f"$JS.API.{verb}" for verb in ("INFO", "STREAM.NAMES", "STREAM.LIST")}
    return tried | {subject for granted in FURTHER.values() for subject in granted} | {"evt.default.ext-x.v1.said"}


def granted(name: str) -> list[str]:
    """All of it that this user may publish."""
    may = [f"evt.default.{domain}.>" for domain in SAYS.get(name, ()) if domain != "predictions"]
    may += ["pred.default.*"] if "predictions" in SAYS.get(name, ()) else []
    may += [f"rpc.{verb}" for verb in ASKS.get(name, ())] + list(FURTHER.get(name, ()))
    may += [f"$JS.API.DIRECT.GET.{stream}" for stream in READS.get(name, ())]
    for stream in CONSUMES.get(name, ()):
        may += [f"$JS.API.CONSUMER.{verb}.{stream}.{name}" for verb in ("INFO", "MSG.NEXT")]
        may.append(f"$JS.ACK.{stream}.{name}.>")
    may += ["evt.default.alarms.v1.bus_access_denied"] if name in SERVICES else []
    may += [f"dlq.{name}.>"] if name in CONSUMES and name in SERVICES else []
    return may + (["log.default.*"] if name in TASK_SERVICES else [])


def subscriptions() -> set[str]:
    """All that anybody could try to listen to."""
    tried = {">", "*.>", "evt.>", "cmd.>", "pred.>", "dlq.>", "retry.>", "log.>", "rpc.>", "infer.>", "inferred.>"}
    tried |= {"$JS.>", "$JS.EVENT.ADVISORY.>", "$KV.>", "$SYS.>", "_INBOX.>", "auth.revoked", "auth.changed"}
    tried |= {f"_INBOX_{name}.>" for name in IDENTITIES} | {f"rpc.{service}.>" for service in SERVICES}
    return tried | {"inferred.gateway.>"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A bus with every user as it is deployed, each with a password of its own."""
    passwords = {service: secrets.token_hex(8) for service in SERVICES}
    users = bus_users(passwords) | {EXTENSION: extension.user(secrets.token_hex(8))}
    with nats_server(tmp_path_factory.mktemp("nats"), users) as server:
        yield server


@pytest.fixture
async def streams(server: NatsServer) -> None:
    await provision_bus_over(server.url, DECLARED.values())


@pytest.mark.parametrize("name", IDENTITIES)
async def test_it_may_do_its_own_work_and_nothing_else(server: NatsServer, streams: None, name: str) -> None:
    denied: dict[str, set[str]] = {"publish": set(), "subscription": set()}

    async def on_error(error: Exception) -> None:
        denial = read_denial(error)
        assert denial is not None, error
        denied[denial.action].add(denial.subject)

    connection = await nats.connect(server.url_for(name), inbox_prefix=f"_INBOX_{name}".encode(), error_cb=on_error)
    for subject in attempts():
        await connection.publish(subject, b"{}")
    for subject in subscriptions():
        await connection.subscribe(subject)
    await settle(connection, 60)
    await connection.close()
    may, hears = granted(name), {f"_INBOX_{name}.>", *LISTENS.get(name, ())}
    expected = {subject.lower() for subject in attempts() if not any(matches(pattern, subject) for pattern in may)}
    assert denied["publish"] == expected
    assert denied["subscription"] == {subject.lower() for subject in subscriptions() - hears}


def test_every_verb_that_a_service_asks_for_is_answered() -> None:
    asked = {verb for name, found in ASKS.items() if name != "gateway" for verb in found}
    assert asked <= set(verbs())


def settings_for(server: NatsServer, name: str) -> ServiceSettings:
    password = SecretStr(server.users[name].password)
    return ServiceSettings(nats_url=server.servers, nats_user=name, nats_password=password)


async def alarms(server: NatsServer) -> list[tuple[str, BusAccessDenied]]:
    """Who said it, and what, of all that the stream of events holds."""
    connection = await nats.connect(server.url)
    js, found = connection.jetstream(timeout=60), []
    subject = BusAccessDenied.subject("default")
    state = (await js.stream_info("EVT", subjects_filter=subject)).state
    sequence = state.first_seq
    for _ in range((state.subjects or {}).get(subject, 0)):
        message = await js.get_msg("EVT", sequence, subject=subject, next=True)
        sequence = (message.seq or 0) + 1
        if message.data != b"{}":
            source = read_envelope(subject, message.headers or {}, message.data or b"").source
            found.append((source, BusAccessDenied.model_validate_json(message.data or b"")))
    await connection.close()
    return found


async def test_a_request_that_is_denied_ends_at_once_and_alarms(server: NatsServer, streams: None) -> None:
    bus = Bus("evaluator", settings_for(server, "evaluator"))
    await bus.connect()
    for _ in range(2):
        with pytest.raises(Drift, match="does not let evaluator ask rpc.auth.list_users: run ./justw provision"):
            await bus.ask(ListUsers(), Context(), seconds=3600)

    async def told() -> list[Any]:
        return [each for each in await alarms(server) if each[1].service == "evaluator"]

    event = BusAccessDenied(service="evaluator", action="publish", bus_subject="rpc.auth.list_users")
    assert await until(told) == [("evaluator", event)]
    await bus.stop()


async def test_the_data_planes_connection_alarms_too(server: NatsServer, streams: None) -> None:
    client = await connect("gateway", settings_for(server, "gateway"))
    await client.subscribe("evt.>")
    event = BusAccessDenied(service="gateway", action="subscription", bus_subject="evt.>")

    async def told() -> bool:
        return ("gateway", event) in await alarms(server)

    await until(told)
    await client.close()


async def test_an_operator_sees_it_on_monitors_page_and_among_the_events(
    monitor: Running,
) -> None:
    RECENT.clear()
    event = BusAccessDenied(service="registry", action="publish", bus_subject="evt.default.training.v1.x")
    await monitor.publish(event)
    await monitor.settled()
    [row] = await monitor.rows("SELECT subject FROM timeline WHERE type = $1", event.type_name())
    assert row["subject"] == "alarms/registry"
    [remark] = [each for each in RECENT if each.event == "the bus denied access to a service"]
    assert remark.level == "error"
    assert "of=registry" in remark.detail
    assert "subject=evt.default.training.v1.x" in remark.detail
