"""What a member of the library is checked for; each check raises NotFit, or says in a line what it found."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

import library
from library.base import Config, DataSet, Model, Part
from library.files import pack, write_atomically
from library.graphs.front import as_text, stacked
from library.graphs.layerwise import apart, first_beyond, layers_of
from library.third_party import check_data_set, check_model
from library.training.epochs import Training
from services.evaluator.engine import BASELINE, CANDIDATE, TRUTH, BaselineSpec, ScoringSpec
from services.trainer.engine import MODEL_FILE, TrainingSpec
from shared.events.common import Signature
from shared.tasks.process import task_process
from shared.worker import Failure, Result

Arrays = dict[str, Any]
UNSAID = "SAY:"
TOLERANCE = 1e-4
COMPARED = 200
BATCH = 256


class NotFit(Exception):
    """The member is not what the library promises; the message says what to put right."""


@dataclass
class Bench:
    """A member on the bench, with what was found of it so far, in a folder of its own.

    `graph` is a file that is compared layer by layer in place of the exported one.
    """

    model: Model[Any]
    folder: Path
    epochs: int | None = None
    seed: int = 0
    parts: dict[Part, Arrays] = field(default_factory=dict)
    trained: Result | None = None
    outputs: Any = None
    graph: Path | None = None

    @property
    def dataset(self) -> DataSet:
        return library.data_set(self.model.dataset)

    @cached_property
    def config(self) -> Config:
        found: Config = self.model.validate({} if self.epochs is None else {"epochs": self.epochs})
        return found

    @property
    def is_whole(self) -> bool:
        """Whether it is trained as long as it says, so that its figures count."""
        return bool(self.config.epochs >= self.model.validate({}).epochs)

    def run(self, module: str, spec: Any, folder: Path) -> Result:
        """The result of a task's process; raises NotFit with what it says instead."""
        return asyncio.run(result_of(module, spec, folder))

    def train(self, folder: Path, epochs: int) -> Result:
        """A training in a process of its own, as the trainer runs it."""
        folder.mkdir()
        for part in (Part.TRAIN, Part.VALIDATION):
            os.link(self.folder / f"{part}.npz", folder / f"{part}.npz")
        spec = TrainingSpec(
            task_id="check",
            model=self.model.name,
            config=self.config.model_dump() | {"epochs": epochs},
            seed=self.seed,
            train=f"{Part.TRAIN}.npz",
            validation=f"{Part.VALIDATION}.npz",
        )
        return self.run("services.trainer.engine", spec, folder)


async def result_of(module: str, spec: Any, folder: Path) -> Result:
    said: list[str] = []

    async def keep(_: str, line: str) -> None:
        said.append(line)

    async with task_process(module, spec, folder, keep) as process:
        while report := await process.next_report():
            if isinstance(report, Result):
                return report
            if isinstance(report, Failure):
                raise NotFit(f"{report.error}: {report.message}")
        how = await process.ended()
    raise NotFit(f"its process {how}; last it said: {' / '.join(said[-3:])}")


def check_declaration(bench: Bench) -> str:
    check_data_set(bench.dataset)
    check_model(bench.model, library.data_sets())
    signature = bench.model.signature
    if any(spec.shape[:1] != (-1,) for spec in signature.inputs + signature.outputs):
        raise NotFit("the first axis of each input and output must be -1, the batch")
    if loose := list(without_range(bench.model.config.model_json_schema()["properties"])):
        raise NotFit(f"config lacks default or range for {', '.join(loose)}")
    return f"{bench.model.task_type} on {bench.dataset.name}, code version {bench.model.code_version}"


def without_range(fields: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, told in fields.items():
        is_bounded = "enum" in told or {"minimum", "maximum"} <= told.keys() or told.get("type") == "boolean"
        if "default" not in told or not is_bounded:
            yield name


def check_card(bench: Bench) -> str:
    card = bench.model.card.model_dump()
    if unsaid := [name for name, sentence in card.items() if UNSAID in sentence or not sentence.strip()]:
        raise NotFit(f"the card leaves unsaid: {', '.join(unsaid)}")
    if bench.model.baseline is None:
        raise NotFit("it names no baseline, so nothing says what its figures are worth")
    return f"complete; {card['licence']}"


def check_data(bench: Bench) -> str:
    for member in (bench.dataset, bench.model):
        member.fetch(print)
    bench.parts = bench.dataset.parts()
    target, labels = bench.dataset.schema.target.name, bench.model.labels
    for part, items in bench.parts.items():
        missing = set(range(len(labels))) - set(np.unique(items[target]).tolist()) if labels else set()
        if missing or not len(items[target]):
            raise NotFit(f"the {part} part is empty or lacks {', '.join(labels[index] for index in sorted(missing))}")
        write_atomically(bench.folder / f"{part}.npz", pack(items))
    sizes = ", ".join(f"{len(items[target])} {part}" for part, items in bench.parts.items())
    return f"{sizes}; {seen_before(bench)} of the test part are in the training part too"


def seen_before(bench: Bench) -> int:
    """How many test items have the very inputs of an item of the training part."""
    train, test = (list(fingerprints(bench.model, bench.parts[part])) for part in (Part.TRAIN, Part.TEST))
    known = set(train)
    return sum(found in known for found in test)


def fingerprints(model: Model[Any], items: Arrays) -> Iterator[bytes]:
    columns = [items[spec.name] for spec in model.signature.inputs]
    for row in zip(*columns, strict=True):
        yield sha256(b"\0".join(np.asarray(value).tobytes() for value in row)).digest()


def check_training(bench: Bench) -> str:
    began = time.monotonic()
    bench.trained = bench.train(bench.folder / "first", bench.config.epochs)
    seconds, size = time.monotonic() - began, (bench.folder / "first" / MODEL_FILE).stat().st_size
    weights = bench.trained.data["weights"]
    return f"{bench.config.epochs} epochs in {seconds:.1f} s; {weights:,} weights, {size:,} bytes"


def check_export(bench: Bench) -> str:
    """The file's signature, and its answers beside those of the trained module, whole and one by one."""
    assert bench.trained is not None
    if Signature.model_validate(bench.trained.data["signature"]) != bench.model.signature:
        raise NotFit("the exported file has another signature than is declared")
    items = {name: column[:COMPARED] for name, column in inputs_of(bench.model, bench.parts[Part.TEST]).items()}
    wanted, whole = of_the_module(bench, items), of_the_file(bench, items, COMPARED)
    alone = of_the_file(bench, {name: column[:10] for name, column in items.items()}, 1)
    apart = max(np.abs(whole - wanted).max(), np.abs(alone - wanted[:10]).max())
    if not apart <= TOLERANCE * max(1.0, np.abs(wanted).max()):
        raise NotFit(f"PyTorch and ONNX differ by {apart:.2g} on {len(wanted)} test items")
    return f"PyTorch and ONNX differ by {apart:.2g} at most on {len(wanted)} test items, in batches and one by one"


def inputs_of(model: Model[Any], items: Arrays) -> Arrays:
    return {spec.name: items[spec.name] for spec in model.signature.inputs}


def trained_module(bench: Bench) -> torch.nn.Module:
    """The module of the last checkpoint in its served form."""
    few = {part: {name: column[:64] for name, column in bench.parts[part].items()} for part in Part}
    training = Training(bench.model, bench.config, bench.seed, few[Part.TRAIN], few[Part.VALIDATION])
    for last in sorted((bench.folder / "first").glob("checkpoint-*"))[-1:]:
        training.resume(last)
    return bench.model.served(training.module).eval()


def of_the_module(bench: Bench, items: Arrays) -> Any:
    """The first output, as `of_the_file` gives it."""
    with torch.no_grad():
        found = trained_module(bench)(*bench.model.inputs(items))
    return (found[0] if isinstance(found, tuple) else found).numpy()


def of_the_file(bench: Bench, items: Arrays, batch: int) -> Any:
    """The first output of the exported file, asked in batches."""
    session = onnxruntime.InferenceSession(bench.folder / "first" / MODEL_FILE, providers=["CPUExecutionProvider"])
    name, count = bench.model.signature.outputs[0].name, len(next(iter(items.values())))
    texts = {column: as_text(values) for column, values in items.items()}
    pieces = [
        session.run([name], {column: values[start : start + batch] for column, values in texts.items()})[0]
        for start in range(0, count, batch)
    ]
    return stacked(pieces)


def check_layers(bench: Bench) -> str:
    """The first layer whose output in the file differs from that of the module."""
    items = {name: column[:COMPARED] for name, column in inputs_of(bench.model, bench.parts[Part.TEST]).items()}
    graph = onnx.load(str(bench.graph or bench.folder / "first" / MODEL_FILE))
    served = trained_module(bench)
    found = apart(bench.model, served, layers_of(bench.model, served), graph, items)
    for each in found:
        print(f"        {each.difference:10.2g} of {each.largest:<10.4g} {each.layer}")
    if not found:
        raise NotFit("the file has none of the values that the module's layers end in")
    if (first := first_beyond(found, TOLERANCE)) is not None:
        before = found[found.index(first) - 1].layer if first is not found[0] else "the inputs"
        raise NotFit(
            f"{first.layer} differs by {first.difference:.2g} of {first.largest:.4g}; up to {before} all agree"
        )
    widest = max(found, key=lambda each: each.difference / max(1.0, each.largest))
    return f"{len(found)} layers agree; widest apart is {widest.layer} by {widest.difference:.2g}"


def check_example(bench: Bench) -> str:
    answer = of_the_file(bench, bench.model.example(), 1)
    if not np.isfinite(answer).all():
        raise NotFit("the answer to its own example is not a number")
    if labels := bench.model.labels:
        return f"is answered with {labels[int(answer[0].argmax())]} ({answer[0].max():.0%})"
    return f"is answered with {np.ravel(answer)[:3].tolist()}"


def check_figures(bench: Bench) -> str:
    """The gate and the baseline on the test part, by the evaluator's own process."""
    test, model = bench.parts[Part.TEST], bench.model
    outputs = of_the_file(bench, inputs_of(model, test), BATCH)
    truth = test[bench.dataset.schema.target.name]
    write_atomically(bench.folder / "outputs.npz", pack({TRUTH: truth, CANDIDATE: outputs}))
    rival = BaselineSpec(model=model.name, train="train.npz", test="test.npz") if model.baseline else None
    spec = ScoringSpec(task_type=model.task_type, labels=model.labels, outputs="outputs.npz", baseline=rival)
    scores = bench.run("services.evaluator.engine", spec, bench.folder).data
    return judged(bench, scores[CANDIDATE], scores[BASELINE])


def judged(bench: Bench, found: dict[str, Any], rival: dict[str, Any] | None) -> str:
    gate, baseline = bench.model.gate, bench.model.baseline
    told = ", ".join(f"{each.metric} {shown(found.get(each.metric))}" for each in gate.conditions)
    wrong = [f"the gate asks {condition}" for condition in gate.failures(found)]
    if baseline and rival:
        told += f"; baseline ({baseline.method}): {baseline.metric} {shown(rival.get(baseline.metric))}"
        own = f"{baseline.metric} {shown(found.get(baseline.metric))}"
        wrong += [] if baseline.beaten(found, rival) else [f"{own} does not beat the baseline"]
    if wrong and bench.is_whole:
        raise NotFit(f"{told}: {'; '.join(wrong)}")
    return told if bench.is_whole else f"{told} (told, not judged: too few epochs)"


def shown(figure: Any) -> str:
    return f"{figure:.4f}" if isinstance(figure, int | float) else "missing"


def check_repeat(bench: Bench) -> str:
    """Two trainings of at most an epoch, each in a process of its own; the one made already may be the first."""
    epochs = min(1, bench.config.epochs)
    folders = [bench.folder / name for name in ("first" if bench.config.epochs == epochs else "once", "again")]
    for folder in folders:
        if not folder.exists():
            bench.train(folder, epochs)
    digests = {sha256((folder / MODEL_FILE).read_bytes()).hexdigest() for folder in folders}
    if len(digests) > 1:
        raise NotFit("two trainings by the same seed made different files")
    return f"two trainings by the same seed made the same file, {digests.pop()[:12]}…"


@dataclass(frozen=True)
class Check:
    """A check by name; without one that is needed the rest cannot be tried."""

    name: str
    run: Callable[[Bench], str]
    is_needed: bool = False


LAYERS = Check("layers", check_layers)
CHECKS = (
    Check("declaration", check_declaration, is_needed=True),
    Check("card", check_card),
    Check("data", check_data, is_needed=True),
    Check("training", check_training, is_needed=True),
    Check("export", check_export, is_needed=True),
    Check("example", check_example),
    Check("figures", check_figures),
    Check("same again", check_repeat),
)
