"""What a process that isolated itself cannot do any more; each in a process that could before."""

import subprocess
import sys

import pytest

from shared.isolation import isolate

FORBIDDEN = {
    "a connection": "import socket; socket.create_connection(('127.0.0.1', 1))",
    "a socket of IPv6": "import socket; socket.socket(socket.AF_INET6)",
    "a datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "a local socket": "import socket; socket.socket(socket.AF_UNIX)",
    "a program": "import subprocess; subprocess.run(['/bin/true'])",
    "a program in its place": "import os; os.execv('/bin/true', ['true'])",
    "a socket of a thread that was there": ("import socket\ngo.set(); thread.join()\nif caught: raise caught[0]"),
}
THREAD = """
import socket, threading
go, caught = threading.Event(), []
def late():
    go.wait()
    try:
        socket.socket()
    except OSError as error:
        caught.append(error)
thread = threading.Thread(target=late)
thread.daemon = True
thread.start()
"""
ALLOWED = """
import os, tempfile
tempfile.TemporaryFile().write(b'x')
os.waitpid(os.fork() or os._exit(0), 0)
"""


def run(*lines: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_an_isolated_process_cannot(name: str) -> None:
    isolated = run(THREAD, "from shared.isolation import isolate", "assert isolate()", FORBIDDEN[name])
    assert "PermissionError: [Errno 13]" in isolated.stderr, isolated.stderr
    assert "PermissionError" not in run(THREAD, FORBIDDEN[name]).stderr


def test_an_isolated_process_can_work() -> None:
    done = run("from shared.isolation import isolate", "assert isolate()", ALLOWED, "print('done')")
    assert done.stdout == "done\n", done.stderr


def test_a_system_call_of_a_shell_does_nothing() -> None:
    done = run("from shared.isolation import isolate", "isolate()", "import os", "print(os.system('echo alive'))")
    assert "alive" not in done.stdout


def test_an_unknown_machine_is_not_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    assert not isolate()
