"""Images as a model's input: every layout, the range of its data, and nothing decoded beyond the limits."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.gateway.predict.facts import Facts, facts_of
from services.gateway.predict.images import IMAGES, tensors
from shared import images
from shared.errors import AimassError, InvalidInput, TooLarge
from shared.events.common import Signature, TensorSpec
from shared.rpc.registry import VersionView
from shared.tensors import to_numpy

SIDES = st.integers(4, 12)


def takes(*shape: int, datatype: str = "FP32", **feature: Any) -> Facts:
    signature = Signature(inputs=(TensorSpec(name="image", datatype=datatype, shape=shape),))
    view = VersionView(model="m", version=1, digest="d", signature=signature)
    return facts_of(view, {"schema": {"features": [{"name": "image", **feature}]}})


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image.save(body := io.BytesIO(), kind, **options)
    return body.getvalue()


def tensor(body: bytes, facts: Facts, kind: str = "image/png") -> Any:
    (found,) = tensors(body, kind, facts)
    return to_numpy(found)


@given(SIDES, SIDES, st.data())
def test_pixels_lie_where_each_layout_has_them(height: int, width: int, data: st.DataObject) -> None:
    pixels = np.frombuffer(data.draw(st.binary(min_size=height * width * 3, max_size=height * width * 3)), np.uint8)
    pixels = pixels.reshape(height, width, 3)
    body = encoded(Image.fromarray(pixels))
    np.testing.assert_array_equal(tensor(body, takes(-1, height, width, 3)), pixels[None])
    for free in ((-1, 3, -1, -1), (-1, -1, -1, -1)):
        np.testing.assert_array_equal(tensor(body, takes(*free)), pixels.transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(tensor(body, takes(-1, 3, height, width, datatype="UINT8"))[0, 1], pixels[..., 1])
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    for shape, found in (((-1, 1, height, width), grey[None, None]), ((-1, -1, -1), grey[None])):
        np.testing.assert_array_equal(tensor(body, takes(*shape)), found)


@given(SIDES, SIDES, st.sampled_from(["PNG", "JPEG"]), st.sampled_from(["L", "RGB", "RGBA", "P", "1", "I;16", "CMYK"]))
def test_any_image_becomes_what_the_model_takes(width: int, height: int, kind: str, mode: str) -> None:
    if mode in {"PNG": ("CMYK",), "JPEG": ("RGBA", "P", "I;16")}[kind]:
        mode = "L"
    body = encoded(Image.new(mode, (width, height)), kind)
    found = tensor(body, takes(-1, 3, 8, 8, datatype="UINT8", minimum=0, maximum=255), f"image/{kind.lower()}")
    assert (found.shape, found.dtype) == ((1, 3, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("datatype", "low", "high", "found"),
    [("FP32", 0, 16, 16), ("FP32", -1, 1, 1), ("UINT8", 0, 9, 9), ("FP16", None, None, 255), ("FP32", 0, None, 255)],
)
def test_white_is_the_greatest_of_the_data(datatype: str, low: Any, high: Any, found: float) -> None:
    wanted = takes(-1, 2, 2, datatype=datatype, minimum=low, maximum=high)
    assert (tensor(encoded(Image.new("L", (5, 4), 255)), wanted) == found).all()
    assert (tensor(encoded(Image.new("L", (5, 4), 0)), wanted) == (low or 0)).all()


def test_what_is_transparent_lies_on_white_and_sixteen_bits_become_eight() -> None:
    clear = encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 0)))
    assert (tensor(clear, takes(-1, 1, 2, 2)) == 255).all()
    deep = encoded(Image.fromarray(np.full((2, 2), 0x80FF, np.uint16)))
    assert (tensor(deep, takes(-1, 1, 2, 2)) == 0x80).all()


def test_a_photograph_is_turned_upright() -> None:
    image = Image.new("L", (16, 32), 255)
    image.paste(0, (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 3
    found = tensor(encoded(image, "JPEG", exif=exif), takes(-1, 2, 1), "image/jpeg")[0, :, 0]
    assert found[0] > 200 and found[1] < 50


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG of so many pixels, whatever its data is."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT" + data, b"IEND")
    packed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(("width", "height"), [(6000, 5000), (65_000, 65_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_size(width: int, height: int) -> None:
    with pytest.raises(TooLarge, match=f"more than {images.PIXELS} pixels"):
        tensor(png(width, height, zlib.compress(bytes(100_000))), takes(-1, 8, 8))


def test_an_image_of_any_size_has_a_limit_of_its_own() -> None:
    photograph = encoded(Image.new("1", (4001, 2000)))
    height, width = tensor(photograph, takes(-1, -1, -1)).shape[1:]
    assert 0.99 * images.FREE_PIXELS < height * width <= images.FREE_PIXELS
    assert width / height == pytest.approx(2, rel=0.01)
    with pytest.raises(TooLarge, match="4001 x 1000 for the model"):
        tensor(photograph, takes(-1, 1000, -1))


@given(st.binary(max_size=200), st.sampled_from(["image/png", "image/jpeg"]))
def test_what_is_no_image_is_refused(body: bytes, kind: str) -> None:
    whole = encoded(Image.new("RGB", (9, 9), "red"), IMAGES[kind])
    for content in (body, whole[: len(body)], whole[: len(whole) // 2] + body):
        try:
            tensor(content, takes(-1, 3, 4, 4), kind)
        except AimassError as error:
            assert isinstance(error, TooLarge) or error.field == "body"


def test_another_format_than_announced_is_refused() -> None:
    for kind, body in (("image/png", "JPEG"), ("image/jpeg", "PNG"), ("image/png", "GIF"), ("image/png", "TIFF")):
        with pytest.raises(InvalidInput, match="as its Content-Type says"):
            tensor(encoded(Image.new("L", (3, 3)), body), takes(-1, 4, 4), kind)


@pytest.mark.parametrize(
    ("shape", "datatype"), [((-1, 30), "FP32"), ((-1,), "BYTES"), ((-1, 4, 5, 6), "FP32"), ((-1, 2, 2), "BOOL")]
)
def test_a_model_without_an_image_says_what_it_takes(shape: tuple[int, ...], datatype: str) -> None:
    with pytest.raises(InvalidInput, match='takes no image alone, but "image"') as refused:
        tensor(b"", takes(*shape, datatype=datatype))
    assert refused.value.field == "Content-Type"
