"""Edges of the setup: whatever is missing, taken, half done or not allowed is one clear line, or just works."""

import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tritonclient.http

from deploy import machine
from deploy.bootstrap import ROOT
from deploy.embedded.__main__ import main
from deploy.embedded.home import Home
from deploy.embedded.parts import PARTS, USUAL_PORTS
from deploy.embedded.ports import is_free
from deploy.embedded.servers import BUS_SPACE
from deploy.embedded.stack import Stack
from deploy.machine import UnfitMachine
from shared.streams import STREAMS
from tests.integration import checkouts
from tests.integration.test_embedded import DOUBLER, DOUBLER_CONFIG

NOBODY = 65534
STORES = ("nats", "postgres")
UP = "import sys; from deploy.embedded.stack import Stack; stack = Stack({home}parts={parts!r}); stack.{verb}()"


def silent(line: str) -> None:
    """For stacks whose words no test reads."""


def seeded(seed: int | None = None) -> random.Random:
    """Random moments that a failure's output allows to repeat."""
    seed = seed if seed is not None else random.randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


class TestPython:
    """justw chooses an interpreter, or says what to install."""

    @staticmethod
    def refusal(path: Path, checkout: Path = ROOT) -> str:
        command = ["/bin/sh", str(checkout / "justw"), "--version"]
        ended = subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended
        return ended.stderr

    @pytest.mark.parametrize("version", ["2.7", "3.10", "3.12", "3.13"])
    def test_another_version_is_named(self, tmp_path: Path, version: str) -> None:
        line = self.refusal(checkouts.interpreters(tmp_path / "bin", {"python3": version}))
        assert f"Python 3.11 is needed; python3 is {version}" in line

    def test_none_is_said(self, tmp_path: Path) -> None:
        assert "none is on PATH" in self.refusal(checkouts.interpreters(tmp_path / "bin", {}))

    @pytest.mark.parametrize("module", ["venv", "ensurepip"])
    def test_a_missing_module_names_its_package(self, tmp_path: Path, module: str) -> None:
        path = checkouts.interpreters(tmp_path / "bin", {"python3.11": "3.11", "python3": "3.13"}, [module])
        assert "python3.11 lacks" in (line := self.refusal(path)) and "apt install python3.11-venv" in line

    def test_a_colon_in_the_path_is_refused(self, tmp_path: Path) -> None:
        checkout = tmp_path / "a:b"
        checkout.mkdir()
        shutil.copy2(ROOT / "justw", checkout)
        path = checkouts.interpreters(tmp_path / "bin", {"python3.11": "3.11"})
        assert "colon" in self.refusal(path, checkout)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may do everything, so that what others may not do is seen as one of them."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(me)


class TestMachine:
    """What is refused before anything is installed or started."""

    def test_this_machine_is_fit(self) -> None:
        machine.check_this_platform()
        assert (machine.python_library_folder() / machine.PYTHON_LIBRARY).exists()

    @pytest.mark.parametrize(
        ("system", "processor", "glibc", "said"),
        [
            ("Linux", "aarch64", (2, 36), "Linux on aarch64"),
            ("Darwin", "arm64", None, "Darwin on arm64"),
            ("Linux", "x86_64", None, "musl"),
            ("Linux", "x86_64", (2, 31), "here it is 2.31"),
        ],
    )
    def test_another_platform_is_refused(
        self, system: str, processor: str, glibc: tuple[int, int] | None, said: str
    ) -> None:
        with pytest.raises(UnfitMachine, match=said):
            machine.check_platform(system, processor, glibc)

    def test_the_oldest_fit_platform_is_not_refused(self) -> None:
        machine.check_platform("Linux", "x86_64", machine.LEAST_GLIBC)

    def test_a_python_without_its_library_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UnfitMachine, match="apt install libpython3.11"):
            machine.python_library_folder([tmp_path])

    def test_too_little_disk_is_refused(self, tmp_path: Path) -> None:
        free = shutil.disk_usage(tmp_path).free
        machine.check_space(tmp_path / "not" / "yet", 1, "It")
        with pytest.raises(UnfitMachine, match="It needs .* GiB of free disk"):
            machine.check_space(tmp_path / "not" / "yet", 2 * free, "It")

    def test_the_bus_may_keep_all_that_its_streams_may_hold(self) -> None:
        assert sum(stream.max_bytes or 0 for stream in STREAMS) <= BUS_SPACE

    def test_what_is_stored_already_needs_no_further_disk(self, tmp_path: Path) -> None:
        before = Home(tmp_path).space_needed()
        Home(tmp_path).folder("nats", "store").joinpath("block").write_bytes(bytes(1000))
        assert before - Home(tmp_path).space_needed() >= 1000

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UnfitMachine, match="not a folder: elsewhere"):
            machine.check_writable(tmp_path / "file" / "below", "elsewhere")

    def test_a_folder_that_may_not_be_written_to_is_refused(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o555)
        with as_somebody_else(), pytest.raises(UnfitMachine, match="cannot be written to: elsewhere"):
            machine.check_writable(closed / "below", "elsewhere")

    def test_a_folder_of_somebody_else_is_refused(self, tmp_path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(tmp_path, NOBODY, NOBODY)
        theirs = tmp_path if os.geteuid() == 0 else Path("/")
        owner = "nobody" if os.geteuid() == 0 else "root"
        with pytest.raises(UnfitMachine, match=f"belongs to {owner}, not to"):
            machine.check_ours(theirs, "elsewhere")


def unshared(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a file system of its own of 64 MiB at the folder."""
    folder.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size=64m tmpfs "$1" && {script}'
    command = ["unshare", "-Urm", "sh", "-c", script, "sh", str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


class TestDisk:
    @pytest.fixture(autouse=True)
    def mountable(self, tmp_path: Path) -> None:
        if unshared(tmp_path / "probe", "true").returncode != 0:
            pytest.skip("no file system of its own can be mounted here")

    def test_up_refuses_a_disk_that_would_fill_up(self, tmp_path: Path) -> None:
        script = 'exec "$2" -m deploy.embedded up --home "$1/home"'
        ended = unshared(tmp_path / "small", script, sys.executable)
        assert ended.returncode == 1 and ended.stderr.count("\n") == 1, ended
        assert "The stack needs" in ended.stderr and "GiB are free" in ended.stderr

    def test_justw_refuses_a_read_only_checkout(self, tmp_path: Path) -> None:
        script = 'cp -r "$2/justw" "$2/deploy" "$1" && mount -o remount,ro "$1" && exec "$1/justw" install'
        ended = unshared(tmp_path / "fixed", script, str(ROOT))
        assert ended.returncode == 1 and ended.stderr.count("\n") == 1, ended
        assert "cannot be written to: copy the checkout to a place of your own" in ended.stderr

    def test_justw_refuses_a_full_disk(self, tmp_path: Path) -> None:
        script = 'cp -r "$2/justw" "$2/deploy" "$1" && head -c 32m /dev/zero > "$1/filler"; exec "$1/justw" install'
        ended = unshared(tmp_path / "full", script, str(ROOT))
        assert ended.returncode == 1 and ended.stderr.count("\n") == 1, ended
        assert "The environment needs" in ended.stderr


class TestInstall:
    """On tiny wheels: everything of the installation but its size."""

    @pytest.fixture(scope="class")
    def checkout(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkouts.tiny(tmp_path_factory.mktemp("tiny") / "AI Mass ä")

    @staticmethod
    def kill_after(checkout: Path, seconds: float) -> None:
        command, environment = [str(checkout / "justw"), "install"], checkouts.tiny_environment(checkout)
        with subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGKILL)

    def test_one_that_was_killed_is_repaired_by_the_next(self, checkout: Path) -> None:
        moments = seeded()
        for latest in (1.0, 5.0):
            self.kill_after(checkout, moments.uniform(0.1, latest))
        ended = checkouts.justw(checkout, "install")
        assert ended.returncode == 0, ended
        for environment, module in ((".venv", "tiny_main"), (".venv-triton", "tiny_triton")):
            subprocess.run([str(checkout / environment / "bin" / "python"), "-c", f"import {module}"], check=True)
        assert checkouts.justw(checkout, "--version").stdout.startswith("just ")

    def test_done_once_it_is_not_repeated(self, checkout: Path) -> None:
        ended = checkouts.justw(checkout, "install")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

    def test_half_a_just_is_replaced(self, checkout: Path) -> None:
        (checkout / ".venv" / "bin" / "just").write_bytes(b"half")
        assert checkouts.justw(checkout, "--version").stdout.startswith("just ")

    def test_a_package_that_is_not_there_is_one_clear_end(self, checkout: Path) -> None:
        (checkout / "requirements.lock").write_text("tiny-main==2\n")
        ended = checkouts.justw(checkout, "install")
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith("install failed: pip could not install into .venv")

    @pytest.mark.parametrize(
        ("given", "passed"),
        [
            (["--home", "a b"], ["--home", "{cwd}/a b"]),
            (["--home=ä"], ["--home={cwd}/ä"]),
            (["--home", "/x"], ["--home", "/x"]),
            (["--home=/x", "-f", "home"], ["--home=/x", "-f", "home"]),
        ],
    )
    def test_a_relative_home_is_the_callers(
        self, checkout: Path, tmp_path: Path, given: list[str], passed: list[str]
    ) -> None:
        (checkout / "justfile").write_text(
            "set positional-arguments := true\nshow *rest:\n    @printf '%s\\n' \"$@\"\n"
        )
        ended = checkouts.justw(checkout, "show", *given, cwd=tmp_path)
        assert ended.stdout.splitlines() == [each.format(cwd=tmp_path) for each in passed], ended


@pytest.mark.usefixtures("kept_umask")
class TestCommandLine:
    """What the commands say when there is nothing to work on."""

    @staticmethod
    def refusal(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["embedded", *arguments, "--home", str(home)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, str) and "\n" not in ended.value.code
        return ended.value.code

    @pytest.mark.parametrize("command", ["status", "provision"])
    def test_without_a_stack_they_say_how_to_start_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        for home in (tmp_path, tmp_path / "none"):
            assert "start one with ./justw up" in self.refusal(monkeypatch, home, command)
        assert not (tmp_path / "none").exists()

    def test_logs_of_a_part_that_never_ran(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "gateway has no log yet" in self.refusal(monkeypatch, tmp_path / "none", "logs", "gateway")

    @pytest.mark.parametrize("name", [["bogus"], []])
    def test_logs_of_an_unknown_part_lists_the_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: list[str]
    ) -> None:
        line = self.refusal(monkeypatch, tmp_path, "logs", *name)
        assert all(part in line for part in (*PARTS, *name))

    def test_down_of_nothing_says_so(self, tmp_path: Path) -> None:
        said: list[str] = []
        for home in (tmp_path / "none", tmp_path, tmp_path):
            Stack(home, say=said.append).down()
        assert all(line.startswith("nothing runs in") for line in said) and len(said) == 3

    @pytest.mark.parametrize("command", ["up", "down"])
    def test_the_home_of_somebody_else_is_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        theirs = tmp_path / "theirs"
        if os.geteuid() == 0:
            theirs.mkdir()
            os.chown(theirs, NOBODY, NOBODY)
        else:
            theirs = Path("/usr/share")
        assert "belongs to" in self.refusal(monkeypatch, theirs, command)
        assert os.geteuid() != 0 or not list(theirs.iterdir())


def exposed(home: Path) -> list[Path]:
    """What others may read or write below a state folder, sockets' short-lived names and links aside."""
    found = [home, *home.rglob("*")]
    return [path for path in found if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077]


class TestBesideEachOther:
    """Two checkouts, one with an awkward path, while usual ports are taken and the surroundings are hostile."""

    PARTS = ("nats", "postgres", "triton")
    TAKEN = ("nats", "nats-monitor", "gateway")

    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
        folder = tmp_path_factory.mktemp("pair")
        pair = [checkouts.copy(folder / "AI Mass 'ä' $HOME"), checkouts.copy(folder / "plain")]
        with ExitStack() as stack:
            for name in self.TAKEN:
                if is_free(USUAL_PORTS[name]):
                    stack.enter_context(socket.create_server(("127.0.0.1", USUAL_PORTS[name])))
            for checkout, umask in zip(pair, ("0", "0o077"), strict=True):
                stack.callback(self.run, checkout, "down", "0o022")
                self.run(checkout, "up", umask)
            yield pair

    @classmethod
    def run(cls, checkout: Path, verb: str, umask: str) -> None:
        code = f"import os; os.umask({umask}); {UP.format(home='', parts=cls.PARTS, verb=verb)}"
        ended = checkouts.python(checkout, "-c", code)
        assert ended.returncode == 0, ended

    @staticmethod
    def ports(checkout: Path) -> set[int]:
        return set(json.loads((checkout / ".aimass" / "ports.json").read_text()).values())

    def test_both_are_up_on_ports_of_their_own(self, pair: list[Path]) -> None:
        first, second = map(self.ports, pair)
        assert not first & second
        assert not (first | second) & {USUAL_PORTS[name] for name in self.TAKEN}

    def test_each_keeps_its_files_to_its_owner_whatever_the_umask(self, pair: list[Path]) -> None:
        assert [exposed(checkout / ".aimass") for checkout in pair] == [[], []]

    def test_a_model_runs_below_an_awkward_path(self, pair: list[Path]) -> None:
        home = pair[0] / ".aimass"
        info = json.loads((home / "stack.json").read_text())["triton"]
        model = home / "triton" / "repository" / "doubler"
        (model / "1").mkdir(parents=True)
        (model / "1" / "model.py").write_text(DOUBLER)
        (model / "config.pbtxt").write_text(DOUBLER_CONFIG)
        with tritonclient.http.InferenceServerClient(info["http"].removeprefix("http://")) as client:
            client.load_model("doubler", headers=dict([info["access_header"]]))
            assert client.is_model_ready("doubler")
