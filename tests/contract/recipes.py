"""The recipes of CONTRIBUTING.md, read so that a test can carry them out."""

import re
from dataclasses import dataclass
from pathlib import Path

STEP = re.compile(r"^`(?P<path>[^`\n]+)`, (?P<where>[^\n]+):\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
ANCHOR = re.compile(r"(?P<side>above|below) `(?P<line>.+)`")


@dataclass(frozen=True)
class Step:
    """Where to write, and what."""

    path: str
    where: str
    text: str

    def carry_out(self, root: Path) -> None:
        file = root / self.path
        if self.where == "new":
            assert not file.exists(), f"{self.path} is there already"
            file.write_text(self.text)
        elif self.where == "at the end":
            file.write_text(file.read_text() + self.text)
        else:
            file.write_text(self._beside(file.read_text()))

    def _beside(self, content: str) -> str:
        anchor = ANCHOR.fullmatch(self.where)
        assert anchor, f"{self.path}: where is {self.where!r}?"
        line = anchor["line"] + "\n"
        assert content.count(line) == 1, f"{self.path} must have one line {line!r}"
        return content.replace(line, self.text + line if anchor["side"] == "above" else line + self.text)


def recipes(page: str) -> dict[str, list[Step]]:
    """The steps of each recipe by its heading."""
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    return {
        section.partition("\n")[0]: [Step(**step.groupdict()) for step in STEP.finditer(section)]
        for section in sections
    }
