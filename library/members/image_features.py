"""image-features: a picture of any size, grey or in colour, as a vector, by EfficientNet-Lite0 taught by ImageNet."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from library.base import NOT_TUNED, Baseline, Card, Condition, Gate, Model, PretrainedConfig, TaskType
from library.data.fashion_mnist import FashionMnist
from library.sources.weights import EFFICIENTNET_LITE0
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

WIDTH: Final = 1280
SIDES: Final = (128, 224)


class ImageFeaturesConfig(PretrainedConfig):
    """There is nothing to be told: the weights are served as they came."""

    epochs: int = Field(default=0, ge=0, le=0, json_schema_extra=NOT_TUNED)


class ImageFeatures(Model[ImageFeaturesConfig]):
    """The network lies in the front; what is left is to make its vectors comparable: length 1."""

    name = "image-features"
    task_type = TaskType.EMBEDDING
    dataset = FashionMnist.name
    code_version = "1.0.0"
    labels = FashionMnist.labels
    signature = Signature(
        inputs=(TensorSpec(name="image", datatype="UINT8", shape=(-1, -1, -1, -1)),),
        outputs=(TensorSpec(name="vector", datatype="FP32", shape=(-1, WIDTH)),),
    )
    gate = Gate(conditions=(Condition(metric="precision_at_10", threshold=0.78),))
    baseline = Baseline(method="the pixels themselves as a vector", metric="precision_at_10")
    card = Card(
        title="What a picture shows, as a vector",
        intended_use="To find pictures that look alike, to group them, and as input of small models of one's own: the "
        "cosine of two vectors says how alike their pictures are.",
        data="Weights: ImageNet, 1.28 million photographs of 1000 kinds; nothing is trained here. Measured on "
        "Fashion-MNIST, whose pictures are none of them.",
        licence="Weights: Apache-2.0. Code: as the platform.",
        limits="Learnt from photographs of things; of little use for faces and text. Each side is brought to 128 to "
        "224 pixels, whatever their ratio. Of the ten nearest on the test part of Fashion-MNIST 0.792 are of one kind, "
        "by raw pixels 0.761.",
    )
    weights = (EFFICIENTNET_LITE0,)
    rows = 64
    config = ImageFeaturesConfig

    def example(self) -> "Arrays":
        import numpy as np

        sunset = np.zeros((1, 3, 48, 64), "u1")
        sunset[0, 0] = np.linspace(80, 250, 48)[:, None]
        sunset[0, 2] = np.linspace(160, 20, 48)[:, None]
        return {"image": sunset}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.pictures import seen
        from library.networks.efficientnet import HEAD

        return seen("image", *SIDES, (HEAD,))

    def build(self, config: ImageFeaturesConfig) -> "nn.Module":
        from torch import nn

        return nn.Identity()

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        return test["image"].reshape(len(test["image"]), -1).astype("f4")
