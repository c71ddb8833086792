"""The example of each member answers a person's question by the model that serves, untrained where that will do."""

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
    collision_risk,
    ctr,
    direction,
    driving_clips,
    driving_policy,
    fashion_resnet,
    image_features,
    language_id,
    ner,
    next_basket,
    product_search,
    recommender,
    sentence_embedder,
    sentiment,
    summarizer,
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


@pytest.fixture(scope="module")
def client(house: House) -> Client:
    return Client(str(house.http.base_url), house.key)


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
