"""What a member of the library declares, be it a model or a data set.

Reading declarations needs neither torch nor scikit-learn: only methods that build, train or load import them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from math import nan
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidInput
from shared.events.common import GateCondition, Signature
from shared.names import Slug

if TYPE_CHECKING:
    import onnx
    import torch
    from numpy.typing import NDArray

    from library.sources.archives import Archive

    Arrays = dict[str, NDArray[Any]]
    Tensors = tuple[torch.Tensor, ...]

Comparison = Literal[">=", ">", "<=", "<"]
COMPARISONS: dict[Comparison, Callable[[float, float], bool]] = {
    ">=": float.__ge__,
    ">": float.__gt__,
    "<=": float.__le__,
    "<": float.__lt__,
}
LOG_SCALE: dict[str, Any] = {"x-scale": "log"}
NOT_TUNED: dict[str, Any] = {"x-tune": False}


class TaskType(StrEnum):
    """What a model does; it chooses loss, metrics and scoring where a member brings none of its own."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    RANKING = "ranking"
    EMBEDDING = "embedding"
    TRANSCRIPTION = "transcription"
    SPEECH = "speech"
    TAGGING = "tagging"


class Part(StrEnum):
    """The parts of a data set: the trainer sees the first two, the evaluator the third."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Declaration(BaseModel):
    """A frozen fact about a member."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(Declaration):
    """A metric compared with a threshold; a metric that is missing or not a number never holds."""

    metric: str = Field(min_length=1)
    operator: Comparison = ">="
    threshold: float = Field(allow_inf_nan=False)

    def holds(self, metrics: Mapping[str, object]) -> bool:
        value = metrics.get(self.metric)
        return isinstance(value, (int, float)) and COMPARISONS[self.operator](float(value), self.threshold)

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.threshold:g}"


class Gate(Declaration):
    """The conditions that a version must meet, all of them, before it may be promoted."""

    conditions: tuple[Condition, ...] = Field(min_length=1)

    @classmethod
    def of(cls, conditions: Iterable[GateCondition]) -> "Gate":
        """The gate that an event carries."""
        return cls.model_validate({"conditions": [condition.model_dump() for condition in conditions]})

    def to_wire(self) -> tuple[GateCondition, ...]:
        return tuple(GateCondition(**condition.model_dump()) for condition in self.conditions)

    def passes(self, metrics: Mapping[str, object]) -> bool:
        return not self.failures(metrics)

    def failures(self, metrics: Mapping[str, object]) -> tuple[Condition, ...]:
        """The conditions that these metrics do not meet."""
        return tuple(condition for condition in self.conditions if not condition.holds(metrics))


class Card(Declaration):
    """The model card, in sentences for people."""

    title: str = Field(min_length=1)
    intended_use: str = Field(min_length=1)
    data: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    limits: str = Field(min_length=1)


class Feature(Declaration):
    """A column of a data set: OIP datatype, shape of one item (-1: any length), range where there is one.

    A table is one such column; `columns` names what its items hold, in order. With `missing` NaN stands for what is
    not known.
    """

    name: Slug
    datatype: str
    shape: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    missing: bool = False
    description: str = ""


class Schema(Declaration):
    """The columns of a data set: what a model sees, and what it shall say."""

    features: tuple[Feature, ...] = Field(min_length=1)
    target: Feature


class Split(Declaration):
    """How items are divided among the parts, for good, by a fixed seed; the rest is the test part.

    Where items follow each other in time, or belong together, `parts` is overridden instead (`library.sources.split`).
    """

    seed: int = 20240501
    train: float = Field(default=0.7, gt=0, lt=1)
    validation: float = Field(default=0.15, gt=0, lt=1)
    stratified: bool = True


class Config(BaseModel):
    """What every training can be told. Members add fields and narrow ranges; a tuner reads the JSON schema.

    Each field has minimum and maximum, or enum; `x-scale: log` where the scale is not linear; `x-tune: false`
    where the field is not a tuner's to set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=20, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=1, le=4096, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=1e-3, ge=1e-6, le=1.0, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=1e-3, ge=0, le=0.1)


class PretrainedConfig(Config):
    """For a member whose weights come from an archive: without an epoch they are served as they came."""

    epochs: int = Field(default=0, ge=0, le=10_000, json_schema_extra=NOT_TUNED)


class DataSet(ABC):
    """A data set of the library. Loading it gives the same arrays on every machine."""

    name: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()
    schema: ClassVar[Schema]
    split: ClassVar[Split] = Split()

    archives: ClassVar[tuple["Archive", ...]] = ()

    @abstractmethod
    def load(self) -> "Arrays":
        """All items in a fixed order, an array per column of the schema."""

    def fetch(self, tell: Callable[[str], None]) -> None:
        """Bring what `load` reads into the cache; raises DataUnavailable that says what to do."""
        for archive in self.archives:
            archive.fetch(tell)

    def parts(self) -> "dict[Part, Arrays]":
        """The items of each part; a data set that comes divided overrides this."""
        from library.sources.split import divide

        return divide(self.load(), self.schema.target.name, self.split)

    def few_parts(self) -> "dict[Part, Arrays]":
        """Real items of each part that are soon had, for tests: all, where these are."""
        return self.parts()


class Baseline(Declaration):
    """What a model is to beat on the test part, by how much, and in which metric; `method` names it for people."""

    method: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    operator: Comparison = ">"
    factor: float = Field(default=1.0, gt=0)

    def beaten(self, metrics: Mapping[str, float], baseline: Mapping[str, float]) -> bool:
        """Whether it is; a metric that is missing never beats and is never beaten."""
        ours, theirs = (found.get(self.metric, nan) for found in (metrics, baseline))
        return COMPARISONS[self.operator](ours, theirs * self.factor)


class ModelDescription(Declaration):
    """A model of the library as the API shows it."""

    name: Slug
    task_type: TaskType
    dataset: Slug
    code_version: str
    long: bool
    labels: tuple[str, ...]
    signature: Signature
    config_schema: dict[str, Any]
    gate: Gate
    baseline: Baseline | None
    card: Card


C = TypeVar("C", bound=Config)


class Model(ABC, Generic[C]):
    """A model of the library; from `build` on, methods need torch and default to what the task type needs.

    The module that `build` makes takes the inputs of the signature in order and returns what `loss` reads (in
    classification: logits); `served` turns that into the outputs of the signature, inside the exported graph. One that
    is `long` takes many minutes for data and training, and is left out where all members are trained in turn. Where one
    `needs_whole_batches`, none is divided among workers: its loss compares the items of a batch with each other.
    """

    name: ClassVar[str]
    task_type: ClassVar[TaskType]
    dataset: ClassVar[str]
    code_version: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()
    signature: ClassVar[Signature]
    gate: ClassVar[Gate]
    baseline: ClassVar[Baseline | None] = None
    card: ClassVar[Card]
    weights: ClassVar[tuple["Archive", ...]] = ()
    long: ClassVar[bool] = False
    needs_whole_batches: ClassVar[bool] = False
    rows: ClassVar[int] = 1024
    config: type[C]

    def describe(self) -> ModelDescription:
        """All that can be said of it without torch."""
        return ModelDescription(
            name=self.name,
            task_type=self.task_type,
            dataset=self.dataset,
            code_version=self.code_version,
            long=self.long,
            labels=self.labels,
            signature=self.signature,
            config_schema=self.config.model_json_schema(),
            gate=self.gate,
            baseline=self.baseline,
            card=self.card,
        )

    def validate(self, config: Mapping[str, Any]) -> C:
        """The complete configuration, defaults filled in."""
        try:
            return self.config.model_validate(dict(config))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(["config", *map(str, first["loc"])])
            raise InvalidInput(f"{field}: {first['msg']}", field=field) from error

    def fetch(self, tell: Callable[[str], None]) -> None:
        """Bring the weights that `build` begins with into the cache; raises DataUnavailable that says what to do."""
        for archive in self.weights:
            archive.fetch(tell)

    @abstractmethod
    def example(self) -> "Arrays":
        """One item of each input, batch axis 1, as a client would send it."""

    def front(self) -> "onnx.ModelProto | None":
        """What turns the inputs of the signature into those of the module, where these are not the same, such as text
        into numbers: a part of the exported graph, and run by the training too, on `rows` items at once. Texts that it
        gives go around the module, to the back.
        """
        return None

    def back(self, module: "torch.nn.Module") -> "onnx.ModelProto | None":  # noqa: ARG002
        """What turns numbers that the trained module gives, and texts that the front gives, into outputs of the
        signature, such as names of things: the end of the exported graph. Each of its outputs stands in the place of
        its input of the same place; what the front gives comes after what the module gives.
        """
        return None

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        """What the baseline answers to the items of the test part, as outputs of the served model."""
        raise NotImplementedError(f"{self.name} names no baseline")

    def figures(self, outputs: "NDArray[Any]", test: "Arrays") -> dict[str, float]:
        """What else these outputs are worth on the items of the test part, beside the metrics of the task type: told
        of the model and of its baseline.
        """
        return {}

    @abstractmethod
    def build(self, config: C) -> "torch.nn.Module":
        """A fresh module; its weights come from torch's random numbers, or from the archives in `weights`."""

    def adapt(self, module: "torch.nn.Module", inputs: "Tensors", target: "torch.Tensor") -> None:  # noqa: B027
        """Take from the training part what no step learns, such as means: once, before the first step."""

    def served(self, module: "torch.nn.Module") -> "torch.nn.Module":
        """The module of the exported graph: from the inputs to the outputs of the signature."""
        from library.networks.layers import Served
        from library.training.objectives import FINISHES

        return Served(module, FINISHES[self.task_type]())

    def graph(self, module: "torch.nn.Module") -> "onnx.ModelProto":
        """The graph that is served, front and all; made otherwise by a member whose module cannot be traced whole."""
        from library.graphs.export import graph_of

        return graph_of(self, module)

    def loss(self, outputs: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """The mean over the batch; what hears or speaks has one of its own, or cannot be trained."""
        from library.training.objectives import LOSSES

        if self.task_type not in LOSSES:
            raise NotImplementedError(f"{self.name} names no loss, and {self.task_type} has none that all share")
        return LOSSES[self.task_type](outputs, target)

    def metrics(self, outputs: "torch.Tensor", target: "torch.Tensor") -> dict[str, float]:
        """Figures on a whole part, told after each epoch."""
        from library.training.objectives import METRICS

        return METRICS[self.task_type](outputs, target)

    def inputs(self, items: "Arrays") -> "Tensors":
        """The tensors that the module takes, from columns of the data set named as the signature's inputs."""
        from library.graphs.front import numbers_of, through
        from library.networks.layers import aligned

        columns = {spec.name: items[spec.name] for spec in self.signature.inputs}
        if (front := self.front()) is not None:
            columns = through(front, columns, self.rows, numbers_of(front))
        return tuple(map(aligned, columns.values()))

    def optimiser(self, module: "torch.nn.Module", config: C) -> "torch.optim.Optimizer":
        """Made before each run; its learning rate is set before each step."""
        import torch

        return torch.optim.AdamW(module.parameters(), config.learning_rate, weight_decay=config.weight_decay)

    def learning_rate(self, config: C, progress: float) -> float:
        """The learning rate when this fraction of all steps is done: a short rise, then down to zero."""
        return config.learning_rate * min(1.0, progress / 0.05 + 0.1, (1 - progress) / 0.95)
