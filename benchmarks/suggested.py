"""Finds out on this machine how many instances, which batches and which delay suit a model, at a Triton of its own.

A version is taken from the running stack and loaded with a few settings at once, which are asked in turn; one knob
after the other is turned, and left where it was unless that gains 5% and no single caller waits a fifth longer.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from hashlib import sha256
from pathlib import Path

from aimass import ApiError, arrays
from rich.console import Console

from benchmarks.interleaved import Plan, Target, speeds
from benchmarks.optimised import Arrays, NotMeasured, chosen_version, model_file, rows_of
from benchmarks.triton_settings import Setting, Tried, chosen, steps
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from deploy.embedded.testing_servers import TritonServer, triton_server
from examples.champion import client_of
from services.inference.engine import Triton
from services.inference.repository import CONFIG, Repository
from shared.events.common import Signature
from shared.signatures import is_batched

PLAN = Plan(calls=60, windows=6, seconds=0.4, callers=16)
Say = Callable[[str], None]


class Stand:
    """A Triton with a scratch model for each setting."""

    def __init__(self, server: TritonServer, file: bytes, signature: Signature, rows: Arrays, plan: Plan) -> None:
        self._server, self._file, self._signature, self._plan = server, file, signature, plan
        self._body = arrays.encode(rows, ())
        self._repository = Repository(server.repository)
        self._repository.prepare()

    async def try_all(self, settings: Sequence[Setting]) -> list[Tried]:
        """Each beside the first, all asked in turn."""
        names = {setting: f"default.scratch.{place}" for place, setting in enumerate(settings)}
        triton = Triton(self._server.http, self._server.grpc, self._server.access_header)
        try:
            for setting, name in names.items():
                self._write(setting, name)
                await triton.load(name)
            found = await speeds({name: self._target(name) for name in names.values()}, "", self._plan)
            for name in names.values():
                await triton.unload(name)
        finally:
            await triton.close()
        first = found[names[settings[0]]]
        return [
            Tried(setting, speed.rows_per_second, speed.p50_ms, speed.rows_ratio, speed.p50_ms / first.p50_ms)
            for setting, speed in ((setting, found[name]) for setting, name in names.items())
        ]

    def _write(self, setting: Setting, name: str) -> None:
        self._repository.write(name, self._signature, self._file, sha256(self._file).hexdigest())
        (self._server.repository / name / CONFIG).write_text(setting.config(name, self._signature))

    def _target(self, name: str) -> Target:
        return Target(f"{self._server.http}/v2/models/{name}/infer", self._body, self._body, 1)


async def search(stand: Stand, cores: int, say: Say) -> Tried:
    """The setting that is left when every knob was turned."""
    (best,) = await stand.try_all([Setting()])
    say(f"as the platform sets it: {shown(best)}")
    walk = steps(best.setting, cores)
    others: Sequence[Setting] | None = next(walk)
    while others is not None:
        best = await _beside(stand, best, others, say) if others else best
        others = _following(walk, best.setting)
    return best


async def _beside(stand: Stand, best: Tried, others: Sequence[Setting], say: Say) -> Tried:
    now, *found = await stand.try_all([best.setting, *others])
    for each in found:
        say(f"{'better' if each.is_better else 'no better'}: {shown(each)}, throughput × {each.rows_ratio:.2f}")
    return chosen(now, found)


def _following(walk: Generator[Sequence[Setting], Setting, None], best: Setting) -> Sequence[Setting] | None:
    try:
        return walk.send(best)
    except StopIteration:
        return None


def shown(tried: Tried) -> str:
    return f"{tried.setting}: {tried.rows_per_second:.0f} rows/s, one caller waits {tried.p50_ms:.2f} ms"


def advice(model: str, setting: Setting) -> list[str]:
    """How to apply it, as far as the platform takes it."""
    told = [
        f"instances: PUT /api/v1/models/{model}/resources "
        f'{{"instances_min": 1, "instances_max": {setting.instances}}} lets them follow demand up to so many'
        if setting.instances > 1
        else "instances: one is enough, which is what a model has without any resources set",
    ]
    if (setting.delay, setting.max_batch, setting.threads) != (Setting().delay, Setting().max_batch, Setting().threads):
        told.append(
            "delay, batch size and threads cannot be set for one model: inference joins what waits before it asks "
            "Triton, up to 64 rows and without a delay, and each instance has one thread"
        )
    return told


def stand_of(home: Path, model: str, version: int | None, folder: Path) -> tuple[bytes, Signature, Arrays]:
    """File, signature and a row of a version that answers on the running stack."""
    with client_of(Stack(home).info) as client:
        number = chosen_version(client, model, version)
        signature = Signature.model_validate(client.version(model, number)["signature"])
        if not is_batched(signature):
            raise NotMeasured(f"version {number} of {model} takes no batches: only its instances could be changed")
        return model_file(client, model, number, folder).read_bytes(), signature, rows_of(client, model, number)


async def suggest(home: Path, model: str, version: int | None, say: Say) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = stand_of(home, model, version, Path(folder))
        with triton_server(Path(folder) / "triton") as server:
            best = await search(Stand(server, *found, PLAN), os.cpu_count() or 1, say)
    say(f"\nsuggested: {shown(best)}")
    for line in advice(model, best.setting):
        say(line)


def main() -> None:
    parser = argparse.ArgumentParser(prog="just suggest", description=__doc__)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", type=int, nargs="?", help="the one that serves, without")
    parser.add_argument("--home", type=Path, help="the state folder of the stack", default=DEFAULT_HOME)
    given = parser.parse_args()
    console = Console()

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    try:
        asyncio.run(suggest(Path(given.home), given.model, given.version, say))
    except (NotMeasured, ApiError) as error:
        sys.exit(f"suggest: {error}")


if __name__ == "__main__":
    main()
