"""What the author of a mail wrote, and what he quotes. Pure."""

import re
from typing import Final

QUOTED: Final = re.compile(r"^\s*(?:[A-Za-z]{0,3}[>|]\s?)+")
TOLD_BY: Final = re.compile(
    r"^[^\n]*(?:\n[^\n]+)?\b(?:wrote|writes|said)\s?:[ \t]*\n(?=\s*[A-Za-z]{0,3}[>|])", re.MULTILINE
)
SIGNATURE: Final = re.compile(r"^(?:-- ?|_{5,}|-{5,}.*)$")


def own_words(text: str) -> str:
    """The lines before the signature, empty ones where he quotes, and without the line that says whom."""
    lines = []
    for line in TOLD_BY.sub("\n", text).split("\n"):
        if SIGNATURE.match(line):
            break
        lines.append("" if QUOTED.match(line) else line.rstrip())
    return "\n".join(lines)


def quoted_words(text: str) -> list[str]:
    """The words of all quoted lines in small letters."""
    lines = (QUOTED.sub("", line) for line in text.split("\n") if QUOTED.match(line))
    return re.findall(r"\w+", " ".join(lines).lower())
