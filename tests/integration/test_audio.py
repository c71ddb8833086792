"""Sound in and out as clients of OpenAI's API send and hear it, through the gateway, inference and Triton."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import openai
import pytest
import pytest_asyncio
import soundfile
from onnx import helper

from deploy.embedded.testing_servers import PostgresServer, TritonServer, triton_server
from services.gateway.audio.decoding import BYTES
from shared.sound import HEARING_RATE, SPEAKING_RATE
from tests.conftest import fresh_database
from tests.integration.onnx_models import Served, served, spec
from tests.integration.served_gateway import ServedGateway, served_gateway
from tests.integration.test_predict import do

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ear() -> Served:
    """Says whether the loudest sample is above a half."""
    return served(
        [
            helper.make_node("ReduceMax", ["audio"], ["loudest"], axes=[1], keepdims=0),
            helper.make_node("Greater", ["loudest", "half"], ["is_loud"]),
            helper.make_node("Where", ["is_loud", "loud", "soft"], ["text"]),
        ],
        [spec("audio", "FP32", -1, -1)],
        [spec("text", "BYTES", -1)],
        half=np.array(0.5, np.float32),
        loud=np.array(["loud"], object),
        soft=np.array(["soft"], object),
    )


def mouth() -> Served:
    """Half a second as loud as a tenth of the speed."""
    return served(
        [
            helper.make_node("Shape", ["phonemes"], ["batch"]),
            helper.make_node("Concat", ["batch", "samples"], ["shape"], axis=0),
            helper.make_node("Unsqueeze", ["speed", "axis"], ["column"]),
            helper.make_node("Mul", ["column", "tenth"], ["level"]),
            helper.make_node("Expand", ["level", "shape"], ["audio"]),
        ],
        [spec("phonemes", "BYTES", -1), spec("speed", "FP32", -1)],
        [spec("audio", "FP32", -1, -1)],
        samples=np.array([SPEAKING_RATE // 2], np.int64),
        axis=np.array([1], np.int64),
        tenth=np.array(0.1, np.float32),
    )


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(tmp_path_factory.mktemp("triton")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    postgres: PostgresServer,
    passwords: dict[str, str],
    triton: TritonServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ServedGateway]:
    with fresh_database(postgres, passwords) as urls:
        async with served_gateway(urls, tmp_path_factory.mktemp("served"), triton, infer_bytes="4000000") as started:
            for name, model in (("ear", ear()), ("mouth", mouth())):
                await started.train(name, model, [], task_type="transcription" if name == "ear" else "speech")
            for name in ("ear", "mouth"):
                await started.promote(name)
            yield started


@pytest.fixture(scope="module")
def client(house: ServedGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0) as client:
        yield client


def tone(seconds: float, level: float, rate: int = HEARING_RATE, channels: int = 1) -> Any:
    times = np.arange(int(seconds * rate)) / rate
    return np.repeat((level * np.sin(2 * np.pi * 330 * times)).astype("f4")[:, None], channels, axis=1)


def file_of(samples: Any, rate: int = HEARING_RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype", "rate"),
    [
        ("WAV", "PCM_16", 44_100),
        ("FLAC", None, 22_050),
        ("OGG", "VORBIS", 48_000),
        ("OGG", "OPUS", 48_000),
        ("MP3", None, 16_000),
    ],
)
async def test_files_of_any_kind_are_written_down(
    client: openai.OpenAI, form: str, subtype: str | None, rate: int
) -> None:
    for level, word in ((0.9, "loud"), (0.1, "soft")):
        content = file_of(tone(1, level, rate, channels=2), rate, form, subtype)
        found = await do(client.audio.transcriptions.create, model="ear", file=(f"a.{form.lower()}", content))
        assert found.text == word


async def test_long_sound_is_divided_and_joined(client: openai.OpenAI) -> None:
    content = file_of(np.concatenate([tone(40, 0.8), np.zeros((16_000, 1), "f4"), tone(20, 0.2)]))
    ask = {"model": "ear", "file": ("long.wav", content)}
    found = await do(client.audio.transcriptions.create, **ask, response_format="verbose_json", language="en")
    assert (found.duration, found.language, found.text) == (61.0, "en", "loud loud soft")
    assert [each.end for each in found.segments[:-1]] == [each.start for each in found.segments[1:]]
    assert found.segments[1].end == pytest.approx(40.5, abs=0.6)
    plain = await do(client.audio.transcriptions.create, **ask, response_format="text")
    assert plain == "loud loud soft"


async def test_silence_says_nothing(client: openai.OpenAI) -> None:
    content = file_of(np.zeros((16_000, 1), "f4"))
    assert (await do(client.audio.transcriptions.create, model="ear", file=("a.wav", content))).text == ""


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"file": ("a.wav", b"no sound")}, "file", "WAV, FLAC, OGG or MP3"),
        ({"file": ("a.wav", file_of(tone(0.001, 1)))}, "file", "no sound in it"),
        ({"file": ("a.aiff", file_of(tone(1, 1), form="AIFF"))}, "file", "AIFF"),
        ({"model": "mouth"}, "model", "makes no transcriptions"),
        ({"response_format": "vtt"}, "response_format", "verbose_json"),
        ({"stream": True}, "stream", "comes whole"),
    ],
)
async def test_a_transcription_is_refused_by_the_name_of_the_field(
    client: openai.OpenAI, given: dict[str, Any], field: str, words: str
) -> None:
    asked = {"model": "ear", "file": ("a.wav", file_of(tone(1, 1)))} | given
    with pytest.raises(openai.BadRequestError) as refused:
        await do(client.audio.transcriptions.create, **asked)
    assert refused.value.param == field and words in refused.value.message


async def test_too_much_sound_is_refused(client: openai.OpenAI) -> None:
    for content in (bytes(BYTES + 100_000), file_of(np.zeros((601 * 8000, 1), "f4"), 8000, "FLAC")):
        with pytest.raises(openai.APIStatusError) as refused:
            await do(client.audio.transcriptions.create, model="ear", file=("a.wav", content))
        assert refused.value.status_code == 413


async def test_what_is_no_form_is_refused(house: ServedGateway) -> None:
    path = "/v1/audio/transcriptions"
    for content, kind in ((b"{}", "application/json"), (b"--x\r\nbroken", "multipart/form-data; boundary=x")):
        reply = await house.http.post(path, content=content, headers={"Content-Type": kind})
        assert reply.status_code == 400 and reply.json()["error"]["message"]


async def test_a_text_is_read_aloud_in_any_form(client: openai.OpenAI) -> None:
    for form in ("mp3", "opus", "flac", "wav"):
        ask = {"model": "mouth", "voice": "alloy", "input": "Hello! How are you?", "response_format": form}
        found = await do(client.audio.speech.create, **ask)
        samples, rate = soundfile.read(io.BytesIO(found.content))
        assert len(samples) / rate == pytest.approx(1, abs=0.12), form
        assert np.median(np.abs(samples)) == pytest.approx(0.1, abs=0.1)
    bare = await do(
        client.audio.speech.create, model="mouth", voice="x", input="Hello.", response_format="pcm", speed=2
    )
    samples = np.frombuffer(bare.content, "<i2")
    assert len(samples) == pytest.approx(12_000, abs=10)
    assert np.median(samples) / 32767 == pytest.approx(0.2, abs=0.01)


async def test_speech_comes_sentence_by_sentence(client: openai.OpenAI) -> None:
    def listen() -> list[int]:
        ask = {"model": "mouth", "voice": "x", "input": "One. Two. Three.", "response_format": "wav"}
        with client.audio.speech.with_streaming_response.create(**ask) as answer:
            assert answer.headers["content-type"] == "audio/wav"
            return [len(part) for part in answer.iter_bytes()]

    parts = await do(listen)
    assert sum(parts) == 44 + 3 * 2 * (SPEAKING_RATE // 2)
    assert len(parts) > 1


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"input": ""}, "input", "1"),
        ({"input": "..."}, "input", "nothing in it"),
        ({"input": "x" * 4097}, "input", "4096"),
        ({"model": "ear"}, "model", "does not speak"),
        ({"response_format": "aac"}, "response_format", "mp3"),
        ({"speed": 9}, "speed", "4"),
    ],
)
async def test_speech_is_refused_by_the_name_of_the_field(
    client: openai.OpenAI, given: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await do(client.audio.speech.create, **({"model": "mouth", "voice": "x", "input": "Hello."} | given))
    assert refused.value.param == field and words in refused.value.message


async def test_many_speak_and_are_heard_at_once(house: ServedGateway) -> None:
    body = {"model": "mouth", "input": "Hello. Again.", "response_format": "flac"}
    spoken = await asyncio.gather(*(house.http.post("/v1/audio/speech", json=body) for _ in range(8)))
    assert len({reply.content for reply in spoken}) == 1
    form = {"files": {"file": spoken[0].content}, "data": {"model": "ear"}}
    heard = await asyncio.gather(*(house.http.post("/v1/audio/transcriptions", **form) for _ in range(8)))
    assert [reply.json()["text"] for reply in heard] == ["soft"] * 8
