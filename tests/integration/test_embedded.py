"""The embedded stack and its servers: real NATS, PostgreSQL and Triton, killed and started again."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nats
import nats.errors
import numpy as np
import psutil
import psycopg
import pytest
import tritonclient.http

from deploy import install
from deploy.embedded import processes
from deploy.embedded.parts import SERVERS
from deploy.embedded.ports import free_port, is_free, preferred_or_free
from deploy.embedded.servers import BusUser
from deploy.embedded.stack import Stack, StackError
from deploy.embedded.status import rows
from deploy.embedded.testing_servers import (
    NatsServer,
    ServerFailed,
    TritonServer,
    nats_server,
    postgres_server,
    triton_server,
)
from deploy.provision import allow_lists
from shared.streams import STREAMS, Declaration
from tests.freezing import freeze

DOUBLER = """
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        return [
            pb.InferenceResponse([pb.Tensor("y", pb.get_input_tensor_by_name(r, "x").as_numpy() * np.float32(2))])
            for r in requests
        ]
"""
DOUBLER_CONFIG = """
backend: "python"
max_batch_size: 8
input [{name: "x", data_type: TYPE_FP32, dims: [3]}]
output [{name: "y", data_type: TYPE_FP32, dims: [3]}]
"""


def until(met: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, with a deadline only against hanging."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the condition was not met"
        time.sleep(0.02)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestNats:
    async def test_data_survives_a_crash_on_the_same_port(self, tmp_path: Path) -> None:
        with nats_server(tmp_path) as server:
            connection = await nats.connect(server.url)
            await connection.jetstream().add_stream(name="S", subjects=["s"])
            await connection.jetstream().publish("s", b"kept")
            await connection.close()
            old = server.pid
            server.kill()
            server.start()
            connection = await nats.connect(server.url)
            message = await connection.jetstream().get_msg("S", 1)
            await connection.close()
            assert (message.data, server.pid != old) == (b"kept", True)

    async def test_a_user_may_do_only_what_its_lists_allow(self, tmp_path: Path) -> None:
        users = {"reader": BusUser("secret", {"publish": {"allow": ["mine"]}, "subscribe": {"allow": ["_INBOX.>"]}})}
        denied: list[str] = []

        async def on_error(error: Exception) -> None:
            denied.append(str(error).lower())

        with nats_server(tmp_path, users) as server:
            connection = await nats.connect(server.url_for("reader"), error_cb=on_error)
            await connection.publish("mine", b"")
            await connection.publish("others", b"")
            with pytest.raises(nats.errors.TimeoutError):
                await connection.jetstream(timeout=0.3).stream_info("EVT")
            await connection.flush(60)
            await connection.close()
        assert any('publish to "others"' in line for line in denied)
        assert not any('"mine"' in line for line in denied)

    async def test_nobody_enters_without_a_password(self, tmp_path: Path) -> None:
        with nats_server(tmp_path) as server, pytest.raises(nats.errors.Error, match="Authorization"):
            await nats.connect(server.servers, allow_reconnect=False)

    async def test_an_empty_declaration_grants_nothing(self, tmp_path: Path) -> None:
        empty = BusUser("secret", allow_lists(Declaration("stranger")))
        with nats_server(tmp_path, {"stranger": empty}) as server:
            connection = await nats.connect(server.url_for("stranger"), inbox_prefix=b"_INBOX_stranger")
            with pytest.raises(nats.errors.TimeoutError):
                await connection.jetstream(timeout=0.3).account_info()
            await connection.close()


class TestPostgres:
    def test_committed_rows_survive_a_crash(self, tmp_path: Path) -> None:
        with postgres_server(tmp_path) as server:
            with psycopg.connect(server.dsn) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 7 AS x")
            server.kill()
            server.start()
            with psycopg.connect(server.dsn) as connection:
                assert connection.execute("SELECT x FROM kept").fetchone() == (7,)

    def test_a_lock_of_an_unrelated_process_is_no_obstacle(self, tmp_path: Path) -> None:
        with postgres_server(tmp_path) as server:
            lock = server.data / "postmaster.pid"
            content = lock.read_text().splitlines()
            server.kill()
            lock.write_text("\n".join([str(os.getpid()), *content[1:]]) + "\n")
            server.start()

    def test_a_wrong_password_is_refused(self, tmp_path: Path) -> None:
        with postgres_server(tmp_path) as server:
            wrong = server.dsn.replace(server.password, "wrong")
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(wrong)


def add_doubler(server: TritonServer) -> None:
    folder = server.repository / "doubler"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(DOUBLER)
    (folder / "config.pbtxt").write_text(DOUBLER_CONFIG)


class TestTriton:
    def test_a_python_model_is_loaded_with_the_key_only_and_served(self, tmp_path: Path) -> None:
        with triton_server(tmp_path) as server:
            add_doubler(server)
            with tritonclient.http.InferenceServerClient(server.http.removeprefix("http://")) as client:
                with pytest.raises(tritonclient.http.InferenceServerException, match="restricted"):
                    client.load_model("doubler")
                client.load_model("doubler", headers=dict([server.access_header]))
                given = tritonclient.http.InferInput("x", [2, 3], "FP32")
                given.set_data_from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
                answer = client.infer("doubler", [given]).as_numpy("y")
            assert answer.tolist() == [[0, 2, 4], [6, 8, 10]]

    def test_it_comes_back_after_a_crash(self, tmp_path: Path) -> None:
        with triton_server(tmp_path) as server:
            server.kill()
            server.start()
            assert server.is_ready()

    def test_even_a_frozen_stub_dies_with_its_server(self, tmp_path: Path) -> None:
        with triton_server(tmp_path) as server:
            add_doubler(server)
            with tritonclient.http.InferenceServerClient(server.http.removeprefix("http://")) as client:
                client.load_model("doubler", headers=dict([server.access_header]))
            (stub,) = psutil.Process(server.pid).children()
            mark = processes.identity(stub.pid)
            freeze(stub.pid)
            server.kill()
            assert mark is not None
            until(lambda: not processes.is_alive(mark))

    @pytest.mark.parametrize("path", ["v2/repository/index", "v2/systemsharedmemory/status", "v2/logging"])
    def test_restricted_apis_are_closed(self, tmp_path: Path, path: str) -> None:
        method = "POST" if path.endswith("index") else "GET"
        with triton_server(tmp_path) as server:
            request = urllib.request.Request(f"{server.http}/{path}", method=method)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(request)


@pytest.fixture(scope="class")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("home"), parts=SERVERS, say=lambda line: None)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def listening(pids: list[int]) -> set[str]:
    """Where these processes listen; PostgreSQL's children come and go meanwhile."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found += psutil.Process(pid).net_connections("inet")
    return {c.laddr.ip.removeprefix("::ffff:") for c in found if c.status == psutil.CONN_LISTEN}


def provisioned(stack: Stack, *arguments: str) -> tuple[int, str]:
    """Exit status and output of the recipe."""
    command = [sys.executable, "-m", "deploy.embedded", "provision", "--home", str(stack.home.path), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout + ended.stderr


class TestStack:
    def test_stack_json_says_where_everything_is(self, stack: Stack) -> None:
        info = stack.info
        assert set(info) == {"gateway", "gateway_grpc", "nats", "postgres", "triton", "admin_key_file", "processes"}
        assert set(info["triton"]) == {"http", "grpc", "metrics", "access_header"}
        assert set(info["processes"]) == {*SERVERS, "supervisord"}
        assert all(psutil.pid_exists(pid) for pid in info["processes"].values())

    async def test_its_addresses_let_the_administrator_in(self, stack: Stack) -> None:
        with psycopg.connect(stack.info["postgres"]) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("aimass",)
        bus = await nats.connect(stack.info["nats"])
        assert {info.config.name for info in await bus.jetstream().streams_info()} >= {s.name for s in STREAMS}
        await bus.close()

    async def test_provisioning_shows_its_plan_and_tells_by_its_exit_status(self, stack: Stack) -> None:
        bus = await nats.connect(stack.info["nats"])
        js = bus.jetstream()
        [declared] = [stream for stream in STREAMS if stream.name == "DLQ"]
        assert provisioned(stack, "--plan")[0] == 0
        await js.update_stream(declared.evolve(subjects=["dlq.>", "foreign"]))
        await js.publish("foreign", b"kept")
        for arguments in (["--plan"], []):
            status, text = provisioned(stack, *arguments)
            assert status == 4
            assert "subjects: dlq.>, foreign -> dlq.>: what is stored of foreign would have no stream" in text
        await js.purge_stream("DLQ", subject="foreign")
        assert [provisioned(stack, *arguments)[0] for arguments in (["--plan"], [], ["--plan"])] == [3, 0, 0]
        assert (await js.stream_info("DLQ")).config.subjects == ["dlq.>"]
        await bus.close()

    def test_everything_listens_on_loopback_only(self, stack: Stack) -> None:
        pids = [member for pid in stack.info["processes"].values() for member in processes.family(pid)]
        assert listening(pids) == {"127.0.0.1"}

    def test_nobody_else_may_read_its_files(self, stack: Stack) -> None:
        home = stack.home.path
        secret = [home / "secrets.json", home / "stack.json", home / "nats" / "nats.conf", stack.home.manager_config]
        assert mode(home) == 0o700
        assert {mode(path) for path in [*secret, *stack.home.folder("run", "launch").iterdir()]} == {0o600}

    def test_no_secret_is_in_an_argument_or_log_but_tritons(self, stack: Stack) -> None:
        kept = json.loads((stack.home.path / "secrets.json").read_text())
        pids = [member for pid in stack.info["processes"].values() for member in processes.family(pid)]
        shown = [*(" ".join(psutil.Process(pid).cmdline()) for pid in pids)]
        shown += [log.read_text() for log in stack.home.folder("logs").iterdir() if log.name != "triton.log"]
        leaked = {name for name, secret in kept.items() if any(secret in text for text in shown)}
        assert leaked <= {"triton"}

    def test_up_on_a_running_stack_only_says_so(self, stack: Stack) -> None:
        said: list[str] = []
        before = stack.info["processes"]
        Stack(stack.home.path, parts=SERVERS, say=said.append).up()
        assert [line.split(":")[0] for line in said] == ["already running"]
        assert stack.info["processes"] == before

    @pytest.mark.parametrize("name", SERVERS)
    def test_a_killed_part_comes_back_and_stack_json_follows(self, stack: Stack, name: str) -> None:
        old = stack.kill(name)
        until(lambda: stack.info["processes"].get(name, old) != old)
        stack.wait_ready([name])
        assert stack.info["processes"][name] == stack.pid(name)

    def test_a_stopped_part_stays_down_until_it_is_started(self, stack: Stack) -> None:
        stack.stop(["triton"])
        until(lambda: "triton" not in stack.info["processes"])
        assert not stack.is_ready("triton")
        stack.start(["triton"])
        assert stack.is_ready("triton")

    def test_what_is_not_ready_is_named(self, stack: Stack) -> None:
        with pytest.raises(StackError, match="gateway is not ready"):
            stack.wait_ready(["nats", "gateway"], seconds=0.1)

    def test_status_shows_each_part(self, stack: Stack) -> None:
        shown = {row.part: row for row in rows(stack)}
        assert all(shown[name].ready and shown[name].memory > 0 and shown[name].pid for name in SERVERS)
        assert (shown["gateway"].ready, shown["gateway"].pid) == (False, None)


class TestCrashOfEverything:
    def test_children_die_with_the_manager_and_data_is_kept(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, parts=SERVERS, say=lambda line: None)
        stack.up()
        try:
            self.write(stack)
            recorded = json.loads(stack.home.processes_file.read_text())
            stack.kill("supervisord")
            until(lambda: not any(processes.is_alive(mark) for mark in recorded.values()))
            again = Stack(tmp_path, parts=SERVERS, say=lambda line: None)
            again.up()
            with psycopg.connect(again.plan.admin_dsn) as connection:
                assert connection.execute("SELECT x FROM kept").fetchone() == (7,)
        finally:
            Stack(tmp_path, parts=SERVERS, say=lambda line: None).down()
        assert not stack.home.stack_file.exists()

    @staticmethod
    def write(stack: Stack) -> None:
        with psycopg.connect(stack.plan.admin_dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS x")

    def test_leftovers_are_known_by_start_time_not_by_pid_alone(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            mark = processes.identity(process.pid)
            assert mark
            stranger = f"{mark.rpartition(':')[0]}:1"
            assert processes.kill_all({"stranger": stranger}) == []
            assert process.poll() is None
            assert processes.kill_all({"ours": mark}) == ["ours"]
            assert process.wait() == -signal.SIGKILL

    def test_a_long_path_to_the_state_folder_is_no_obstacle(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path / ("deep" * 30), parts=["nats"], say=lambda line: None)
        try:
            stack.up()
            assert stack.is_ready("nats")
        finally:
            stack.down()


class TestServers:
    def test_a_server_that_cannot_start_says_why(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("deploy.embedded.testing_servers.START_SECONDS", 0.2)
        server = NatsServer(tmp_path)
        (server.folder / "jetstream").write_text("not a folder")

        def says_why() -> bool:
            """However often it takes until the server was fast enough to say it."""
            with pytest.raises(ServerFailed) as failed:
                server.start()
            return "storage directory" in str(failed.value)

        until(says_why)

    def test_it_dies_with_the_process_that_started_it(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from deploy.embedded.testing_servers import NatsServer\n"
            "server = NatsServer(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); input()"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            mark = processes.identity(int(process.stdout.readline()))
            process.kill()
        assert mark is not None
        until(lambda: not processes.is_alive(mark))

    def test_a_port_reserved_by_another_process_is_not_chosen(self) -> None:
        code = "from deploy.embedded.ports import free_port; print(free_port(), flush=True); input()"
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            assert is_free(port)
            assert preferred_or_free(port) != port
            process.kill()
            process.wait()
            assert preferred_or_free(port) == port

    def test_who_listens_is_told_apart(self) -> None:
        with socket.create_server(("127.0.0.1", free_port())) as listener:
            port = listener.getsockname()[1]
            assert processes.listens(os.getpid(), port)
            assert not processes.listens(os.getppid(), port)
            assert preferred_or_free(port) != port

    def test_free_ports_are_free_and_distinct(self) -> None:
        found = [free_port() for _ in range(20)]
        assert len(set(found)) == 20
        assert all(is_free(port) for port in found)


def test_an_installation_is_not_repeated_when_nothing_changed() -> None:
    assert install.installed()
