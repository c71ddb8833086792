"""Speech becomes frames and frames become speech: what is heard of a voice stays."""

import numpy as np
import torch

from library.networks.speaker import PAUSE, Speaker
from library.networks.speech_frames import BANDS, CLEARNESS, HOP, LOWEST_HERTZ, PITCH, PITCH_STEPS, WIDTH, frames_of
from library.networks.vocoder import Vocoder
from shared.sound import SPEAKING_RATE


def vowel(hertz: float, seconds: float = 1.0) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Periods of a voice whose overtones fall off as those of a vowel."""
    times = np.arange(int(seconds * SPEAKING_RATE) // HOP * HOP) / SPEAKING_RATE
    overtones = np.arange(1, int(5000 / hertz))
    return np.asarray(0.2 * (np.cos(2 * np.pi * hertz * times[:, None] * overtones) / overtones).sum(axis=1))


def test_pitch_and_clearness_are_those_of_the_voice() -> None:
    for hertz in (80.0, 100.0, 150.0):
        frames = frames_of(vowel(hertz))[4:-4]
        np.testing.assert_allclose(LOWEST_HERTZ * 2 ** (frames[:, PITCH] / PITCH_STEPS), hertz, rtol=0.01)
        assert frames[:, CLEARNESS].min() > 240
    noise = np.random.RandomState(0).standard_normal(SPEAKING_RATE // HOP * HOP)
    assert np.median(frames_of(0.1 * noise)[:, CLEARNESS]) < 128


def test_what_the_vocoder_says_has_the_same_frames() -> None:
    before = frames_of(vowel(110.0))
    assert before.shape == (len(vowel(110.0)) // HOP, WIDTH)
    spoken = torch.ones(1, 1, len(before))
    samples = Vocoder()(torch.from_numpy(before.T[None].astype("f4")), spoken)[0].numpy()
    after = frames_of(samples)
    loud = before[8:-8, :BANDS] > before[:, :BANDS].max() - 60
    wrong = np.abs(after[8:-8].astype(int) - before[8:-8].astype(int))
    assert wrong[:, :BANDS][loud].mean() < 6  # 20 levels are a factor of e
    assert np.median(wrong[:, PITCH]) <= 2


def test_where_nothing_is_spoken_there_is_silence() -> None:
    frames = torch.full((2, WIDTH, 40), 150.0)
    spoken = torch.ones(2, 1, 40)
    spoken[1, :, 20:] = 0
    samples = Vocoder()(frames, spoken)
    assert samples.shape == (2, 40 * HOP)
    assert samples.abs().amax() <= 1
    assert samples[0, 30 * HOP :].abs().amax() > 1e-3
    assert samples[1, 22 * HOP :].abs().amax() == 0


@torch.no_grad()
def test_a_text_sounds_the_same_beside_a_longer_one_and_slower_at_half_the_speed() -> None:
    torch.manual_seed(0)
    speaker = Speaker(channels=32, dropout=0.1, layers=3).eval()
    numbers = torch.randint(1, 100, (2, 16))
    both = speaker(numbers, torch.tensor([16, 11]), torch.ones(2))
    alone = speaker(numbers[1:, :11], torch.tensor([11]), torch.ones(1))
    torch.testing.assert_close(both[1:, : alone.shape[1]], alone, atol=1e-5, rtol=0)
    assert both[1, alone.shape[1] :].abs().sum() == 0
    slow = speaker(numbers[1:, :11], torch.tensor([11]), torch.full((1,), 2.0))
    assert abs(slow.shape[1] - 2 * alone.shape[1] + PAUSE * HOP) <= 4 * HOP
