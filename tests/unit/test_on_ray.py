"""What goes to a node of a Ray cluster and comes back, without Ray: archives, files, the agent and its processes."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.trainer.on_ray.agent import Agent
from services.trainer.on_ray.ground import check_place
from services.trainer.on_ray.order import Order
from services.trainer.on_ray.shipping import PIECE, Item, code, files_given, files_named, inside, pieces
from services.trainer.settings import Settings
from shared.errors import InvalidInput
from shared.tasks.process import OUT_OF_MEMORY
from shared.tasks.terms import Place, Resources, Terms
from shared.worker import REPORTS, Checkpoint, Failure, Lost, Metrics, Report, Result

CHILD = "tests.integration.task_child"
STEPS = {"steps": 2, "pause": 0, "end": "well", "stay": 0, "resume": None}
MIB = 1024 * 1024


def order(memory: int | None = None, **spec: Any) -> Order:
    given = STEPS | spec
    return Order(
        task_id="t", address="", module=CHILD, spec=given, threads=1, resources=Resources(cores=0.5), memory=memory
    )


def begun(root: Path, asked: Order, files: dict[str, list[bytes]] | None = None) -> Agent:
    agent = Agent(root)
    agent.begin(asked.model_dump(mode="json"), files or {})
    return agent


def all_of(agent: Agent) -> list[Item]:
    """What comes of it up to its last report."""
    found: list[Item] = []
    while not (found and found[-1][0] == "report" and isinstance(read(found[-1]), Result | Failure | Lost)):
        found += agent.next()
    return found


def read(item: Item) -> Report:
    return REPORTS.validate_json(item[1])


def test_the_same_code_is_the_same_archive_and_it_runs_elsewhere(tmp_path: Path) -> None:
    digest, archive = code()
    assert code() == (digest, archive)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path)
    assert not list(tmp_path.rglob("*.sql"))
    program = "import services.trainer.engine, services.trainer.on_ray.agent as a; print(a.__file__)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={}, capture_output=True, check=True)
    assert Path(ran.stdout.decode().strip()).is_relative_to(tmp_path)


def test_files_come_in_pieces_and_only_those_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "train.npz").write_bytes(b"x" * (PIECE + 1))
    (tmp_path / "empty").touch()
    assert [len(piece) for piece in pieces(tmp_path / "train.npz")] == [PIECE, 1]
    assert list(pieces(tmp_path / "empty")) == [b""]
    spec = {"train": "train.npz", "resume": None, "model": "digits", "config": {"file": "empty"}, "seed": 7}
    assert files_given(spec, tmp_path) == ["train.npz"]
    assert files_named(Checkpoint(epoch=1, file="a")) == ["a"]
    assert files_named(Result(files={"model": "b"})) == ["b"]
    assert files_named(Metrics(epoch=1, values={})) == []
    with pytest.raises(ValueError, match="not a file of the work folder"):
        inside(tmp_path, "../other")


def test_the_agent_ships_reports_after_the_files_they_name(tmp_path: Path) -> None:
    items = all_of(begun(tmp_path, order()))
    assert [item[1] for item in items if item[0] == "line"] == ["step 1", "step 2"]
    shipped = [item for item in items if item[0] == "piece"]
    assert shipped == [("piece", "1.txt", 0, b"1"), ("piece", "2.txt", 0, b"2"), ("piece", "out.txt", 0, b"done")]
    first = next(item for item in items if item[0] == "report" and isinstance(read(item), Checkpoint))
    assert items.index(first) > items.index(shipped[0])
    assert isinstance(read(items[-1]), Result)
    left = [path for path in (tmp_path / "work").rglob("*") if path.is_file() and path.name != "lock"]
    assert left == []


def test_a_task_goes_on_there_from_the_file_that_came_with_it(tmp_path: Path) -> None:
    items = all_of(begun(tmp_path, order(steps=3, resume="resume.txt"), {"resume.txt": [b"", b"2"]}))
    assert [item[1] for item in items if item[0] == "piece"] == ["3.txt", "out.txt"]


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("fail", Failure(error="ValueError", message="the reason\0 with a NUL")),
        ("vanish", Lost(message="the task's process ended with exit code 3")),
    ],
)
def test_how_a_process_ends_there(tmp_path: Path, end: str, last: Report) -> None:
    assert read(all_of(begun(tmp_path, order(end=end)))[-1]) == last


def test_a_process_there_has_no_more_memory_than_it_may_have(tmp_path: Path) -> None:
    last = read(all_of(begun(tmp_path, order(memory=64 * MIB, end="grow")))[-1])
    assert isinstance(last, Failure)
    assert (last.error, "limits.memory" in last.message) == (OUT_OF_MEMORY, True)


def test_a_process_there_dies_with_its_parent(tmp_path: Path) -> None:
    asked = order(pause=600).model_dump(mode="json")
    program = f"""
import json, time
from pathlib import Path
from services.trainer.on_ray.agent import Agent
agent = Agent(Path({str(tmp_path)!r}))
agent.begin(json.loads({json.dumps(asked)!r}), {{}})
while not any(item[1:] == ("step 1",) for item in agent.next()): pass
print("begun", flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout and parent.stdout.readline() == b"begun\n"
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()


@pytest.mark.parametrize(
    ("address", "terms", "field"),
    [
        ("", Terms(place=Place.RAY), "place"),
        ("h:1", Terms(place=Place.RAY, resources=Resources(cores=1.5)), "resources.cores"),
        ("h:1", Terms(place=Place.RAY, resources=Resources(gpus=2.5)), "resources.gpus"),
    ],
)
def test_what_a_place_cannot_give_is_refused(address: str, terms: Terms, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_place(terms, Settings(ray_address=address))
    assert caught.value.field == field


def test_what_a_place_can_give_is_accepted() -> None:
    check_place(Terms(resources=Resources(cores=1.5)), Settings())
    check_place(Terms(place=Place.RAY, resources=Resources(cores=0.25, gpus=0.5)), Settings(ray_address="h:1"))
