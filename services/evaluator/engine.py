"""The process that scores: `python -m services.evaluator.engine`; spec and reports as in shared/worker.py."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

import library
from library.base import TaskType
from library.evaluation import entities, words
from library.evaluation.intervals import beside, log_loss, precision_at_10, qlike
from library.evaluation.ranking import per_item
from library.files import unpack
from shared import child
from shared.errors import InvalidInput
from shared.names import CHAMPION, Slug
from shared.sound import SPEAKING_RATE
from shared.worker import Progress, Reporter, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

    Array = NDArray[Any]

TRUTH = "y_true"
CANDIDATE = "candidate"
BASELINE = "baseline"
ROLES = (CANDIDATE, CHAMPION, BASELINE)
SUM_TOLERANCE = 1e-3
BINS = 10


class BaselineSpec(BaseModel):
    """Whose baseline answers, and the .npz files of what it learns from and of what it is asked."""

    model_config = ConfigDict(extra="forbid")

    model: Slug
    train: str
    test: str


class ScoringSpec(BaseModel):
    """What to score: an .npz file of `y_true`, outputs of `candidate` and, if there is one, of `champion`; beside them
    what a baseline answers.
    """

    model_config = ConfigDict(extra="forbid")

    task_type: TaskType
    labels: tuple[str, ...] = ()
    outputs: str
    baseline: BaselineSpec | None = None


def score(raw: dict[str, Any], reporter: Reporter) -> Result:
    """The scores of candidate, champion and baseline (null without one) on the same items."""
    spec = ScoringSpec.model_validate(raw)
    arrays = unpack(Path(spec.outputs))
    if missing := {TRUTH, CANDIDATE} - arrays.keys():
        raise InvalidInput(f"{spec.outputs} lacks {', '.join(sorted(missing))}")
    if spec.baseline:
        reporter.send(Progress(fraction=0, message="trying the baseline"))
        arrays[BASELINE] = _answers(spec.baseline)
    scores = {name: _judge(spec, name, arrays) for name in ROLES if name in arrays}
    if spec.baseline:
        _add_own(spec.baseline, arrays, scores)
    return Result(data={name: scores.get(name) for name in ROLES})


def _answers(spec: BaselineSpec) -> "Array":
    import numpy as np

    model = library.model(spec.model)
    return np.asarray(model.baseline_outputs(unpack(Path(spec.train)), unpack(Path(spec.test))))


def _add_own(spec: BaselineSpec, arrays: "Arrays", scores: dict[str, dict[str, Any]]) -> None:
    """What the member itself measures of each, and how sure the candidate's lead over its baseline is."""
    model, test = library.model(spec.model), unpack(Path(spec.test))
    for name, found in scores.items():
        found |= model.figures(arrays[name], test)
    if model.baseline and all(model.baseline.metric in scores[name] for name in (CANDIDATE, BASELINE)):
        given = (arrays[name] for name in (TRUTH, CANDIDATE, BASELINE))
        scores[CANDIDATE] |= beside(model.baseline.metric, *given)


def _judge(spec: ScoringSpec, name: str, arrays: "Arrays") -> dict[str, Any]:
    outputs = _checked(name, arrays[name], arrays[TRUTH])
    scores = JUDGES[spec.task_type](arrays[TRUTH], outputs, spec.labels)
    child.log.info("%s: %s", name, _headline(scores))
    return scores


def _checked(name: str, outputs: "Array", truth: "Array") -> "Array":
    import numpy as np

    if len(outputs) != len(truth):
        raise InvalidInput(f"{name} has {len(outputs)} outputs for {len(truth)} items")
    if outputs.dtype.kind not in "SO" and not np.isfinite(outputs).all():
        raise InvalidInput(f"{name} has outputs that are not finite numbers")
    return outputs


def _classification(truth: "Array", outputs: "Array", labels: tuple[str, ...]) -> dict[str, Any]:
    """Outputs are a score per class, in the order of the labels; the highest wins."""
    _check_classes(truth, outputs, labels)
    from sklearn import metrics

    predicted, classes = outputs.argmax(axis=1), list(range(len(labels)))
    per_class = metrics.precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0)
    return {
        "accuracy": float(metrics.accuracy_score(truth, predicted)),
        "macro_f1": float(metrics.f1_score(truth, predicted, labels=classes, average="macro", zero_division=0)),
        **_by_score(truth, outputs),
        "confusion_matrix": metrics.confusion_matrix(truth, predicted, labels=classes).tolist(),
        "per_class": [_class_row(label, row) for label, row in zip(labels, zip(*per_class, strict=True), strict=True)],
        "items": len(truth),
    }


def _check_classes(truth: "Array", outputs: "Array", labels: tuple[str, ...]) -> None:
    if outputs.shape[1:] != (len(labels),):
        raise InvalidInput(f"outputs of shape {list(outputs.shape)} do not hold a score for {len(labels)} labels")
    if len(truth) == 0 or truth.min() < 0 or truth.max() >= len(labels):
        raise InvalidInput(f"{TRUTH} does not hold numbers of the {len(labels)} labels")


def _by_score(truth: "Array", outputs: "Array") -> dict[str, float]:
    """Figures of the scores themselves, each where it has a meaning.

    Log-loss asks for probabilities; ROC-AUC is the mean of one class against the rest, over classes that have both;
    of two classes the second is the one looked for, as average precision, Brier score and calibration see it.
    """
    import numpy as np
    from sklearn import metrics

    scores = outputs.astype("f8")
    found: dict[str, float] = {}
    if (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=SUM_TOLERANCE):
        found["log_loss"] = math.fsum(log_loss(truth, scores)) / len(truth)
    present = [index for index in range(scores.shape[1]) if 0 < (truth == index).sum() < len(truth)]
    if present:
        found["roc_auc"] = float(np.mean([metrics.roc_auc_score(truth == i, scores[:, i]) for i in present]))
    if scores.shape[1] == 2 and present:
        found["average_precision"] = float(metrics.average_precision_score(truth == 1, scores[:, 1]))
    if scores.shape[1] == 2 and "log_loss" in found:
        found["brier"] = float(np.mean((scores[:, 1] - truth) ** 2))
        found["calibration_error"] = _calibration_error(truth, scores[:, 1])
    return found


def _calibration_error(truth: "Array", chance: "Array") -> float:
    """The mean difference of told and seen frequency of the second class, in ten groups of equal size by what is told
    (Nixon et al., Measuring Calibration in Deep Learning, 2019: adaptive calibration error).
    """
    import numpy as np

    groups = np.array_split(np.argsort(chance, kind="stable"), BINS)
    return float(np.mean([abs(chance[group].mean() - truth[group].mean()) for group in groups if len(group)]))


def _class_row(label: str, row: tuple[float, ...]) -> dict[str, Any]:
    precision, recall, f1, support = row
    return {
        "label": label,
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "support": int(support),
    }


def _regression(truth: "Array", outputs: "Array", _: tuple[str, ...]) -> dict[str, Any]:
    if outputs.size != truth.size:
        raise InvalidInput(
            f"outputs of shape {list(outputs.shape)} do not hold a number for each of {len(truth)} items"
        )
    from sklearn import metrics

    truth, predicted = truth.astype("f8"), outputs.reshape(truth.shape).astype("f8")
    return {
        "rmse": float(metrics.root_mean_squared_error(truth, predicted)),
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "r2": float(metrics.r2_score(truth, predicted)),
        **_as_variance(truth, predicted),
        "items": len(truth),
    }


def _as_variance(truth: "Array", predicted: "Array") -> dict[str, float]:
    """QLIKE, where truth and outputs could be variances."""
    if truth.min() < 0 or predicted.min() < 0:
        return {}
    return {"qlike": float(qlike(truth, predicted).mean())}


def _ranking(truth: "Array", outputs: "Array", _: tuple[str, ...]) -> dict[str, Any]:
    """As `ranking.per_item` reads them."""
    return {name: float(values.mean()) for name, values in per_item(truth, outputs).items()} | {"items": len(truth)}


def _embedding(truth: "Array", outputs: "Array", _: tuple[str, ...]) -> dict[str, Any]:
    """Outputs are vectors, truth is a class: the vectors of a class shall be near each other."""
    if outputs.ndim != 2 or len(truth) < 2:
        raise InvalidInput(f"outputs of shape {list(outputs.shape)} do not hold a vector for each of two items or more")
    return {"precision_at_10": float(precision_at_10(truth, outputs).mean()), "items": len(truth)}


def _transcription(truth: "Array", outputs: "Array", _: tuple[str, ...]) -> dict[str, Any]:
    """Outputs are texts: what was heard of each; truth is what was said."""
    if outputs.dtype.kind not in "SO" or outputs.size != len(truth):
        raise InvalidInput(f"outputs of shape {list(outputs.shape)} do not hold a text for each of {len(truth)} items")
    said, heard = ([text.decode("utf-8", "replace") for text in texts.ravel().tolist()] for texts in (truth, outputs))
    return {**words.figures(said, heard), "items": len(truth)}


def _speech(truth: "Array", outputs: "Array", _: tuple[str, ...]) -> dict[str, Any]:
    """Outputs are samples: what a recogniser hears of each is compared with truth, which is what was to be said."""
    if outputs.dtype.kind != "f" or outputs.ndim != 2 or len(outputs) != len(truth):
        raise InvalidInput(f"outputs of shape {list(outputs.shape)} do not hold samples for each of {len(truth)} items")
    from library.evaluation.hearing import heard

    said = [text.decode("utf-8", "replace") for text in truth.tolist()]
    spoken = (outputs != 0).any(axis=0).sum() / SPEAKING_RATE
    return {**words.figures(said, heard(outputs)), "longest_seconds": float(spoken), "items": len(truth)}


def _tagging(truth: "Array", outputs: "Array", labels: tuple[str, ...]) -> dict[str, Any]:
    """Outputs and truth are numbers of labels, one for each word, 0 after the last."""
    if outputs.ndim != 2 or outputs.dtype.kind not in "iu" or len(labels) < 3 or len(labels) % 2 == 0:
        raise InvalidInput(f"outputs of shape {list(outputs.shape)} do not hold one of {len(labels)} labels a word")
    if min(truth.min(), outputs.min()) < 0 or max(truth.max(), outputs.max()) >= len(labels):
        raise InvalidInput(f"{TRUTH} and outputs do not hold numbers of the {len(labels)} labels alone")
    return {**entities.figures(truth, outputs, labels), "items": len(truth)}


def _headline(scores: dict[str, Any]) -> str:
    figures = {name: value for name, value in scores.items() if isinstance(value, float)}
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


JUDGES: dict[TaskType, Callable[["Array", "Array", tuple[str, ...]], dict[str, Any]]] = {
    TaskType.CLASSIFICATION: _classification,
    TaskType.REGRESSION: _regression,
    TaskType.RANKING: _ranking,
    TaskType.EMBEDDING: _embedding,
    TaskType.TRANSCRIPTION: _transcription,
    TaskType.SPEECH: _speech,
    TaskType.TAGGING: _tagging,
}


if __name__ == "__main__":
    child.run(score)
