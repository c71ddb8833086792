"""Items of a model that neither training nor choice has seen, and how its answers to them are shown."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

import library
from examples.pictures import picture
from library.base import Model, Part

Arrays = dict[str, NDArray[Any]]
PICTURE = (1, 8, 8)


def held_out(name: str, count: int) -> tuple[Arrays, NDArray[Any]]:
    """The first held-out inputs of a model, and the truth about them."""
    model = library.model(name)
    dataset = library.data_set(model.dataset)
    items = dataset.parts()[Part.TEST]
    inputs = {spec.name: items[spec.name][:count] for spec in model.signature.inputs}
    return inputs, items[dataset.schema.target.name][:count]


def show_answers(name: str, inputs: Arrays, outputs: NDArray[Any], truth: NDArray[Any], console: Console) -> None:
    """Small images as pictures, all else as rows of a table."""
    model, first = library.model(name), next(iter(inputs.values()))
    guesses = [said(model, row) for row in outputs]
    marks = [mark(model, row, value) for row, value in zip(outputs, truth, strict=True)]
    if first.shape[1:] == PICTURE:
        console.print(Columns(map(panel, first, guesses, marks, [console.is_terminal] * len(marks))))
    else:
        console.print(table(guesses, marks))


def said(model: Model[Any], row: NDArray[Any]) -> str:
    """An answer in words: the likeliest label and its probability, or the number."""
    if not model.labels:
        return f"{row.item():.4g}"
    guess = int(row.argmax())
    return f"{model.labels[guess]} ({row[guess]:.0%})"


def mark(model: Model[Any], row: NDArray[Any], truth: np.generic) -> str:
    if not model.labels:
        return f"it is {truth.item():.4g}"
    right = int(row.argmax()) == truth.item()
    return "[green]right[/]" if right else f"[red]it is {model.labels[truth.item()]}[/]"


def panel(image: NDArray[Any], guess: str, mark: str, coloured: bool) -> Panel:
    return Panel(picture(image[0].tolist(), coloured=coloured), title=guess, subtitle=mark, width=20)


def table(guesses: list[str], marks: list[str]) -> Table:
    found = Table("answer", "truth")
    for guess, truth in zip(guesses, marks, strict=True):
        found.add_row(guess, truth)
    return found
