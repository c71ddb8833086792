"""Fashion-MNIST: 70,000 grey images of 28 x 28 pixels, ten kinds of clothes, divided as published."""

import gzip
from typing import TYPE_CHECKING, Any, ClassVar

from library.base import DataSet, Feature, Part, Schema
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

HEADERS = {"images": 16, "labels": 8}
VALIDATION = 6_000


class FashionMnist(DataSet):
    """Clothes from a shop's catalogue; pixels 0 (background) to 255. The last 6,000 of the 60,000 validate."""

    name = "fashion-mnist"
    source = "Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, Zalando Research, 2017), as Debian ships it"
    licence = "MIT"
    labels: ClassVar[tuple[str, ...]] = (
        *("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"),
    )
    schema = Schema(
        features=(
            Feature(
                name="image",
                datatype="UINT8",
                shape=(1, 28, 28),
                minimum=0,
                maximum=255,
                description="grey image (channel, row, column), 0 is background",
            ),
        ),
        target=Feature(name="kind", datatype="INT64", minimum=0, maximum=9, description="the kind of clothes"),
    )
    archives = (
        Archive(
            registry=Registry.DEBIAN,
            package="dataset-fashion-mnist",
            version="0.0~git20200523.55506a9-1",
            file="dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
            sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
            size=30_900_652,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        trained, tested = self._published()
        return {name: np.concatenate([trained[name], tested[name]]) for name in trained}

    def parts(self) -> "dict[Part, Arrays]":
        trained, tested = self._published()
        train = {name: column[:-VALIDATION] for name, column in trained.items()}
        validation = {name: column[-VALIDATION:] for name, column in trained.items()}
        return {Part.TRAIN: train, Part.VALIDATION: validation, Part.TEST: tested}

    def _published(self) -> "tuple[Arrays, Arrays]":
        files = {name.rpartition("/")[2]: content for name, content in self.archives[0].members("usr/share")}
        trained, tested = (
            {"image": _numbers(files, part, "images").reshape(-1, 1, 28, 28), "kind": _numbers(files, part, "labels")}
            for part in ("train", "t10k")
        )
        return trained | {"kind": trained["kind"].astype("<i8")}, tested | {"kind": tested["kind"].astype("<i8")}


def _numbers(files: dict[str, bytes], part: str, what: str) -> "NDArray[Any]":
    import numpy as np

    dimensions = {"images": 3, "labels": 1}[what]
    return np.frombuffer(gzip.decompress(files[f"{part}-{what}-idx{dimensions}-ubyte.gz"])[HEADERS[what] :], "u1")
