"""Small grey pictures for a terminal: two pixels a character in colour, shaded blocks without."""

from collections.abc import Sequence

from rich.text import Text

BRIGHTEST = 16
SHADES = " ░▒▓█"
Image = Sequence[Sequence[float]]


def picture(image: Image, *, coloured: bool) -> Text:
    """An image of values 0..16, given as rows of pixels."""
    return _coloured(image) if coloured else _shaded(image)


def _share(value: float) -> float:
    return min(max(value / BRIGHTEST, 0.0), 1.0)


def _colour(value: float) -> str:
    grey = round(255 * _share(value))
    return f"#{grey:02x}{grey:02x}{grey:02x}"


def _coloured(image: Image) -> Text:
    text = Text()
    for upper, lower in zip(image[::2], image[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", style=f"{_colour(above)} on {_colour(below)}")
        text.append("\n")
    return text


def _shaded(image: Image) -> Text:
    rows = ("".join(2 * SHADES[round(_share(value) * (len(SHADES) - 1))] for value in row) for row in image)
    return Text("\n".join(rows))
