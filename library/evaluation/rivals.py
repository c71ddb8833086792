"""What baselines of several members share."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays, Model

BINS = 6


def word_counts(model: "Model[Any]", items: "Arrays", words: int) -> sparse.csr_matrix:
    """How often each number of the model's front, 1 to `words`, occurs in each row."""
    (numbers,) = (tensor.numpy() for tensor in model.inputs(items))
    rows, _ = np.nonzero(numbers)
    found = numbers[numbers > 0]
    return sparse.coo_matrix((np.ones(len(found)), (rows, found)), shape=(len(numbers), words + 1)).tocsr()


def seen_by(histories: "NDArray[Any]", things: int) -> "NDArray[Any]":
    """1 where a row of numbers, 1 to `things` and 0 for none, names a thing: [rows, things]."""
    seen = np.zeros((len(histories), things + 1), "<f4")
    np.put_along_axis(seen, histories.astype(int), 1, axis=1)
    return seen[:, 1:]


def implicit_als(seen: "NDArray[Any]", width: int = 32, rounds: int = 8, trust: float = 1, ridge: float = 10) -> Any:
    """Scores of all things for each row (Hu, Koren, Volinsky, Collaborative Filtering for Implicit Feedback, 2008)."""
    random = np.random.RandomState(0)
    rows, things = (random.normal(scale=0.1, size=(count, width)) for count in seen.shape)
    for _ in range(rounds):
        rows = _solved(seen, things, trust, ridge)
        things = _solved(seen.T, rows, trust, ridge)
    return _solved(seen, things, trust, ridge) @ things.T


def _solved(seen: "NDArray[Any]", others: "NDArray[Any]", trust: float, ridge: float) -> "NDArray[Any]":
    """The vectors that explain best what each row has seen, given the vectors of what there is to see."""
    common = others.T @ others + ridge * np.eye(others.shape[1])
    found = np.empty((len(seen), others.shape[1]))
    for row, mask in enumerate(seen):
        own = others[mask > 0]
        found[row] = np.linalg.solve(common + trust * own.T @ own, (1 + trust) * own.sum(axis=0))
    return found


def scorecard(rows: "NDArray[Any]", bad: "NDArray[Any]", asked: "NDArray[Any]") -> "NDArray[Any]":
    """Chances of good and bad by a scorecard: columns cut into bins, weights of evidence, logistic regression.

    Bins are those of a small decision tree for each column; what is missing has a bin of its own.
    """
    columns = zip(rows.T, asked.T, strict=True)
    learnt, told = (np.stack(table, axis=1) for table in zip(*(_evidence(*pair, bad) for pair in columns), strict=True))
    answers: NDArray[Any] = LogisticRegression(C=1e3, max_iter=1000).fit(learnt, bad).predict_proba(told)
    return answers


def _evidence(cells: "NDArray[Any]", asked: "NDArray[Any]", bad: "NDArray[Any]") -> "tuple[NDArray[Any], NDArray[Any]]":
    """The weight of evidence of each cell's bin, half an item added to each count so that none is infinite."""
    there = ~np.isnan(cells)
    grown = DecisionTreeClassifier(max_leaf_nodes=BINS, min_samples_leaf=0.05, random_state=0)
    tree = grown.fit(cells[there, None], bad[there]).tree_
    cuts = np.sort(tree.threshold[tree.feature >= 0])
    bins, found = (np.where(np.isnan(side), len(cuts) + 1, np.searchsorted(cuts, side)) for side in (cells, asked))
    counts = np.stack([np.bincount(bins[bad == kind], minlength=len(cuts) + 2) + 0.5 for kind in (0, 1)])
    weights = np.log(counts[1] / counts[0])
    return weights[bins], weights[found]


def weighted_words(train: Any, classes: Any, test: Any, *, pairs: bool, trust: float) -> "NDArray[Any]":
    """Chances of the classes by logistic regression on TF-IDF of words, and of pairs of words."""
    words = TfidfVectorizer(ngram_range=(1, 2 if pairs else 1), sublinear_tf=True, decode_error="ignore")
    learnt = LogisticRegression(C=trust, max_iter=500).fit(words.fit_transform(train.tolist()), classes)
    answers: NDArray[Any] = learnt.predict_proba(words.transform(test.tolist()))
    return answers


def latent_words(train: Any, test: Any, width: int = 20) -> "NDArray[Any]":
    """Vectors of length `width` by latent semantic analysis: the main directions of TF-IDF over the training part."""
    words = TfidfVectorizer(sublinear_tf=True, decode_error="ignore", min_df=2, stop_words="english")
    learnt = words.fit_transform(train.tolist())
    directions = TruncatedSVD(min(width, learnt.shape[1] - 1), random_state=0).fit(learnt)
    found: NDArray[Any] = directions.transform(words.transform(test.tolist())).astype("<f4")
    return found


def full_text(texts: Sequence[str], asked: Sequence[str], count: int) -> "NDArray[Any]":
    """Numbers of the best texts for each question [asked, count] by BM25 of words, a plural's s left out; -1 where no
    more have a word of it (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009).
    """
    words = CountVectorizer(analyzer=_singulars)
    counts = words.fit_transform(texts).astype(float)
    lengths = np.asarray(counts.sum(axis=1)).ravel() / counts.sum() * len(texts)
    frequency = np.asarray((counts > 0).sum(axis=0)).ravel()
    rare = np.log1p((len(texts) - frequency + 0.5) / (frequency + 0.5))
    rows, columns = counts.nonzero()
    weights = counts.data * 2.2 / (counts.data + 1.2 * (0.25 + 0.75 * lengths[rows])) * rare[columns]
    weighted = sparse.csr_matrix((weights, (rows, columns)), counts.shape)
    scores = ((words.transform(asked) > 0).astype(float) @ weighted.T).toarray()
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return np.where(np.take_along_axis(scores, best, axis=1) > 0, best, -1)


def _singulars(text: str) -> list[str]:
    return [word[:-1] if len(word) > 3 and word[-1] == "s" else word for word in re.findall("[a-z0-9]+", text.lower())]


def logistic(train: "NDArray[Any]", target: "NDArray[Any]", test: "NDArray[Any]") -> "NDArray[Any]":
    """The probabilities of a logistic regression on standardised columns."""
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(_flat(train), target)
    answers: NDArray[Any] = estimator.predict_proba(_flat(test))
    return answers


def ridge(train: "NDArray[Any]", target: "NDArray[Any]", test: "NDArray[Any]") -> "NDArray[Any]":
    """The numbers of a ridge regression on standardised columns, which chooses its own penalty."""
    penalties = np.logspace(-1, 3, 9)
    estimator = make_pipeline(StandardScaler(), RidgeCV(penalties)).fit(_flat(train), target)
    answers: NDArray[Any] = estimator.predict(_flat(test))[:, None]
    return answers


def _flat(items: "NDArray[Any]") -> "NDArray[Any]":
    return items.reshape(len(items), -1)
