"""People bring a table of their own, see how it looks, and train a member of the library on it."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aimass import Client
from aimass.errors import ApiError
from PIL import Image

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


def test_a_member_learns_from_folders_of_pictures(house: House, client: Client, tmp_path: Path) -> None:
    """The digits as people keep pictures: files of any size, in folders by what they show, in a zip."""
    items = library.data_set("digits").load()
    with zipfile.ZipFile(tmp_path / "numerals.zip", "w") as archive:
        for number, (image, digit) in enumerate(zip(items["image"][:600], items["digit"][:600], strict=True)):
            picture = Image.fromarray((image[0] * (255 / 16)).astype("u1")).resize((24, 32), Image.Resampling.NEAREST)
            with archive.open(f"numerals/{digit}/{number}.png", "w") as file:
                picture.save(file, "PNG")
    task = made(client, dict(client.bring_dataset("numerals", tmp_path / "numerals.zip", like="digits")))
    assert task["state"] == "succeeded", task
    facts = client.dataset("numerals")["facts"]
    assert (sum(facts["sizes"].values()), facts["like"]) == (600, "digits")
    accepted = client.train("digits-cnn", {"seed": 3, "epochs": 4}, auto_promote=False, dataset="numerals")
    _, evaluation = evaluated(house, "digits-cnn", accepted["id"])
    assert evaluation["metrics"]["accuracy"] > 0.6


def test_folders_with_something_else_in_them_fail_in_words(client: Client, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wrong.zip", "w") as archive:
        archive.writestr("7/seven.png", "seven")
    task = made(client, dict(client.bring_dataset("wrong-pictures", tmp_path / "wrong.zip", like="digits")))
    assert task["state"] == "failed"
    assert "'7/seven.png' is no PNG or JPEG or WEBP image" in task["error_message"]


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
