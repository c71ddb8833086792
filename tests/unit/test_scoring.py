"""The process that scores candidate and champion on the same items."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.base import TaskType
from library.files import pack
from services.evaluator.engine import JUDGES
from tests.unit.task_process import Ended, run

LABELS = ("cat", "dog", "cow")
TRUTH = np.array([0, 0, 1, 1, 2, 2])
GUESSES = np.array([0, 1, 1, 1, 2, 0])


def probabilities(guesses: Any) -> Any:
    return np.eye(len(LABELS), dtype="<f4")[guesses] * 0.8 + 0.05


def scored(folder: Path, arrays: dict[str, Any], **changes: Any) -> Ended:
    (folder / "outputs.npz").write_bytes(pack(arrays))
    spec = {"task_type": "classification", "labels": LABELS, "outputs": "outputs.npz"} | changes
    return run("services.evaluator.engine", spec, folder)


def test_candidate_and_champion_are_scored_on_the_same_items(tmp_path: Path) -> None:
    arrays = {"y_true": TRUTH, "candidate": probabilities(GUESSES), "champion": probabilities(TRUTH)}
    data = scored(tmp_path, arrays).result.data
    candidate = data["candidate"]
    assert candidate["accuracy"] == pytest.approx(4 / 6)
    assert candidate["macro_f1"] == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert candidate["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert candidate["per_class"][1] == {
        "label": "dog",
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "support": 2,
    }
    assert candidate["items"] == 6
    assert (data["champion"]["accuracy"], data["champion"]["macro_f1"]) == (1.0, 1.0)


def test_without_a_champion_there_is_none_to_compare_with(tmp_path: Path) -> None:
    data = scored(tmp_path, {"y_true": TRUTH, "candidate": probabilities(GUESSES)}).result.data
    assert data["champion"] is None
    assert list(data) == ["candidate", "champion"]


def test_regression_is_scored_by_its_errors(tmp_path: Path) -> None:
    arrays = {"y_true": np.array([1.0, 2.0, 3.0, 4.0]), "candidate": np.array([[1.0], [2.0], [3.0], [6.0]])}
    data = scored(tmp_path, arrays, task_type="regression", labels=()).result.data
    assert data["candidate"] == {"rmse": 1.0, "mae": 0.5, "r2": pytest.approx(0.2), "items": 4}


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (probabilities(GUESSES)[:5], "candidate has 5 outputs for 6 items"),
        (probabilities(GUESSES) * np.float32("nan"), "not finite"),
        (probabilities(GUESSES)[:, :2], r"shape [6, 2]"),
        (GUESSES, r"shape [6]"),
    ],
)
def test_outputs_that_cannot_be_scored_are_a_failure(candidate: Any, message: str, tmp_path: Path) -> None:
    failure = scored(tmp_path, {"y_true": TRUTH, "candidate": candidate}).failure
    assert failure.error == "InvalidInput"
    assert message in failure.message


def test_a_file_without_outputs_says_what_it_lacks(tmp_path: Path) -> None:
    assert "lacks candidate" in scored(tmp_path, {"y_true": TRUTH}).failure.message


items = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(items)
def test_the_figures_agree_with_the_confusion_matrix(pairs: list[tuple[int, int]]) -> None:
    truth, guesses = np.array(pairs).T
    found = JUDGES[TaskType.CLASSIFICATION](truth, probabilities(guesses), LABELS)
    matrix = np.array(found["confusion_matrix"])
    assert matrix.sum() == found["items"] == len(pairs)
    assert found["accuracy"] == pytest.approx(matrix.trace() / matrix.sum())
    assert [row["support"] for row in found["per_class"]] == matrix.sum(axis=1).tolist()
    assert found["macro_f1"] == pytest.approx(np.mean([row["f1"] for row in found["per_class"]]))


@given(items, st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(pairs: list[tuple[int, int]], random: Any) -> None:
    judge = JUDGES[TaskType.CLASSIFICATION]
    shuffled = random.sample(pairs, len(pairs))
    first, second = ((truth, probabilities(guesses)) for truth, guesses in (np.array(pairs).T, np.array(shuffled).T))
    assert judge(*first, LABELS) == judge(*second, LABELS)
