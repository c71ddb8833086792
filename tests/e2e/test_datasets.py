"""People bring a table of their own, see how it looks, and train a member of the library on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aimass import Client
from aimass.errors import ApiError

import library
from library.base import Part
from tests.e2e.test_members import evaluated
from tests.house import House


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.stack.info["gateway"], house.key)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The breast-cancer set as a clinic might keep it: a CSV with names of columns and words for labels."""
    dataset = library.data_set("breast-cancer")
    items = dataset.load()
    names = [*dataset.schema.features[0].columns, dataset.schema.target.name]
    rows = [
        [*map(repr, measures.tolist()), dataset.labels[kind]]
        for measures, kind in zip(items["measures"], items["diagnosis"], strict=True)
    ]
    path = tmp_path_factory.mktemp("clinic") / "patients.csv"
    path.write_text("\n".join(",".join(cells) for cells in [names, *rows]))
    return path


def made(client: Client, accepted: dict[str, Any]) -> dict[str, Any]:
    *_, last = client.watch(accepted["id"])
    return dict(last)


def test_a_member_learns_from_a_table_of_ones_own(house: House, client: Client, table: Path) -> None:
    task = made(client, dict(client.bring_dataset("clinic", table, like="breast-cancer")))
    assert task["state"] == "succeeded", task
    shown = client.dataset("clinic")
    assert shown["digest"] == task["result"]["dataset_digest"]
    assert sum(shown["facts"]["sizes"].values()) == 569
    assert shown["facts"]["like"] == "breast-cancer"
    assert len(shown["facts"]["profile"]["columns"]) == 30
    accepted = client.train("breast-cancer-mlp", {"seed": 3, "epochs": 30}, auto_promote=False, dataset="clinic")
    number, evaluation = evaluated(house, "breast-cancer-mlp", accepted["id"])
    version = client.version("breast-cancer-mlp", number)
    assert (version["dataset"], version["dataset_digest"]) == ("clinic", shown["digest"])
    assert evaluation["metrics"]["roc_auc"] > 0.9
    assert np.isfinite(evaluation["metrics"]["log_loss"])
    assert evaluation["baseline_metrics"]["roc_auc"] > 0.9


def test_the_same_table_is_the_same_data_set_as_the_librarys(client: Client, table: Path) -> None:
    """Rows, types and the rule by which they are divided are those of the data set that it is like."""
    made(client, dict(client.bring_dataset("clinic", table, like="breast-cancer")))
    parts = library.data_set("breast-cancer").parts()
    own = client.dataset("clinic")["facts"]
    assert own["preview"][0]["measures"] == parts[Part.TRAIN]["measures"][0].tolist()
    assert own["sizes"] == {part: len(items["diagnosis"]) for part, items in parts.items()}


def test_a_table_that_does_not_fit_fails_in_words(client: Client, table: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(table.read_text().replace("mean radius", "radius"))
    task = made(client, dict(client.bring_dataset("wrong", wrong, like="breast-cancer")))
    assert task["state"] == "failed"
    assert "no column 'mean radius'; it has 'radius'" in task["error_message"]
    with pytest.raises(ApiError, match="no data set 'wrong'"):
        client.dataset("wrong")


@pytest.mark.parametrize(
    ("name", "like", "status", "words"),
    [
        ("clinic", "no-such", 404, "no data set 'no-such'; it has"),
        ("digits", "breast-cancer", 422, "'digits' is a data set of the library"),
        ("Cl!nic", "breast-cancer", 422, "name"),
    ],
)
def test_what_cannot_be_a_data_set_is_refused_at_once(
    client: Client, table: Path, name: str, like: str, status: int, words: str
) -> None:
    with pytest.raises(ApiError, match=words) as refused:
        client.bring_dataset(name, table, like=like)
    assert refused.value.status == status


def test_a_member_refuses_a_data_set_of_other_columns(client: Client, table: Path) -> None:
    made(client, dict(client.bring_dataset("clinic", table, like="breast-cancer")))
    with pytest.raises(
        ApiError, match=r"dataset: 'clinic' has not the columns .* bring it with \?like=digits"
    ) as refused:
        client.train("digits-cnn", dataset="clinic")
    assert refused.value.status == 422
    with pytest.raises(ApiError, match="no data set 'nowhere'") as unknown:
        client.train("digits-cnn", dataset="nowhere")
    assert unknown.value.status == 404
