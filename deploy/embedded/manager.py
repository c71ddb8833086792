"""The process manager: supervisor's configuration and its start."""

import shlex
import subprocess
import sys
from collections.abc import Collection, Mapping
from configparser import RawConfigParser
from io import StringIO

from deploy.embedded.control import LISTENER
from deploy.embedded.home import Home
from deploy.embedded.launch import Launch, base_environment, write_private
from deploy.embedded.parts import SERVERS
from deploy.embedded.servers import ROOT
from shared.streams import SERVICES

DRAIN_SECONDS = 20
ADDRESS, LISTENING = "AIMASS_ADDRESS", "AIMASS_LISTENING"
LOW_DESCRIPTORS = 512
SERVER_STOP_SECONDS = 12
LOGGED = {"redirect_stderr": "true", "stdout_logfile_maxbytes": "10MB", "stdout_logfile_backups": "3"}


def program(home: Home, part: str, launch: Launch) -> dict[str, str]:
    """A crashed part is started again at once and for ever; child.py keeps that to once a second."""
    return {
        "command": command_line(launch.write(home.launch_file(part))),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": "0",
        "startretries": "1000000000",
        "stopsignal": "INT" if part == "postgres" else "TERM",
        "stopwaitsecs": str(SERVER_STOP_SECONDS if part in SERVERS else DRAIN_SECONDS),
        "killasgroup": "true",
        "stdout_logfile": escaped(home.log(part)),
        **LOGGED,
    }


def command_line(argv: list[str]) -> str:
    return escaped(shlex.join(argv))


def escaped(text: object) -> str:
    return str(text).replace("%", "%%")


def configuration(home: Home, launches: Mapping[str, Launch]) -> str:
    """Groups stop by falling priority: first all services together, then all servers."""
    config = RawConfigParser()
    config.read_dict(
        {
            "supervisord": {
                "nodaemon": "true",
                "logfile": escaped(home.log("supervisord")),
                "logfile_maxbytes": "5MB",
                "logfile_backups": "2",
                "pidfile": escaped(home.folder("run") / "supervisord.pid"),
                "umask": "077",
                "minfds": str(LOW_DESCRIPTORS),
            },
            "unix_http_server": {"file": escaped(home.socket), "chmod": "0600"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            f"eventlistener:{LISTENER}": listener(home),
            **{f"program:{part}": program(home, part, launch) for part, launch in launches.items()},
            "group:servers": {"programs": ",".join(SERVERS), "priority": "10"},
            "group:services": {"programs": ",".join(SERVICES), "priority": "20"},
        }
    )
    text = StringIO()
    config.write(text)
    return text.getvalue()


def listener(home: Home) -> dict[str, str]:
    argv = [sys.executable, "-m", "deploy.embedded.listener", str(home.path)]
    environment = base_environment({"PYTHONPATH": str(ROOT)})
    return {
        "command": command_line(Launch(argv, str(home.path), environment).write(home.launch_file(LISTENER))),
        "events": "PROCESS_STATE_RUNNING,PROCESS_STATE_EXITED,PROCESS_STATE_STOPPED,TICK_5",
        "autorestart": "true",
        "startsecs": "0",
        "startretries": "1000000000",
        "stderr_logfile": escaped(home.log(LISTENER)),
        "priority": "1",
    }


def start_manager(home: Home, address: str, inherited: Collection[int]) -> subprocess.Popen[bytes]:
    """Start supervisord detached from this terminal; it outlives us, and with it what these descriptors lock.

    It listens at the address in the gateway's place.
    """
    command = [sys.executable, "-m", "deploy.embedded.supervise", "-c", str(home.manager_config)]
    output = home.log("supervisord.out")
    output.touch(mode=0o600)
    with output.open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=home.path,
            env=base_environment({"PYTHONPATH": str(ROOT), ADDRESS: address}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=inherited,
            umask=0o077,
        )


def write_configuration(home: Home, launches: Mapping[str, Launch]) -> None:
    write_private(home.manager_config, configuration(home, launches))
