"""What a member is checked for, on members that lack it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import library
from deploy.check_model import verdicts
from deploy.model_checks import (
    UNSAID,
    Bench,
    Check,
    NotFit,
    check_card,
    check_data,
    check_declaration,
    check_export,
    check_layers,
    check_training,
    difference,
    judged,
    seen_before,
    without_range,
)
from deploy.new_model import MARKER
from library.base import Model, Part

pytestmark = pytest.mark.library
GOOD = {"rmse": 50.0, "mae": 40.0, "r2": 0.5}
RIVAL = {"rmse": 53.0}


def changed(**facts: Any) -> Model[Any]:
    """diabetes-mlp, declared otherwise."""
    plain = library.model("diabetes-mlp")
    return type("Changed", (type(plain),), facts)()


def bench(epochs: int | None = None, **facts: Any) -> Bench:
    return Bench(changed(**facts), Path(), epochs)


def test_a_template_card_is_not_complete() -> None:
    assert UNSAID == MARKER
    card = library.model("diabetes-mlp").card
    unsaid = card.model_copy(update={"limits": f"{MARKER} where it is wrong", "title": " "})
    with pytest.raises(NotFit, match="the card leaves unsaid: title, limits"):
        check_card(bench(card=unsaid))
    assert "complete" in check_card(bench())


def test_a_member_without_a_baseline_is_not_fit() -> None:
    with pytest.raises(NotFit, match="no baseline"):
        check_card(bench(baseline=None))


def test_a_member_that_does_not_fit_its_data_set_is_not_fit() -> None:
    with pytest.raises(ValueError, match="labels are not those of its data set"):
        check_declaration(bench(labels=("a", "b")))


def test_a_field_needs_a_default_and_a_range() -> None:
    bounded = {"default": 1, "minimum": 0, "maximum": 2, "type": "integer"}
    fields = {
        "fine": bounded,
        "chosen": {"default": 8, "enum": [8, 16]},
        "on": {"default": True, "type": "boolean"},
        "endless": {"default": 1, "minimum": 0, "type": "integer"},
        "asked": {name: value for name, value in bounded.items() if name != "default"},
    }
    assert list(without_range(fields)) == ["endless", "asked"]


def test_figures_count_when_the_training_was_whole() -> None:
    assert judged(bench(), GOOD, RIVAL).endswith("baseline (ridge regression): rmse 53.0000")
    with pytest.raises(NotFit, match="the gate asks rmse <= 55; the gate asks mae <= 45"):
        judged(bench(), {"rmse": 60.0, "r2": 0.5}, {"rmse": 61.0})
    with pytest.raises(NotFit, match="rmse 50.0000 does not beat the baseline"):
        judged(bench(), GOOD, {"rmse": 49.0})
    assert judged(bench(epochs=1), {"rmse": 60.0}, RIVAL).endswith("(told, not judged: too few epochs)")
    assert judged(bench(baseline=None), GOOD, None) == "rmse 50.0000, mae 40.0000, r2 0.5000"


def test_items_of_the_test_part_that_training_has_seen_are_counted() -> None:
    found = bench()
    rows = np.arange(40, dtype="<f4").reshape(4, 10)
    found.parts = {Part.TRAIN: {"measures": rows}, Part.TEST: {"measures": rows[[1, 3]] + np.array([[0.0], [9.0]])}}
    found.parts[Part.TEST]["measures"] = found.parts[Part.TEST]["measures"].astype("<f4")
    assert seen_before(found) == 1


def test_verdicts_go_on_until_what_others_need(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: Bench) -> str:
        raise NotFit("not well")

    checks = [Check("one", fails), Check("two", lambda _: "well"), Check("three", fails, True), Check("four", fails)]
    assert not verdicts(bench(), checks)
    told = capsys.readouterr().out
    found = [tuple(line.split()[:2]) for line in told.splitlines()[:3]]
    assert found == [("FAILED", "one"), ("ok", "two"), ("FAILED", "three")]
    assert "four" not in told
    assert "diabetes-mlp: 2 to be put right" in told
    assert verdicts(bench(), checks[1:2])
    assert "diabetes-mlp: fit for the library" in capsys.readouterr().out


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotFit, match="FileNotFoundError"):
        bench().run("services.evaluator.engine", {"task_type": "regression", "outputs": "no"}, tmp_path)


def test_a_member_is_trained_exported_compared_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """But for the card, all holds; the training is too short for its figures to count."""
    card = library.model("diabetes-mlp").card.model_copy(update={"limits": MARKER})
    assert not verdicts(Bench(changed(card=card), tmp_path, epochs=1))
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in told if line.startswith("FAILED")] == ["card"]
    assert sum(line.startswith("ok ") for line in told) == 7
    assert any("PyTorch and ONNX differ by" in line for line in told)
    assert any("too few epochs" in line for line in told)
    assert told[-1] == "diabetes-mlp: 1 to be put right"


def test_of_several_outputs_the_first_is_compared(tmp_path: Path) -> None:
    several = Bench(library.model("volatility"), tmp_path, epochs=1)
    assert len(several.model.signature.outputs) == 2
    for check in (check_data, check_training):
        check(several)
    assert "PyTorch and ONNX differ by" in check_export(several)
    assert "layers agree; widest apart is " in check_layers(several)


def test_rows_of_any_length_differ_by_what_they_hold() -> None:
    long = np.array([[1, 2, 0], [3, 0, 0]])
    assert difference(long, long[:, :2]) == 0
    assert difference(long, np.array([[1, 2, 4], [3, 0, 0]])) == 4
