"""Sentences that people said how good or bad they sound: of films, products, newspapers and tweets."""

import io
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from library.base import DataSet, Feature, Part, Schema
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from library.base import Arrays

MOST_BYTES = 600
NESTED = "vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = {
    "film": "movieReviewSnippets",
    "product": "amazonReviewSnippets",
    "newspaper": "nytEditorialSnippets",
    "tweet": "tweets",
}
NEUTRAL = 0.5
TEXT = Feature(name="text", datatype="BYTES", description="a sentence in English; UTF-8")


class Snippets(DataSet):
    """23,701 sentences with the mean of twenty people's scores, -4 to 4; all of one review or article in one part."""

    source = "VADER (C. J. Hutto, E. Gilbert, ICWSM 2014), as the sources of the package vaderSentiment hold it"
    licence = "MIT (of the package); cite the paper"
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="vaderSentiment",
            version="2.5",
            file="vaderSentiment-2.5.tar.gz",
            sha256="b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
            size=2_451_781,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        rows = [*self.rows()]
        texts = np.array([text for _, _, _, text in rows], f"S{MOST_BYTES}")
        target = [self.class_of(kind, score) for kind, _, score, _ in rows]
        return {"text": texts, self.schema.target.name: np.array(target, "<i8")}

    def class_of(self, kind: str, score: float) -> int:
        """The number of the label of a sentence of this kind with this score."""
        raise NotImplementedError

    def parts(self) -> "dict[Part, Arrays]":
        import numpy as np

        from library.sources.split import by_group

        groups = np.array([f"{kind} {number.partition('_')[0]}" for kind, number, _, _ in self.rows()])
        return by_group(self.load(), groups, self.split)

    def texts(self, kind: str) -> list[tuple[str, str]]:
        """The sentences of a kind, each with the number of its review or article."""
        return [(number.partition("_")[0], text.decode()) for of, number, _, text in self.rows() if of == kind]

    def rows(self) -> Iterator[tuple[str, str, float, bytes]]:
        """Kind, number, score and text; a number is that of its review or article, and a place in it."""
        with tarfile.open(fileobj=io.BytesIO(self.archives[0].read(NESTED))) as nested:
            for kind, name in FILES.items():
                file = nested.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
                assert file is not None, f"the archive has no {name}"
                for line in file.read().decode().splitlines():
                    number, score, text = line.split("\t", 2)
                    yield kind, number, float(score), text.strip().encode()[:MOST_BYTES]


class Opinions(Snippets):
    """What a sentence sounds like: bad below -0.5, good above 0.5, neither between."""

    name = "opinions"
    labels: ClassVar[tuple[str, ...]] = ("negative", "neutral", "positive")
    schema = Schema(
        features=(TEXT,),
        target=Feature(name="mood", datatype="INT64", minimum=0, maximum=2, description="0 bad, 1 neither, 2 good"),
    )

    def class_of(self, kind: str, score: float) -> int:
        return 1 if abs(score) <= NEUTRAL else int(score > 0) * 2


class Topics(Snippets):
    """Where a sentence is from."""

    name = "topics"
    labels: ClassVar[tuple[str, ...]] = tuple(FILES)
    schema = Schema(
        features=(TEXT,),
        target=Feature(name="kind", datatype="INT64", minimum=0, maximum=3, description="the number of the label"),
    )

    def class_of(self, kind: str, score: float) -> int:
        return self.labels.index(kind)
