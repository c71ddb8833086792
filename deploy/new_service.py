"""Makes the rooms of a new service, adds it to the list of services, and says what is left to do by hand."""

import keyword
import re
import subprocess
import sys
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).with_name("templates") / "service"
NAME = re.compile(r"[a-z][a-z0-9]{1,30}")
SERVICES = re.compile(r"^SERVICES = \((?P<names>[^)]*?),?\)$", re.MULTILINE)
TAKEN = {"admin", "aimass", "anyone", "nats", "postgres", "provision", "public", "services", "triton", "supervisord"}
LEFT = """made services/{name}/, and named it in shared/streams.py; what is left by hand:
  services/{name}/README.md    what it decides and owns; ./justw docs keeps the lists right
  services/{name}/handlers.py  what it hears and answers, with its requests in shared/rpc/{name}.py
  shared/events/__init__.py    the domain whose events it says, if it says any
  services/gateway/            its routes, if people are to reach it
then ./justw docs, and ./justw down and up: bus and database know a new service by their next start"""


class Refused(Exception):
    """A service of this name cannot be made."""


def check_name(name: str, root: Path) -> None:
    """The name becomes a package, a role of the database, a user of the bus and a prefix of settings."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Refused(f"{name!r} is no name for a service: small letters and digits, 2 to 31, a letter first")
    if name in TAKEN or (root / "services" / name).exists():
        raise Refused(f"the name {name!r} is taken")


def make_rooms(name: str, root: Path) -> None:
    folder = root / "services" / name
    folder.mkdir()
    for template in sorted(TEMPLATES.iterdir()):
        text = Template(template.read_text()).substitute(name=name, prefix=name.upper())
        (folder / template.name.removesuffix(".txt")).write_text(text)


def add_to_list(name: str, root: Path) -> None:
    """At the end, so that the ops ports of the others stay."""
    path = root / "shared" / "streams.py"
    text, count = SERVICES.subn(rf'SERVICES = (\g<names>, "{name}")', path.read_text())
    if count != 1:
        raise Refused(f"{path.relative_to(root)} has no line SERVICES = (...) to add the name to")
    path.write_text(text)


def main(name: str) -> None:
    try:
        check_name(name, ROOT)
        add_to_list(name, ROOT)
    except Refused as refusal:
        sys.exit(f"new-service: {refusal}")
    make_rooms(name, ROOT)
    subprocess.run([sys.executable, "-m", "deploy.reference"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    print(LEFT.format(name=name))


if __name__ == "__main__":
    main(sys.argv[1])
