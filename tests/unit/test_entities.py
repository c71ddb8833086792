"""Names within rows of words: read, compared and shown in the same way, whoever reads them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from library.base import TaskType
from library.evaluation import entities
from library.evaluation.intervals import beside
from library.training.objectives import LOSSES, METRICS
from services.evaluator.engine import JUDGES
from services.gateway.predict import tagged
from shared.errors import InvalidInput

LABELS = ("O", "B-person", "I-person", "B-place", "I-place")
rows = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 4), min_size=width, max_size=width), min_size=1, max_size=5)
)


def spans_of(row: list[int]) -> list[tuple[int, int, int]]:
    """One word after the other."""
    found: list[tuple[int, int, int]] = []
    for place, tag in enumerate(row):
        kind = (tag - 1) // 2
        if tag and tag % 2 == 0 and found and found[-1][1:] == (place, kind):
            found[-1] = (found[-1][0], place + 1, kind)
        elif tag:
            found.append((place, place + 1, kind))
    return found


@given(rows)
def test_names_are_where_one_word_after_the_other_says(tags: list[list[int]]) -> None:
    wanted = [[number, *span] for number, row in enumerate(tags) for span in spans_of(row)]
    assert entities.spans(np.array(tags)).tolist() == wanted


@given(rows)
def test_people_are_shown_the_names_that_are_counted(tags: list[list[int]]) -> None:
    for row in tags:
        words = [f" w{place}" for place in range(len(row))]
        shown = tagged.entities([word.encode() for word in words], [LABELS[tag] for tag in row])
        text = "".join(words)
        wanted = [("".join(words[a:b])[1:], ("person", "place")[kind]) for a, b, kind in spans_of(row)]
        assert [(each["text"], each["label"]) for each in shown] == wanted
        assert all(text[each["start"] : each["end"]] == each["text"] for each in shown)


@given(rows, st.randoms(use_true_random=False))
def test_agreement_is_that_of_sets_of_names(tags: list[list[int]], random: Any) -> None:
    others = [[random.randint(0, 4) for _ in row] + [0] for row in tags]
    left, right = (
        {(number, *span) for number, row in enumerate(side) for span in spans_of(row)} for side in (tags, others)
    )
    found = JUDGES[TaskType.TAGGING](np.array(tags), np.array(others), LABELS)
    assert found["entity_f1"] == pytest.approx(2 * len(left & right) / max(1, len(left) + len(right)))
    assert found["entity_recall"] == pytest.approx(len(left & right) / max(1, len(left)))
    assert found["entities"] == len(left) == sum(row["support"] for row in found["per_class"])


@given(rows)
def test_training_is_told_what_the_evaluator_says(tags: list[list[int]]) -> None:
    truth = torch.tensor(tags)
    scores = torch.nn.functional.one_hot(truth.roll(1, dims=0), len(LABELS)).float() * 9
    told = METRICS[TaskType.TAGGING](scores, truth)["entity_f1"]
    assert told == JUDGES[TaskType.TAGGING](truth.numpy(), scores.argmax(dim=2).numpy(), LABELS)["entity_f1"]
    right = torch.nn.functional.one_hot(truth, len(LABELS)).float() * 9
    assert LOSSES[TaskType.TAGGING](right, truth) <= LOSSES[TaskType.TAGGING](scores, truth) + 1e-6


@pytest.mark.parametrize("outputs", [np.zeros(3, int), np.zeros((3, 2)), np.full((3, 2), 5), np.full((3, 2), -1)])
def test_what_is_no_number_of_a_label_is_refused(outputs: Any) -> None:
    with pytest.raises(InvalidInput, match="labels"):
        JUDGES[TaskType.TAGGING](np.zeros((3, 2), int), outputs, LABELS)


def test_the_lead_of_a_share_has_an_interval_that_holds_it() -> None:
    random = np.random.RandomState(0)
    truth = random.randint(5, size=(300, 6))
    good, bad = (np.where(random.rand(300, 6) < share, truth, 0) for share in (0.9, 0.6))
    lead = np.subtract(*(entities.figures(truth, found, LABELS)["entity_f1"] for found in (good, bad)))
    found = beside("entity_f1", truth, good, bad)
    assert 0 < found["entity_f1_less_baseline_low"] < lead < found["entity_f1_less_baseline_high"]
    assert beside("entity_f1", truth, good, good) == {
        "entity_f1_less_baseline_low": 0.0,
        "entity_f1_less_baseline_high": 0.0,
    }
