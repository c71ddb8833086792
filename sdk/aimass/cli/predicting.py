"""predict: values, texts, files or stdin go in, answers come out."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aimass.cli import output
from aimass.cli.models import Model
from aimass.cli.session import client_of

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
ITEMS = (".json", ".jsonl")
STDIN = "-"
ANSWERS: output.Columns = {
    "ITEM": lambda row: row[0],
    "ANSWER": lambda row: row[1],
    "SCORE": lambda row: row[2],
}


def predict(
    context: typer.Context,
    model: Model,
    what: Annotated[
        list[str],
        typer.Argument(metavar="WHAT", help="Texts, or items as JSON such as '{\"age\": 41}' or '[1, 2]'; - is stdin."),
    ] = [],  # noqa: B006
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-F", help="A file: .json, .jsonl, .csv, .txt, .png, .jpg, or sound: .wav, .flac, .ogg, .mp3."
        ),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Ask this version instead of the champion.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="The best so many alone.")] = None,
    speak: Annotated[Path | None, typer.Option("--speak", help="Have the text read aloud into this file.")] = None,
    as_json: output.AsJson = False,
) -> None:
    """Ask a model with what you have."""
    if bool(what) == bool(file):
        raise typer.BadParameter("give either items or one --file", param_hint="WHAT")
    with client_of(context) as client:
        if speak is not None:
            return _spoken(client.speak(model, " ".join(map(_text, what)), speak), as_json)
        if file is not None and file.suffix.lower() in SOUNDS:
            return _heard(client.transcribe(model, file), as_json)
        answers = client.ask(model, _asked(what, file), version, top=top)
    if as_json:
        return output.document(answers)
    return output.rows(
        [row for number, answer in enumerate(answers["predictions"]) for row in _rows(number, answer)], ANSWERS, False
    )


def _asked(what: list[str], file: Path | None) -> list[Any] | Path:
    if file is not None:
        return _items(_utf8(file)) if file.suffix.lower() in ITEMS else file
    return [item for text in what for item in (_items(sys.stdin.read()) if text == STDIN else [_item(text)])]


def _utf8(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is no text in UTF-8", param_hint="--file") from None


def _item(text: str) -> Any:
    """An object or a list as JSON; anything else is a text."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text[:40]!r} begins like JSON and is none: {error}", param_hint="WHAT") from None


def _items(text: str) -> list[Any]:
    """Items of a JSON document: a list of them, `{"items": [...]}` or one; of JSON lines; or one text."""
    if text.lstrip()[:1] not in ("{", "["):
        return [text.rstrip("\n")]
    try:
        found = json.loads(text)
    except ValueError:
        return [_item(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict) and list(found) == ["items"]:
        return list(found["items"])
    return found if isinstance(found, list) else [found]


def _text(what: str) -> str:
    return sys.stdin.read() if what == STDIN else what


def _rows(number: int, answer: dict[str, Any]) -> list[tuple[int, str, Any]]:
    """Lines of a table for one answer: its label, value, ranked items or entities, or its outputs by name."""
    if "scores" in answer:
        return [(number, label, score) for label, score in answer["scores"].items()]
    if "value" in answer:
        return [(number, output.cell(answer["value"]), None)]
    if "items" in answer:
        return [(number, str(each.get("label", each["item"])), each["score"]) for each in answer["items"]]
    if "entities" in answer:
        return [(number, f"{each['label']}: {each['text']}", None) for each in answer["entities"]]
    return [(number, f"{name}: {output.cell(value)}", None) for name, value in answer.get("outputs", {}).items()]


def _heard(text: str, as_json: bool) -> None:
    return output.document({"text": text}) if as_json else output.line(text)


def _spoken(target: Path, as_json: bool) -> None:
    found = {"file": str(target), "bytes": target.stat().st_size}
    return output.document(found) if as_json else output.line(f"{target}: {found['bytes']} bytes")
