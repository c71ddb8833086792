"""Diabetes: 442 patients, ten measures at the start and the disease's progression a year later, from scikit-learn."""

from typing import TYPE_CHECKING

from library.base import DataSet, Feature, Schema, Split

if TYPE_CHECKING:
    from library.base import Arrays


class Diabetes(DataSet):
    """A number to predict; measures stay raw, in the units of the clinic."""

    name = "diabetes"
    source = (
        "sklearn.datasets.load_diabetes(scaled=False): the data of 'Least Angle Regression' "
        "(B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, Annals of Statistics, 2004)"
    )
    licence = "published with the article, without a licence of its own; passed on by scikit-learn (BSD-3-Clause)"
    split = Split(train=0.6, validation=0.15, stratified=False)
    schema = Schema(
        features=(
            Feature(
                name="measures",
                datatype="FP32",
                shape=(10,),
                minimum=0,
                columns=("age", "sex", "bmi", "bp", "tc", "ldl", "hdl", "tch", "ltg", "glu"),
                description=(
                    "years; 1 or 2; body mass index; mean blood pressure; serum: total cholesterol, LDL, HDL, "
                    "total / HDL, log of triglycerides, glucose"
                ),
            ),
        ),
        target=Feature(
            name="progression",
            datatype="FP32",
            minimum=25,
            maximum=346,
            description="how far the disease went within a year, as its clinicians put it in a number",
        ),
    )

    def load(self) -> "Arrays":
        from library.sources.scikit import rows_of

        measures = rows_of("diabetes_data_raw.csv.gz", between=None)
        progression = rows_of("diabetes_target.csv.gz")
        return {"measures": measures.astype("<f4"), "progression": progression.astype("<f4")}
