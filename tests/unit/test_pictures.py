"""Pictures of any size become vectors by the graph as by the module, and what looks alike has vectors that are."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import library
from library.graphs.front import through, weights_of
from library.graphs.pictures import MIDDLE, REACH, seen
from library.members.image_features import SIDES
from library.networks.efficientnet import HEAD, published
from library.sources.weights import EFFICIENTNET_LITE0

pytestmark = pytest.mark.usefixtures("weights")


@pytest.fixture(scope="module")
def weights() -> None:
    EFFICIENTNET_LITE0.fetch()


def vectors(pictures: Any) -> Any:
    """As image-features serves them."""
    (found,) = through(seen("image", *SIDES, (HEAD,)), {"image": pictures}).values()
    return found


def channels_first(picture: Image.Image) -> Any:
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)[None])


def test_the_graph_is_the_module() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), "u1")
    levels = (2, 8, HEAD)
    front = seen("image", 64, 96, levels)
    with torch.no_grad():
        expected = published(levels)((torch.from_numpy(pictures).float() - MIDDLE) / REACH).numpy()
    (found,) = through(front, {"image": pictures}).values()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert weights_of(front) > 3_000_000


def test_grey_is_a_colour_like_others() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), "u1")
    np.testing.assert_allclose(vectors(grey), vectors(grey.repeat(3, axis=1)), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (130, 3), (700, 500)])
def test_pictures_of_any_size_have_vectors_of_length_one(shape: tuple[int, int]) -> None:
    found = vectors(np.full((2, 3, *shape), 200, "u1"))
    assert found.shape == (2, library.model("image-features").signature.outputs[0].shape[1])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_photograph_is_more_like_itself_than_like_another() -> None:
    temple, flower = (Image.fromarray(image) for image in load_sample_images().images)
    small, cut, dark = (
        flower.resize((160, 120)),
        flower.crop((60, 40, 600, 400)),
        flower.point(lambda light: light // 2),
    )
    own, other, *changed = (vectors(channels_first(each))[0] for each in (flower, temple, small, cut, dark))
    assert min(own @ each for each in changed) > own @ other + 0.2
