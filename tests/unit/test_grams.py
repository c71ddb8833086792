"""Runs of letters are told apart and counted as a dictionary would; texts in many languages are divided by article."""

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

import library
from library.base import Part
from library.networks.grams import Evidence, Grams

BUCKETS = 1 << 20
letters = st.lists(st.integers(1, 5), min_size=1, max_size=12)


@given(st.lists(letters, min_size=1, max_size=5), st.sampled_from([(1,), (2,), (1, 3), (2, 3, 4)]))
def test_equal_runs_have_equal_numbers_and_others_not(rows: list[list[int]], lengths: tuple[int, ...]) -> None:
    padded = torch.zeros(len(rows), 12, dtype=torch.int64)
    for row, numbers in enumerate(rows):
        padded[row, : len(numbers)] = torch.tensor(numbers)
    found = Grams(lengths, BUCKETS)(padded)
    wanted = [
        Counter(tuple(row[start : start + length]) for length in lengths for start in range(len(row) - length + 1))
        for row in rows
    ]
    for numbers, runs in zip(found, wanted, strict=True):
        assert sorted(Counter(numbers[numbers > 0].tolist()).values()) == sorted(runs.values())
    distinct = {run for runs in wanted for run in runs}
    assert len(set(found[found > 0].tolist())) == len(distinct)


def test_evidence_is_naive_bayes_as_counted() -> None:
    numbers, target = torch.tensor([[1, 1, 2], [2, 3, 0]]), torch.tensor([0, 1])
    evidence = Evidence(3, 2, smoothing=1.0, scale=1.0)
    evidence.count(numbers, target)
    shares = np.log(np.array([[3, 1], [2, 2], [1, 2]]) / [6, 5])
    centred = shares - shares.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(evidence.logs.weight[1:].detach(), centred, atol=1e-6)
    np.testing.assert_allclose(evidence(torch.tensor([[1, 2, 0]])).detach(), centred[[0]] + centred[[1]], atol=1e-6)


def test_no_line_of_a_declaration_is_in_two_parts() -> None:
    parts = library.data_set("declarations").parts()
    lines = [set(parts[part]["text"].tolist()) for part in Part]
    assert sum(map(len, lines)) == len(set().union(*lines)) == sum(len(parts[part]["text"]) for part in Part)
