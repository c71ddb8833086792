"""An image as people have it, as the input that a model takes. Pure."""

from typing import Final

import numpy as np

from services.gateway.predict.facts import Facts, Input
from shared.errors import InvalidInput
from shared.images import BadImage, Layout, NoImage, layout_of, numbers_of
from shared.tensors import Tensor, from_numpy

IMAGES: Final = {"image/png": "PNG", "image/jpeg": "JPEG"}
BYTES: Final = 8 * 1024 * 1024


def tensors(body: bytes, kind: str, facts: Facts) -> tuple[Tensor, ...]:
    """The only input of a model as an image.

    Raises InvalidInput for what is no such image and for a model that takes none, TooLarge for too many pixels.
    """
    wanted, layout = image_input(facts)
    try:
        array = numbers_of(body, (IMAGES[kind],), wanted, layout)
    except NoImage:
        raise InvalidInput(f"the body is no {IMAGES[kind]} image, as its Content-Type says", field="body") from None
    except BadImage as bad:
        raise InvalidInput(f"the {IMAGES[kind]} image is {bad.message}", field="body") from None
    return (from_numpy(wanted.name, array[np.newaxis] if facts.is_batched else array, wanted.datatype),)


def image_input(facts: Facts) -> tuple[Input, Layout]:
    """The only input, where it has the shape of an image."""
    layout = layout_of(facts.inputs[0]) if len(facts.inputs) == 1 else None
    if layout is None:
        takes = ", ".join(f'"{wanted.name}" ({wanted.datatype} {list(wanted.shape)})' for wanted in facts.inputs)
        message = f"model '{facts.model}' takes no image alone, but {takes}: send application/json"
        raise InvalidInput(message, field="Content-Type")
    return facts.inputs[0], layout
