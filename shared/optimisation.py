"""Ways to make another version of a model, smaller or faster: what each can be told."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NodeName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Way(BaseModel):
    """A way to optimise."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Graph(Way):
    """Fold constants and fuse operators once and for all; answers stay the same to the last digits."""

    method: Literal["graph"]


class Int8Dynamic(Way):
    """Keep weights of linear layers and embeddings as int8; activations are quantised as they come.

    `exclude` names nodes or operators that stay as they are.
    """

    method: Literal["int8-dynamic"]
    exclude: tuple[NodeName, ...] = Field(default=(), max_length=100)


class Int8Static(Way):
    """Compute convolutions and linear layers in int8, with ranges of activations taken from rows of the data set.

    `exclude` names nodes or operators that stay as they are.
    """

    method: Literal["int8-static"]
    part: Literal["train", "validation"] = "train"
    rows: int = Field(default=256, ge=1, le=4096)
    ranges: Literal["minmax", "entropy", "percentile"] = "minmax"
    exclude: tuple[NodeName, ...] = Field(default=(), max_length=100)


class PruneChannels(Way):
    """Take out this share of the channels and hidden units that weigh least: a smaller graph that computes less.

    Channels of convolutions go in blocks of 8 or 16, as the processor takes them.
    """

    method: Literal["prune-channels"]
    share: float = Field(default=0.25, gt=0, le=0.9)


class PruneWeights(Way):
    """Set this share of the smallest weights of each layer to zero: smaller only when packed, and not faster."""

    method: Literal["prune-weights"]
    share: float = Field(default=0.5, gt=0, le=0.99)


Optimisation = Annotated[Graph | Int8Dynamic | Int8Static | PruneChannels | PruneWeights, Field(discriminator="method")]
