"""Images as people have them, as numbers: decoded within limits, upright, resized, in the range of the data. Pure.

A data set that is brought and an input that is sent go this one way.
"""

import io
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import AimassError, TooLarge
from shared.tensors import DTYPES

PIXELS: Final = 25_000_000
FREE_PIXELS: Final = 4_000_000
BOMB: Final = f"the image has more than {PIXELS} pixels, the most that are decoded"
COLOURS: Final = 3
CHANNELS: Final = {1: "L", COLOURS: "RGB"}
Array = NDArray[Any]
Image.MAX_IMAGE_PIXELS = PIXELS


class BadImage(AimassError):
    """What should be an image is none."""

    code = "bad_image"
    status = 422


class NoImage(BadImage):
    """It is no image of any of the kinds that are taken."""


class Wanted(Protocol):
    """A column or an input for one item."""

    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def minimum(self) -> float | None: ...
    @property
    def maximum(self) -> float | None: ...


@dataclass(frozen=True)
class Layout:
    """How numbers hold an image: height and width (-1: as they come), channels, and on which axis these lie."""

    height: int
    width: int
    channels: int
    channel_axis: int | None


def layout_of(wanted: Wanted) -> Layout | None:
    """Channels before or after height and width, or no axis for them; None where it is no image. Where all three are
    free, any picture is taken: it gets the colours.
    """
    shape = wanted.shape
    if wanted.datatype not in DTYPES or wanted.datatype == "BOOL" or not 2 <= len(shape) <= 3:
        return None
    if len(shape) == 2:
        return Layout(shape[0], shape[1], 1, None)
    if shape == (-1, -1, -1):
        return Layout(-1, -1, COLOURS, 0)
    if shape[0] in CHANNELS:
        return Layout(shape[1], shape[2], shape[0], 0)
    return Layout(shape[0], shape[1], shape[2], 2) if shape[2] in CHANNELS else None


def numbers_of(body: bytes, kinds: tuple[str, ...], wanted: Wanted, layout: Layout) -> Array:
    """The image in the layout and the range that are wanted.

    Raises NoImage for what is none of these kinds, BadImage for a broken one, TooLarge for too many pixels.
    """
    return _scaled(_pixels(body, kinds, layout), wanted)


def _pixels(body: bytes, kinds: tuple[str, ...], layout: Layout) -> Array:
    """The pixels, 0 to 255, in the layout."""
    image = _decoded(body, kinds, layout)
    if layout.width == layout.height == -1:
        image.thumbnail(_most(image), Image.Resampling.BILINEAR)
    width = image.width if layout.width == -1 else layout.width
    height = image.height if layout.height == -1 else layout.height
    if width * height > FREE_PIXELS:
        raise TooLarge(f"the image would be {width} x {height} for the model, more than {FREE_PIXELS} pixels")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(image, np.uint8)
    if layout.channel_axis is None or layout.channels == 1:
        return array if layout.channel_axis is None else np.expand_dims(array, layout.channel_axis)
    return array if layout.channel_axis == 2 else array.transpose(2, 0, 1)


def _most(image: Image.Image) -> tuple[int, int]:
    """The sides of a photograph that has no more pixels than are sent to a model."""
    factor = min(1.0, (FREE_PIXELS / (image.width * image.height)) ** 0.5)
    return max(1, int(image.width * factor)), max(1, int(image.height * factor))


def _decoded(body: bytes, kinds: tuple[str, ...], layout: Layout) -> Image.Image:
    """Upright and in the colours that are wanted; the size is looked at before anything is decoded."""
    try:
        with Image.open(io.BytesIO(body), formats=kinds) as image:
            if image.width * image.height > PIXELS:
                raise TooLarge(BOMB)
            if layout.width > 0 and layout.height > 0:
                image.draft(None, (2 * layout.width, 2 * layout.height))
            return _coloured(ImageOps.exif_transpose(image), CHANNELS[layout.channels])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLarge(BOMB) from None
    except UnidentifiedImageError:
        raise NoImage() from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(f"broken or cut short: {str(error)[:100]}") from None


def _coloured(image: Image.Image, mode: str) -> Image.Image:
    """Sixteen bits a pixel become eight; what is transparent lies on white paper."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert(mode)


def _scaled(pixels: Array, wanted: Wanted) -> Array:
    """From black to white becomes from the least to the greatest of the data set, 0 to 255 where that is not known."""
    if wanted.minimum is None or wanted.maximum is None:
        return pixels.astype(DTYPES[wanted.datatype])
    scaled = wanted.minimum + pixels.astype(np.float32) * ((wanted.maximum - wanted.minimum) / 255)
    dtype = DTYPES[wanted.datatype]
    return (scaled.round() if dtype.kind in "iu" else scaled).astype(dtype)
