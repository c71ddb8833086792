"""The process that scores candidate and champion on the same items."""

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

import library
from library.base import Part, TaskType
from library.files import pack
from library.training.objectives import LOSSES, METRICS
from services.evaluator.engine import JUDGES, score
from shared.errors import InvalidInput
from shared.worker import Reporter
from tests.unit.task_process import Ended, run

LABELS = ("cat", "dog", "cow")
TRUTH = np.array([0, 0, 1, 1, 2, 2])
GUESSES = np.array([0, 1, 1, 1, 2, 0])


def probabilities(guesses: Any) -> Any:
    return np.eye(len(LABELS), dtype="<f4")[guesses] * 0.85 + 0.05


def asked(folder: Path, arrays: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A spec, and the file it names."""
    (outputs := folder / "outputs.npz").write_bytes(pack(arrays))
    return {"task_type": "classification", "labels": LABELS, "outputs": str(outputs)} | changes


def scored(folder: Path, arrays: dict[str, Any], **changes: Any) -> Ended:
    """As the service has it done."""
    return run("services.evaluator.engine", asked(folder, arrays, **changes), folder)


def score_of(folder: Path, arrays: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What such a process finds, found in this one, which has imported already what takes a second to import."""
    return score(asked(folder, arrays, **changes), Reporter(os.open(os.devnull, os.O_WRONLY))).data


def baseline(folder: Path, dataset: str, model: str) -> tuple[dict[str, str], Any]:
    """What names a member's baseline, and the part that it is asked about."""
    parts = library.data_set(dataset).parts()
    for part in (Part.TRAIN, Part.TEST):
        (folder / f"{part}.npz").write_bytes(pack(parts[part]))
    return {"model": model, "train": str(folder / "train.npz"), "test": str(folder / "test.npz")}, parts[Part.TEST]


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


def test_classes_are_scored_by_their_probabilities_too(tmp_path: Path) -> None:
    candidate = score_of(tmp_path, {"y_true": TRUTH, "candidate": probabilities(GUESSES)})["candidate"]
    assert candidate["log_loss"] == pytest.approx(-(4 * np.log(0.9) + 2 * np.log(0.05)) / 6)
    assert candidate["roc_auc"] == pytest.approx((0.625 + 0.875 + 0.75) / 3)


def test_without_a_champion_there_is_none_to_compare_with(tmp_path: Path) -> None:
    data = score_of(tmp_path, {"y_true": TRUTH, "candidate": probabilities(GUESSES)})
    assert (data["champion"], data["baseline"]) == (None, None)
    assert list(data) == ["candidate", "champion", "baseline"]


def test_a_baseline_learns_from_one_part_and_is_scored_on_the_other(tmp_path: Path) -> None:
    named, test = baseline(tmp_path, "diabetes", "diabetes-mlp")
    truth = test["progression"]
    arrays = {"y_true": truth, "candidate": truth[:, None]}
    data = score_of(tmp_path, arrays, task_type="regression", labels=(), baseline=named)
    assert data["candidate"]["rmse"] == 0
    assert 50 < data["baseline"]["rmse"] < 57
    assert data["baseline"]["items"] == len(truth)


def test_the_lead_over_a_baseline_has_an_interval(tmp_path: Path) -> None:
    named, test = baseline(tmp_path, "digits", "digits-cnn")
    truth = test["digit"]
    arrays = {"y_true": truth, "candidate": np.eye(10)[truth]}
    data = score_of(tmp_path, arrays, labels=[*"0123456789"], baseline=named)
    lead = data["candidate"]["accuracy"] - data["baseline"]["accuracy"]
    low, high = (data["candidate"][f"accuracy_less_baseline_{end}"] for end in ("low", "high"))
    assert 0 < low < lead < high
    assert "accuracy_less_baseline_low" not in data["baseline"]


def test_regression_is_scored_by_its_errors(tmp_path: Path) -> None:
    arrays = {"y_true": np.array([1.0, 2.0, 3.0, 4.0]), "candidate": np.array([[1.0], [2.0], [3.0], [6.0]])}
    data = score_of(tmp_path, arrays, task_type="regression", labels=())
    qlike = pytest.approx((3 + 4 / 6 + np.log(2 * 3 * 6)) / 4)
    assert data["candidate"] == {"rmse": 1.0, "mae": 0.5, "r2": pytest.approx(0.2), "qlike": qlike, "items": 4}


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (probabilities(GUESSES)[:5], "candidate has 5 outputs for 6 items"),
        (probabilities(GUESSES) * np.float32("nan"), "not finite"),
        (probabilities(GUESSES)[:, :2], r"shape [6, 2]"),
        (GUESSES, r"shape [6]"),
        (probabilities(GUESSES)[:0], "candidate has 0 outputs"),
    ],
)
def test_outputs_that_cannot_be_scored_are_a_failure(candidate: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        score_of(tmp_path, {"y_true": TRUTH, "candidate": candidate})


@pytest.mark.parametrize("truth", [TRUTH - 1, TRUTH + 1])
def test_a_truth_that_is_no_label_is_a_failure(truth: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="numbers of the 3 labels"):
        score_of(tmp_path, {"y_true": truth, "candidate": probabilities(GUESSES)})


def test_a_regression_needs_a_number_for_each_item(tmp_path: Path) -> None:
    arrays = {"y_true": np.arange(6.0), "candidate": probabilities(GUESSES)}
    with pytest.raises(InvalidInput, match=r"shape \[6, 3\] do not hold a number for each of 6 items"):
        score_of(tmp_path, arrays, task_type="regression", labels=())


def test_a_file_without_outputs_says_what_it_lacks(tmp_path: Path) -> None:
    """In a process, whose parent hears of it."""
    failure = scored(tmp_path, {"y_true": TRUTH}).failure
    assert failure.error == "InvalidInput"
    assert "lacks candidate" in failure.message


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


scores = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3)


@given(st.lists(st.tuples(st.integers(0, 2), scores), min_size=1, max_size=40))
def test_log_loss_and_roc_auc_are_those_of_scikit_learn(items: list[tuple[int, list[float]]]) -> None:
    truth, given_scores = np.array([label for label, _ in items]), np.array([row for _, row in items]) + 1e-3
    outputs = given_scores / given_scores.sum(axis=1, keepdims=True)
    found = JUDGES[TaskType.CLASSIFICATION](truth, outputs, LABELS)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, outputs, labels=[0, 1, 2]))
    if set(truth) == {0, 1, 2}:
        expected = metrics.roc_auc_score(truth, outputs, multi_class="ovr", average="macro")
        assert found["roc_auc"] == pytest.approx(expected)
    assert ("roc_auc" in found) == (len(set(truth)) > 1)


def test_scores_that_are_no_probabilities_have_no_log_loss() -> None:
    for outputs in (np.log(probabilities(TRUTH)), 2 * probabilities(TRUTH)):
        found = JUDGES[TaskType.CLASSIFICATION](TRUTH, outputs, LABELS)
        assert "log_loss" not in found
        assert found["roc_auc"] == 1.0


def test_two_classes_have_the_roc_auc_of_either() -> None:
    truth, second = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.4, 0.5, 0.8, 0.9])
    found = JUDGES[TaskType.CLASSIFICATION](truth, np.stack([1 - second, second], axis=1), ("no", "yes"))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, second))


@given(
    st.lists(
        st.tuples(st.integers(0, 29), st.lists(st.integers(0, 9), min_size=30, max_size=30)), min_size=1, max_size=12
    )
)
def test_a_ranking_is_scored_by_the_place_of_what_was_right(rows: list[tuple[int, list[int]]]) -> None:
    truth, outputs = np.array([right for right, _ in rows]), np.array([scores for _, scores in rows], "f4")
    places = [sum(score >= scores[right] for score in scores) - 1 for right, scores in rows]
    found = JUDGES[TaskType.RANKING](truth, outputs, ())
    assert found["recall_at_10"] == pytest.approx(np.mean([place < 10 for place in places]))
    assert found["ndcg_at_10"] == pytest.approx(np.mean([(place < 10) / math.log2(place + 2) for place in places]))
    assert found["reciprocal_rank"] == pytest.approx(np.mean([1 / (place + 1) for place in places]))


@given(st.lists(st.permutations(range(12)), min_size=1, max_size=8), st.data())
def test_numbers_of_the_best_are_scored_as_scores_of_all(orders: list[list[int]], data: st.DataObject) -> None:
    truth = np.array([data.draw(st.permutations([0, 5, 11, -1])) for _ in orders])
    scores = -np.argsort(orders, axis=1).astype("f4")
    one, other = (JUDGES[TaskType.RANKING](truth, outputs, ()) for outputs in (scores, np.array(orders)[:, :10]))
    for name in ("ndcg_at_10", "recall_at_10"):
        assert one[name] == pytest.approx(other[name])
    none = JUDGES[TaskType.RANKING](truth, np.full((len(truth), 10), -1), ())
    assert none["recall_at_10"] == none["ndcg_at_10"] == 0


def test_of_several_right_things_all_count() -> None:
    outputs = np.linspace(1, 0, 30, dtype="f4")[None]
    assert JUDGES[TaskType.RANKING](np.array([[0, 1, -1]]), outputs, ())["ndcg_at_10"] == pytest.approx(1)
    assert JUDGES[TaskType.RANKING](np.array([[0, 20, -1]]), outputs, ())["recall_at_10"] == 0.5


@pytest.mark.parametrize("truth", [[30], [-1]])
def test_a_ranking_needs_something_right_among_what_is_scored(truth: list[int]) -> None:
    with pytest.raises(InvalidInput, match="do not hold a score"):
        JUDGES[TaskType.RANKING](np.array(truth), np.zeros((1, 30), "f4"), ())


@given(st.lists(st.integers(0, 2), min_size=12, max_size=60), st.integers(0, 99))
def test_vectors_are_scored_by_the_classes_of_the_ten_nearest(classes: list[int], seed: int) -> None:
    truth, outputs = np.array(classes), np.random.default_rng(seed).normal(size=(len(classes), 4)).astype("f4")
    length = np.linalg.norm(outputs, axis=1)
    expected = []
    for index in range(len(truth)):
        likeness = outputs @ outputs[index] / length
        nearest = [other for other in np.argsort(-likeness) if other != index][:10]
        expected.append(np.mean(truth[nearest] == truth[index]))
    found = JUDGES[TaskType.EMBEDDING](truth, outputs, ())["precision_at_10"]
    assert found == pytest.approx(np.mean(expected))
    told = METRICS[TaskType.EMBEDDING](torch.from_numpy(outputs), torch.from_numpy(truth))
    assert told["precision_at_10"] == pytest.approx(found)


def test_vectors_that_lie_by_class_lose_less_than_those_that_do_not() -> None:
    truth = torch.arange(30) % 3
    by_class, by_chance = torch.eye(3)[truth], torch.eye(3)[truth.flip(0) // 2]
    loss = LOSSES[TaskType.EMBEDDING]
    assert loss(by_class, truth) < loss(by_chance, truth)


@given(st.lists(st.integers(0, 1), min_size=20, max_size=80))
def test_chances_that_are_as_frequent_as_told_are_calibrated(kinds: list[int]) -> None:
    truth = np.array([0, 1, *kinds])
    sure = JUDGES[TaskType.CLASSIFICATION](truth, np.eye(2)[truth], ("no", "yes"))
    wrong = JUDGES[TaskType.CLASSIFICATION](truth, np.eye(2)[1 - truth], ("no", "yes"))
    assert (sure["calibration_error"], sure["brier"], sure["average_precision"]) == (0, 0, 1)
    assert wrong["brier"] == 1
    assert wrong["calibration_error"] > 0.5
