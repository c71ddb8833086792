"""Draws a figure, JSON on standard input, into the file that is named; runs in an environment of its own."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, NullFormatter

WIDTH, HEIGHT = 11, 4
BOLD = ("Triton", "gateway")


def draw(figure: dict, target: Path) -> None:
    panels = figure["panels"]
    canvas, axes = pyplot.subplots(len(panels), 1, figsize=(WIDTH, HEIGHT * len(panels)), squeeze=False)
    whole = HEIGHT * len(panels)
    canvas.suptitle(figure["title"], fontsize=9, y=1 - 0.1 / whole, va="top")
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        draw_panel(axis, panel)
    canvas.tight_layout(rect=(0, 0, 1, 1 - 0.35 / whole))
    canvas.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def draw_panel(axis: pyplot.Axes, panel: dict) -> None:
    for line in panel["lines"]:
        width = 2.4 if line["name"] in BOLD else 1.2
        (drawn,) = axis.plot(line["connections"], line["median"], marker="o", linewidth=width, label=line["name"])
        axis.fill_between(line["connections"], line["lowest"], line["highest"], color=drawn.get_color(), alpha=0.15)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(sorted({count for line in panel["lines"] for count in line["connections"]}))
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_minor_formatter(FuncFormatter(some))
    axis.set_title(panel["title"], fontsize=10)
    axis.set_xlabel("connections")
    axis.set_ylabel("good answers a second")
    axis.grid(visible=True, which="both", alpha=0.25)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def some(value: float, _: int) -> str:
    """Between powers of ten only 2 and 5 have room for their number."""
    text = f"{value:,.0f}"
    return text if text[0] in "25" else ""


if __name__ == "__main__":
    draw(json.load(sys.stdin), Path(sys.argv[1]))
