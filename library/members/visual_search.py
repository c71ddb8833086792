"""visual-search: a picture of clothes in, the ten most alike of the training part out, found inside the artifact."""

from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Gate, Model, PretrainedConfig, TaskType
from library.data.fashion_mnist import FashionMnist
from library.sources.weights import EFFICIENTNET_LITE0
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors
    from library.networks.neighbours import Search

FOUND: Final = 10
SIDES: Final = (64, 64)
LEVELS: Final = (8, 11, 15)
FEATURES: Final = 384
WIDTH: Final = 64


class VisualSearchConfig(PretrainedConfig):
    """What a training of visual-search can be told; without an epoch the features are compared as they came."""

    epochs: int = Field(default=4, ge=0, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=512, ge=64, le=4096, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)


class VisualSearch(Model[VisualSearchConfig]):
    """Features of three depths of EfficientNet-Lite0, brought closer by kind, and the training part as an index."""

    name = "visual-search"
    task_type = TaskType.CLASSIFICATION
    dataset = FashionMnist.name
    code_version = "1.0.0"
    labels = FashionMnist.labels
    signature = Signature(
        inputs=(TensorSpec(name="image", datatype="UINT8", shape=(-1, -1, -1, -1)),),
        outputs=(
            TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 10)),
            TensorSpec(name="items", datatype="INT64", shape=(-1, FOUND)),
            TensorSpec(name="kinds", datatype="BYTES", shape=(-1, FOUND)),
            TensorSpec(name="alike", datatype="FP32", shape=(-1, FOUND)),
        ),
    )
    gate = Gate(conditions=(Condition(metric="accuracy", threshold=0.9), Condition(metric="macro_f1", threshold=0.9)))
    baseline = Baseline(method="the ten nearest by the cosine of raw pixels", metric="accuracy")
    card = Card(
        title="Clothes that look like those on a picture",
        intended_use="To find in a catalogue what looks like a picture: numbers and kinds of the ten nearest pictures "
        "of the training part, how alike each is (cosine), and the kinds by their votes.",
        data="Weights: ImageNet. What is compared, and to be found: Fashion-MNIST, divided as published: 54,000 "
        "pictures train and are the index, 6,000 validate, 10,000 test.",
        licence="Weights: Apache-2.0. Data set: MIT. Code: as the platform.",
        limits="Finds only what it was trained on; pictures of single pieces on a dark background, brought to 64 x 64. "
        "Accuracy of the vote on the test part 0.913 after 4 epochs, of the ten nearest by raw pixels 0.854.",
    )
    weights = (EFFICIENTNET_LITE0,)
    rows = 64
    needs_whole_batches = True
    config = VisualSearchConfig

    def example(self) -> "Arrays":
        import numpy as np

        trousers = np.zeros((1, 1, 28, 28), "u1")
        trousers[0, 0, 2:6, 8:20] = 200
        trousers[0, 0, 6:27, 8:13] = trousers[0, 0, 6:27, 15:20] = 180
        return {"image": trousers}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.pictures import seen

        return seen("image", *SIDES, LEVELS)

    def build(self, config: VisualSearchConfig) -> "nn.Module":
        from library.networks.neighbours import Search

        return Search(FEATURES, WIDTH, len(self.labels), FOUND)

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        cast("Search", module).remember(inputs[0], target)

    def served(self, module: "nn.Module") -> "nn.Module":
        from library.networks.neighbours import Voted

        return Voted(cast("Search", module))

    def back(self, module: "nn.Module") -> "onnx.ModelProto":
        from library.graphs.back import named

        return named("kind_numbers", "kinds", self.labels, FOUND)

    def loss(self, outputs: "Tensor", target: "Tensor") -> "Tensor":
        from library.training.objectives import LOSSES

        return LOSSES[TaskType.EMBEDDING](outputs, target)

    def metrics(self, outputs: "Tensor", target: "Tensor") -> dict[str, float]:
        from library.training.objectives import METRICS

        return METRICS[TaskType.EMBEDDING](outputs, target)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.networks.neighbours import votes_of_pixels

        return votes_of_pixels(train["image"], train["kind"], test["image"], len(self.labels), FOUND)

    def figures(self, outputs: "NDArray[Any]", test: "Arrays") -> dict[str, float]:
        """Of the ten that are found, how many are of the picture's kind."""
        import numpy as np

        return {"found_of_its_kind": float(np.take_along_axis(outputs, test["kind"][:, None], axis=1).mean())}
