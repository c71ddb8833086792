"""Images as people have them, as the input that a model takes: decoded within limits, resized, in its range. Pure."""

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from services.gateway.predict.facts import Facts, Input
from shared.errors import InvalidInput, TooLarge
from shared.tensors import DTYPES, Tensor, from_numpy

IMAGES: Final = {"image/png": "PNG", "image/jpeg": "JPEG"}
BYTES: Final = 8 * 1024 * 1024
PIXELS: Final = 25_000_000
FREE_PIXELS: Final = 4_000_000
BOMB: Final = f"the image has more than {PIXELS} pixels, the most that are decoded"
CHANNELS: Final = {1: "L", 3: "RGB"}
Array = NDArray[Any]
Image.MAX_IMAGE_PIXELS = PIXELS


@dataclass(frozen=True)
class Layout:
    """How an input holds an image: height and width (-1: as they come), channels, and on which axis these lie."""

    height: int
    width: int
    channels: int
    channel_axis: int | None


def tensors(body: bytes, kind: str, facts: Facts) -> tuple[Tensor, ...]:
    """The only input of a model as an image.

    Raises InvalidInput for what is no such image and for a model that takes none, TooLarge for too many pixels.
    """
    wanted, layout = image_input(facts)
    array = _scaled(_pixels(body, IMAGES[kind], layout), wanted)
    return (from_numpy(wanted.name, array[np.newaxis] if facts.is_batched else array, wanted.datatype),)


def image_input(facts: Facts) -> tuple[Input, Layout]:
    """The only input, where it has the shape of an image."""
    layout = layout_of(facts.inputs[0]) if len(facts.inputs) == 1 else None
    if layout is None:
        takes = ", ".join(f'"{wanted.name}" ({wanted.datatype} {list(wanted.shape)})' for wanted in facts.inputs)
        message = f"model '{facts.model}' takes no image alone, but {takes}: send application/json"
        raise InvalidInput(message, field="Content-Type")
    return facts.inputs[0], layout


def layout_of(wanted: Input) -> Layout | None:
    """Channels before or after height and width, or no axis for them; None where it is no image."""
    shape = wanted.shape
    if wanted.datatype not in DTYPES or wanted.datatype == "BOOL" or not 2 <= len(shape) <= 3:
        return None
    if len(shape) == 2:
        return Layout(shape[0], shape[1], 1, None)
    if shape[0] in CHANNELS:
        return Layout(shape[1], shape[2], shape[0], 0)
    return Layout(shape[0], shape[1], shape[2], 2) if shape[2] in CHANNELS else None


def _pixels(body: bytes, kind: str, layout: Layout) -> Array:
    """The pixels, 0 to 255, in the layout."""
    image = _decoded(body, kind, layout)
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


def _decoded(body: bytes, kind: str, layout: Layout) -> Image.Image:
    """Upright and in the colours that are wanted; the size is looked at before anything is decoded."""
    try:
        with Image.open(io.BytesIO(body), formats=[kind]) as image:
            if image.width * image.height > PIXELS:
                raise TooLarge(BOMB)
            if layout.width > 0 and layout.height > 0:
                image.draft(None, (2 * layout.width, 2 * layout.height))
            return _coloured(ImageOps.exif_transpose(image), CHANNELS[layout.channels])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLarge(BOMB) from None
    except UnidentifiedImageError:
        raise InvalidInput(f"the body is no {kind} image, as its Content-Type says", field="body") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidInput(f"the {kind} image is broken or cut short: {str(error)[:100]}", field="body") from None


def _coloured(image: Image.Image, mode: str) -> Image.Image:
    """Sixteen bits a pixel become eight; what is transparent lies on white paper."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert(mode)


def _scaled(pixels: Array, wanted: Input) -> Array:
    """From black to white becomes from the least to the greatest of the data set, 0 to 255 where that is not known."""
    if wanted.minimum is None or wanted.maximum is None:
        return pixels.astype(DTYPES[wanted.datatype])
    scaled = wanted.minimum + pixels.astype(np.float32) * ((wanted.maximum - wanted.minimum) / 255)
    dtype = DTYPES[wanted.datatype]
    return (scaled.round() if dtype.kind in "iu" else scaled).astype(dtype)
