"""The examples of members that have to be trained before their answers say anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aimass import Client

from examples.champion import serving
from examples.gallery import (
    breast_cancer_mlp,
    coupon_redemption,
    credit_score,
    diabetes_mlp,
    digits_cnn,
    fraud,
    spam_filter,
    thyroid,
)
from tests.house import House, until

pytestmark = pytest.mark.library
LETTER = b"""From: anna@example.org
Subject: =?utf-8?q?Lunch_on_Thursday=3F?=
Content-Type: text/plain; charset=utf-8

Shall we meet at the station at noon?
"""


@pytest.fixture(scope="module")
def client(house: House) -> Client:
    return Client(str(house.http.base_url), house.key)


@pytest.fixture
def serve(house: House, client: Client) -> Callable[..., None]:
    """See to it that some version of a member answers, however little it was trained."""

    def newest(model: str) -> int:
        """0 until registry has heard of the first training's end."""
        answer = house.http.get(f"/api/v1/models/{model}/versions")
        return int(answer.json()["versions"][0]["version"]) if answer.status_code == 200 else 0

    def serve(model: str, **config: Any) -> None:
        if serving(client, model) is not None:
            return
        task = client.train(model, config, auto_promote=False)
        assert house.wait_task(task["id"])["state"] == "succeeded"
        version = until(lambda: newest(model), 60, "a version")
        client.promote(model, version, force="for an example")
        until(lambda: serving(client, model) == version, 120, f"{model} to be served")

    return serve


def test_a_credit_has_reasons_that_add_up_by_column(client: Client, serve: Callable[..., None]) -> None:
    serve("credit-score", epochs=1)
    chance, reasons = credit_score.ask(client, {"Age": 30, "Income": 100})
    assert 0 < chance < 1
    assert {name for name, _ in reasons} == set(client.member("credit-score")["features"][0]["columns"])
    assert abs(reasons[0][1]) >= abs(reasons[-1][1])


def test_a_letter_with_coupons_has_reasons(client: Client, serve: Callable[..., None]) -> None:
    serve("coupon-redemption", epochs=1)
    often, reasons = coupon_redemption.ask(client, {"answered": 0.8, "redeemed": 3, "since_redeemed": 7})
    seldom, _ = coupon_redemption.ask(client, {"answered": 0, "redeemed": 0})
    assert 0 < seldom < often < 1
    assert {name for name, _ in reasons} == set(client.member("coupon-redemption")["features"][0]["columns"])


@pytest.mark.parametrize("example", [fraud, thyroid])
def test_rows_of_a_file(client: Client, serve: Callable[..., None], tmp_path: Path, example: Any) -> None:
    name = example.__name__.rpartition(".")[2]
    serve(name, epochs=1)
    (own,) = example.ask(client, None)
    member = client.member(name)
    cells = [str(value) if isinstance(value, float) else "" for value in member["example"]["inputs"][0]["data"]]
    (tmp_path / "rows.csv").write_text("\n".join([",".join(member["features"][0]["columns"]), *[",".join(cells)] * 2]))
    assert example.ask(client, tmp_path / "rows.csv") == [own, own]


def test_a_mail(client: Client, serve: Callable[..., None], tmp_path: Path) -> None:
    serve("spam-filter", epochs=1)
    (tmp_path / "lunch.eml").write_bytes(LETTER)
    text = spam_filter.text_of(tmp_path / "lunch.eml")
    assert text.startswith("Lunch on Thursday?\nShall we meet")
    ham, spam = spam_filter.ask(client, list(spam_filter.LETTERS))
    assert 0 <= ham < spam <= 1
    assert spam_filter.ask(client, [text])[0] < spam


def test_a_drawing(client: Client, champion: int) -> None:
    digit, chance = digits_cnn.ask(client, digits_cnn.SEVEN)
    assert digit == "7"
    assert 0.1 < chance <= 1


def test_a_patient(client: Client, serve: Callable[..., None]) -> None:
    serve("diabetes-mlp", seed=1)
    assert 25 < diabetes_mlp.ask(client, {"bmi": 20}) < diabetes_mlp.ask(client, {"bmi": 40}) < 346


def test_samples_of_a_file(client: Client, serve: Callable[..., None], tmp_path: Path) -> None:
    serve("breast-cancer-mlp", seed=1)
    (example,) = breast_cancer_mlp.ask(client, None)
    member = client.member("breast-cancer-mlp")
    columns, values = member["features"][0]["columns"], member["example"]["inputs"][0]["data"]
    rows = [",".join(reversed(columns)), *[",".join(map(str, reversed(values)))] * 2]
    (tmp_path / "samples.csv").write_text("\n".join(rows))
    assert breast_cancer_mlp.ask(client, tmp_path / "samples.csv") == [example, example]
