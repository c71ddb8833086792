"""The example of each member answers a person's question by the model that serves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from aimass import Client
from PIL import Image

import library
from examples.champion import serving
from examples.gallery import (
    asr_tiny,
    breast_cancer_mlp,
    collision_risk,
    coupon_redemption,
    credit_score,
    ctr,
    diabetes_mlp,
    digits_cnn,
    direction,
    driving_clips,
    driving_policy,
    fashion_resnet,
    fraud,
    image_features,
    language_id,
    ner,
    next_basket,
    product_search,
    recommender,
    sentence_embedder,
    sentiment,
    spam_filter,
    summarizer,
    thyroid,
    topic_classifier,
    tts_distilled,
    tts_voice,
    visual_search,
    volatility,
)
from library.data.silver_names import NAMED
from library.evaluation.words import mistakes, words
from library.graphs.export import export
from shared.sound import SPEAKING_RATE
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


@pytest.fixture
def bring(client: Client, tmp_path: Path) -> Callable[..., None]:
    """Have a member's untrained graph answer, so that nobody waits for a training."""

    def bring(name: str, **config: Any) -> None:
        model = library.model(name)
        export(model, model.build(model.validate(config)), tmp_path / "model.onnx")
        file = tmp_path / "model.onnx"
        made = client.upload(name, file, task_type=model.task_type, labels=model.labels)
        client.promote(name, made["version"], force="for an example")
        until(lambda: serving(client, name) == made["version"], 120, f"{name} to be served")

    return bring


@pytest.mark.parametrize("example", [language_id, sentiment, topic_classifier])
def test_texts(client: Client, bring: Callable[[str], None], example: Any) -> None:
    name = example.__name__.rpartition(".")[2].replace("_", "-")
    bring(name)
    answers = example.ask(client, list(example.TEXTS))
    assert len(answers) == len(example.TEXTS)
    assert all(label in library.model(name).labels and 0 < chance <= 1 for label, chance in answers)


def test_what_is_read_aloud_is_written_down(client: Client, bring: Callable[[str], None], tmp_path: Path) -> None:
    for name in ("asr-tiny", "tts-voice"):
        library.model(name).fetch(print)
        bring(name)
    spoken = tts_voice.ask(client, tts_voice.TEXT, tmp_path / "spoken.wav")
    heard = words(asr_tiny.ask(client, spoken))
    assert mistakes(words(tts_voice.TEXT), heard) <= 3  # "free in equal indignity" is heard: no noise is drawn


def test_a_small_voice_needs_no_other_request(client: Client, bring: Callable[..., None], tmp_path: Path) -> None:
    """Untrained, it makes sounds as long as its letters are many."""
    bring("tts-distilled")
    short, long = (
        soundfile.info(tts_distilled.ask(client, text, tmp_path / f"{len(text)}.wav"))
        for text in ("Hello.", tts_distilled.TEXT)
    )
    assert short.samplerate == long.samplerate == SPEAKING_RATE
    assert 0.1 < short.duration < long.duration < 30


def test_meanings(client: Client, bring: Callable[..., None]) -> None:
    bring("sentence-embedder")
    found = sentence_embedder.ask(client, list(sentence_embedder.TEXTS))
    assert found[0][0] == "Refunds are paid within ten days."
    assert found[0][1] > 0.3 > found[1][1]


def test_products(client: Client, bring: Callable[..., None]) -> None:
    bring("product-search")
    (found,) = product_search.ask(client, ["food for my dog"])
    assert len(found) == 10
    assert "dog" in found[0][0]
    assert found[0][1] >= found[-1][1]


def test_names(client: Client, bring: Callable[[str], None]) -> None:
    bring("ner")
    text = ner.TEXTS[1]
    (found,) = ner.ask(client, [text])
    assert found, "what was not trained finds something anywhere"
    assert all(name in text and kind in NAMED for name, kind in found)


def test_a_summary(client: Client, bring: Callable[[str], None]) -> None:
    bring("summarizer")
    summary, sentences = summarizer.ask(client, summarizer.TEXT)
    assert sum(sentence in summary for sentence, _ in sentences) == 3
    assert 3 < len(sentences) < 10
    assert sum(share for _, share in sentences) == pytest.approx(1, abs=1e-3)


def test_films(client: Client, bring: Callable[[str], None]) -> None:
    bring("recommender")
    found = recommender.ask(client, list(recommender.SPACE))
    assert len(set(found)) == 5
    assert not set(found) & set(recommender.SPACE)


def test_a_basket(client: Client, bring: Callable[[str], None]) -> None:
    bring("next-basket")
    found = next_basket.ask(client, list(next_basket.USUAL))
    assert len(set(found)) == 5
    assert all(1 <= kind <= 1000 for kind in found)


def test_markets(client: Client, bring: Callable[[str], None], tmp_path: Path) -> None:
    rows = [f"{100 + day},{102 + day},{99 + day},{101 + day}" for day in range(70)]
    (tmp_path / "bars.csv").write_text("\n".join(["open,high,low,close", *rows]))
    bring("volatility")
    assert volatility.ask(client, None) > 0
    assert volatility.ask(client, tmp_path / "bars.csv") > 0
    bring("direction")
    label, chance = direction.ask(client, tmp_path / "bars.csv")
    assert label in ("down", "up")
    assert 0.5 <= chance <= 1


def test_a_click(client: Client, bring: Callable[[str], None]) -> None:
    bring("ctr")
    ((label, chance),) = ctr.ask(client, None)
    assert label == "clicked"
    assert 0 < chance < 1


def test_clothes(client: Client, bring: Callable[[str], None]) -> None:
    bring("fashion-resnet")
    label, chance = fashion_resnet.ask(client, None)
    assert label in library.model("fashion-resnet").labels
    assert 0 < chance <= 1


def test_a_drive(client: Client, bring: Callable[[str], None]) -> None:
    bring("collision-risk")
    chances = collision_risk.ask(client, list(collision_risk.GAPS))
    assert len(set(chances)) == len(collision_risk.GAPS)
    assert all(0 < chance < 1 for chance in chances)
    bring("driving-policy")
    found = driving_policy.ask(client, list(driving_policy.SCENES.values()))
    assert {manoeuvre for manoeuvre, _ in found} <= set(library.model("driving-policy").labels)
    bring("driving-clips")
    lane, chance = driving_clips.ask(client)
    assert lane in ("left", "keep", "right")
    assert 0 < chance <= 1


def test_photographs(client: Client, bring: Callable[[str], None], tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000), "orange").save(tmp_path / "large.jpg")
    Image.new("L", (50, 40), 40).save(tmp_path / "small.png")
    bring("image-features")
    large, small = tmp_path / "large.jpg", tmp_path / "small.png"
    assert image_features.ask(client, [large, large]) == pytest.approx(1, abs=1e-3)
    assert -1 < image_features.ask(client, [large, small]) < 0.9
    assert image_features.ask(client, []) < 0.99


def test_what_looks_alike(client: Client, bring: Callable[[str], None]) -> None:
    bring("visual-search")
    found = visual_search.ask(client, None)
    assert sorted(number for number, _, _ in found) == list(range(10))
    assert {kind for _, kind, _ in found} == {"t-shirt"}, "an index that was not filled holds the first kind alone"


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
