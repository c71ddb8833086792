"""How words sound, asked of the process that knows: it answers in order, and comes again after it was killed."""

import asyncio
import signal
import subprocess
import sys

import pytest

from shared.errors import Unavailable
from shared.phonemes import Phonemes, all_at_once
from tests.unit.task_process import ROOT

TEXT = 'Hello world, this is Dr. Smith. How are you? He said "no." Then'
SOUNDS = ["həlˈoʊ wˈɜːld, ðɪs ɪz dˈɑːktɚ smˈɪθ.", "hˈaʊ ɑːɹ juː?", "hiː sˈɛd nˈoʊ.", "ðˈɛn"]


def test_a_text_becomes_its_sentences_with_their_marks() -> None:
    assert all_at_once([TEXT, "", "...", "a\nb"]) == [SOUNDS, [], [], ["ɐ bˈiː"]]


def test_its_own_voice_gives_samples() -> None:
    (samples,) = all_at_once(["Hello."], "--speak")
    assert 5_000 < len(samples) < 50_000
    assert max(samples) > 1_000


async def test_one_process_answers_all_in_order_and_is_started_anew() -> None:
    phonemes = Phonemes(seconds=60)
    assert await asyncio.gather(*(phonemes.sentences(TEXT) for _ in range(5))) == [SOUNDS] * 5
    process = phonemes._process
    assert process is not None
    process.send_signal(signal.SIGKILL)
    await process.wait()
    with pytest.raises(Unavailable):
        await phonemes.sentences(TEXT)
    assert await phonemes.sentences(TEXT) == SOUNDS
    await phonemes.close()


async def test_who_takes_too_long_is_ended() -> None:
    phonemes = Phonemes(seconds=60)
    await phonemes.sentences(TEXT)
    process, phonemes._seconds = phonemes._process, 0.5
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(Unavailable):
        await phonemes.sentences(TEXT)
    assert await process.wait() == -signal.SIGKILL


def test_no_other_process_loads_the_library() -> None:
    code = "import shared.phonemes, services.gateway.routes.audio; print(open('/proc/self/maps').read())"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "espeak" not in found.stdout
