"""recommender: which film a person will rate next, from the films before."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.film_ratings import FILMS, HISTORY, FilmRatings
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays


class RecommenderConfig(Config):
    """What a training of recommender can be told."""

    epochs: int = Field(default=20, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=256, ge=16, le=2048, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=5e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    width: int = Field(default=64, ge=8, le=256, json_schema_extra=LOG_SCALE, description="of a film's vector")
    views: Literal[1, 2, 4, 8] = Field(default=4, description="ways of weighting the films by how long ago they were")
    dropout: float = Field(default=0.4, ge=0, le=0.8)


class Recommender(Model[RecommenderConfig]):
    """Means of the films' vectors, each weighted by recency in its own way, against a vector of each film."""

    name = "recommender"
    task_type = TaskType.RANKING
    dataset = FilmRatings.name
    code_version = "1.0.0"
    signature = Signature(
        inputs=(TensorSpec(name="films", datatype="INT32", shape=(-1, HISTORY)),),
        outputs=(TensorSpec(name="scores", datatype="FP32", shape=(-1, FILMS)),),
    )
    gate = Gate(conditions=(Condition(metric="ndcg_at_10", threshold=0.07),))
    baseline = Baseline(method="matrix factorisation by implicit ALS", metric="ndcg_at_10")
    card = Card(
        title="The next film of a person",
        intended_use="To suggest films, or to see how a sequence becomes a ranking; of those sent none is named.",
        data="MovieLens-100k: 943 people, 1,682 films; of each person the last film tests, the one before validates.",
        licence="Code and weights: as the platform. Data: research only, not to be passed on (GroupLens).",
        limits="Ratings of 1997 and 1998; what nobody rated is never suggested, and the last 200 films are read. "
        "NDCG@10 on the test part 0.103; of implicit ALS on the same films 0.071 (its settings chosen on the "
        "validation part), on all films 0.076; of popularity 0.044. 95% interval of the lead over ALS: 0.015 to 0.048.",
    )
    config = RecommenderConfig

    def example(self) -> "Arrays":
        import numpy as np

        films = np.zeros((1, HISTORY), "<i4")
        films[0, -3:] = (50, 172, 181)
        return {"films": films}

    def build(self, config: RecommenderConfig) -> "nn.Module":
        from library.networks.sequences import NextOf

        return NextOf(FILMS, HISTORY, config.width, config.views, config.dropout)

    def served(self, module: "nn.Module") -> "nn.Module":
        from library.networks.sequences import Unseen

        return Unseen(module)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import implicit_als, seen_by

        seen = seen_by(test["films"], FILMS)
        scores: NDArray[Any] = implicit_als(seen) - 1e9 * seen
        return scores
