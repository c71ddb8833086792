"""Handwritten digits: 1,797 grey images of 8 x 8 pixels, from scikit-learn."""

from typing import TYPE_CHECKING, ClassVar

from library.base import DataSet, Feature, Schema

if TYPE_CHECKING:
    from library.base import Arrays


class Digits(DataSet):
    """Handwritten digits, 0 to 9; pixels stay raw, 0 (paper) to 16 (ink)."""

    name = "digits"
    source = (
        "sklearn.datasets.load_digits: the test part of 'Optical Recognition of Handwritten Digits' "
        "(E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, 1998)"
    )
    licence = "CC BY 4.0"
    labels: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))
    schema = Schema(
        features=(
            Feature(
                name="image",
                datatype="FP32",
                shape=(1, 8, 8),
                minimum=0,
                maximum=16,
                description="grey image (channel, row, column), 0 is paper and 16 is full ink",
            ),
        ),
        target=Feature(name="digit", datatype="INT64", minimum=0, maximum=9, description="the digit written"),
    )

    def load(self) -> "Arrays":
        from library.sources.scikit import rows_of

        rows = rows_of("digits.csv.gz")
        return {"image": rows[:, :-1].reshape(-1, 1, 8, 8).astype("<f4"), "digit": rows[:, -1].astype("<i8")}
