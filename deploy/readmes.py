"""The lists in each service's README (hears, says, answers), compared with the code and put right."""

import re
from pathlib import Path

from shared.events import said_by
from shared.names import snake
from shared.streams import Declaration

LISTS = ("Hears", "Says", "Answers")


def listed(text: str, what: str) -> set[str]:
    """The items of one list of a README; `nothing` stands for none."""
    found = pattern(what).search(text)
    items = re.sub(r"\s+", " ", found["items"]).split(",") if found else []
    return {item.strip().strip("`") for item in items} - {"nothing", ""}


def pattern(what: str) -> re.Pattern[str]:
    return re.compile(rf"^- {what}:(?P<items>.*(?:\n  +.*)*)$", re.MULTILINE)


def truth(declaration: Declaration) -> dict[str, list[str]]:
    """What a README must list, in the order of the code."""
    commands = [f"command {snake(command.__name__)}" for command in declaration.obeys]
    return {
        "Hears": [event.fact() for event in declaration.hears] + commands,
        "Says": [event.fact() for event in said_by(declaration.service)],
        "Answers": [request.verb() for request in declaration.answers],
    }


def corrected(text: str, declaration: Declaration) -> str:
    """The README with each wrong list replaced; a right one keeps its order and its lines."""
    for what, items in truth(declaration).items():
        if listed(text, what) != set(items):
            text = pattern(what).sub(f"- {what}: {', '.join(items) or 'nothing'}", text)
    return text


def correct(path: Path, declaration: Declaration) -> bool:
    """Put a README right; whether it was wrong."""
    text = path.read_text()
    right = corrected(text, declaration)
    if right != text:
        path.write_text(right)
    return right != text
