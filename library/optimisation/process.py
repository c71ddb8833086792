"""The process that optimises a version: `python -m library.optimisation.process`; spec as in shared/worker.py."""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from shared import child
from shared.limits import restrict
from shared.optimisation import Graph, Int8Dynamic, Int8Static, Optimisation
from shared.worker import Progress, Reporter, Result

if TYPE_CHECKING:
    import onnx

    from library.base import Arrays

MODEL_FILE = "model.onnx"
MEMORY_BYTES = 8 * 1024**3
CPU_SECONDS = 1800
COMPARED = 512


class OptimisationSpec(BaseModel):
    """What the service asks of the process; files are relative to the work folder.

    `calibration` gives the ranges of activations, `validation` shows how far the answers are apart: each a part of
    the version's data set, where it has one.
    """

    model_config = ConfigDict(extra="forbid")

    file: str
    how: Optimisation
    calibration: str | None = None
    validation: str | None = None


def optimise(raw: dict[str, Any], reporter: Reporter) -> Result:
    """Make another file of the given one and see that it takes and gives the same tensors."""
    import onnx

    from library.optimisation import graphs

    late = graphs.NotOptimised(f"this takes more than {CPU_SECONDS} s: give fewer rows")
    restrict(MEMORY_BYTES, CPU_SECONDS, late)
    spec = OptimisationSpec.model_validate(raw)
    reporter.send(Progress(fraction=0.1, message=spec.how.method))
    given = onnx.load(spec.file)
    made = graphs.tidied(_made(given, spec))
    if graphs.interface(made) != graphs.interface(given):
        raise graphs.NotOptimised("what came out takes or gives other tensors")
    graphs.write(made, Path(MODEL_FILE))
    reporter.send(Progress(fraction=0.7, message="comparing the answers"))
    metrics = _sizes(Path(spec.file), Path(MODEL_FILE)) | _differences(given, made, spec)
    child.log.info("%s: %s", spec.how.method, ", ".join(f"{name} {value:.6g}" for name, value in metrics.items()))
    return Result(files={"model": MODEL_FILE}, data={"metrics": metrics})


def _made(given: "onnx.ModelProto", spec: OptimisationSpec) -> "onnx.ModelProto":
    import onnx

    from library.optimisation import fusing, pruning, quantising

    copy = onnx.ModelProto()
    copy.CopyFrom(given)
    how = spec.how
    if isinstance(how, Graph):
        return fusing.fused(copy, Path())
    if isinstance(how, Int8Dynamic):
        return quantising.dynamic(copy, how, Path())
    if isinstance(how, Int8Static):
        return quantising.static(copy, how, _rows(spec.calibration), Path())
    return pruning.PRUNERS[how.method](copy, how.share)


def _rows(file: str | None) -> "Arrays":
    from library.files import unpack

    return unpack(Path(file)) if file else {}


def _sizes(before: Path, after: Path) -> dict[str, float]:
    """Bytes of both files, as they are and packed."""
    found: dict[str, float] = {}
    for name, path in (("bytes_before", before), ("bytes", after)):
        content = path.read_bytes()
        found |= {name: len(content), f"packed_{name}": len(zlib.compress(content))}
    return found


def _differences(given: "onnx.ModelProto", made: "onnx.ModelProto", spec: OptimisationSpec) -> dict[str, float]:
    """On rows of the validation part; without any it is only seen whether the file can be loaded."""
    from library.optimisation import graphs

    if spec.validation is None:
        graphs.session(made)
        return {}
    return graphs.differences(given, made, _rows(spec.validation), COMPARED)


if __name__ == "__main__":
    child.run(optimise)
