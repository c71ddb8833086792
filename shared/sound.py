"""How sound is held in tensors: FP32 samples from -1 to 1 of one channel, at these rates."""

from typing import Final

HEARING_RATE: Final = 16_000
"""Samples a second that models take which hear."""
SPEAKING_RATE: Final = 22_050
"""Samples a second that models give which speak."""
