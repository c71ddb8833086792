"""Breast tumours: 569 fine-needle samples, each with 30 measures of its cells' nuclei, from scikit-learn."""

from typing import TYPE_CHECKING, ClassVar

from library.base import DataSet, Feature, Schema, Split

if TYPE_CHECKING:
    from library.base import Arrays

MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)


class BreastCancer(DataSet):
    """Malignant or benign; measures stay raw, in the units of the images they were taken from."""

    name = "breast-cancer"
    source = (
        "sklearn.datasets.load_breast_cancer: 'Breast Cancer Wisconsin (Diagnostic)' "
        "(W. Wolberg, O. Mangasarian, N. Street, W. Street, UCI Machine Learning Repository, 1995)"
    )
    licence = "CC BY 4.0"
    labels: ClassVar[tuple[str, ...]] = ("malignant", "benign")
    split = Split(train=0.6, validation=0.15)
    schema = Schema(
        features=(
            Feature(
                name="measures",
                datatype="FP32",
                shape=(30,),
                minimum=0,
                columns=(
                    *(f"mean {measure}" for measure in MEASURES),
                    *(f"{measure} error" for measure in MEASURES),
                    *(f"worst {measure}" for measure in MEASURES),
                ),
                description="of a sample's nuclei: mean, standard error and worst (mean of the three largest)",
            ),
        ),
        target=Feature(name="diagnosis", datatype="INT64", minimum=0, maximum=1, description="0 malignant, 1 benign"),
    )

    def load(self) -> "Arrays":
        from library.sources.scikit import rows_of

        rows = rows_of("breast_cancer.csv", heading=True)
        return {"measures": rows[:, :-1].astype("<f4"), "diagnosis": rows[:, -1].astype("<i8")}
