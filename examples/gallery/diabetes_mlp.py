"""How far will diabetes go within a year? python -m examples.gallery.diabetes_mlp [age=48 bmi=31 ...]

A demonstration on data of 2004: no decision about a person may rest on it.
"""

import sys

import numpy as np
from aimass import Client

from examples.gallery import connected

TYPICAL = {"age": 50, "sex": 1, "bmi": 26, "bp": 94, "tc": 189, "ldl": 115, "hdl": 50, "tch": 4, "ltg": 4.6, "glu": 91}


def ask(client: Client, measures: dict[str, float]) -> float:
    """The progression told for a patient; what is not measured is taken as typical."""
    (feature,) = client.member("diabetes-mlp")["features"]
    row = [(TYPICAL | measures)[column] for column in feature["columns"]]
    return float(client.predict("diabetes-mlp", {"measures": np.array([row], "<f4")})["progression"][0, 0])


if __name__ == "__main__":
    told = {name: float(value) for name, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if unknown := told.keys() - TYPICAL.keys():
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; measures are {', '.join(TYPICAL)}")
    print(f"{ask(connected(), told):.0f}, where 25 is the least and 346 the most that was seen")
