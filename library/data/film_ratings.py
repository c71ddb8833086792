"""MovieLens-100k: which films 943 people rated one after the other, September 1997 to April 1998."""

from typing import TYPE_CHECKING, Any

from library.base import DataSet, Feature, Part, Schema
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

FILMS = 1_682
HISTORY = 200
MOST_A_PERSON = 50
FOLDER = "recbole/dataset_example/ml-100k"


class FilmRatings(DataSet):
    """A person's films so far, and the one that came next; what was rated how is left out.

    Of each person the last film tests, the one before validates, up to 50 before that train.
    """

    name = "film-ratings"
    source = "MovieLens-100k (F. M. Harper, J. A. Konstan, GroupLens Research, 2015), as the package recbole ships it"
    licence = "MIT (of the package); GroupLens allows research, not redistribution"
    schema = Schema(
        features=(
            Feature(
                name="films",
                datatype="INT32",
                shape=(HISTORY,),
                minimum=0,
                maximum=FILMS,
                description="numbers of films by MovieLens, 1 to 1682, the newest last; 0 before the first",
            ),
        ),
        target=Feature(
            name="next", datatype="INT64", minimum=0, maximum=FILMS - 1, description="the next film's number less one"
        ),
    )
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="recbole",
            version="1.2.1",
            file="recbole-1.2.1-py3-none-any.whl",
            sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            size=2_130_151,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        parts = self.parts().values()
        return {name: np.concatenate([part[name] for part in parts]) for name in ("films", "next")}

    def parts(self) -> "dict[Part, Arrays]":
        people = self._people()
        ends = {Part.TRAIN: (-2 - MOST_A_PERSON, -2), Part.VALIDATION: (-2, -1), Part.TEST: (-1, None)}
        return {part: _steps(people, *where) for part, where in ends.items()}

    def _people(self) -> "list[NDArray[Any]]":
        """Each person's films in order of time; of one second, in order of the file."""
        import numpy as np

        _, _, rows = self.archives[0].read(f"{FOLDER}/ml-100k.inter").decode().partition("\n")
        person, film, _, time = np.fromstring(rows, sep=" ").reshape(-1, 4).T.astype("<i8")
        order = np.lexsort((np.arange(len(time)), time, person))
        _, starts = np.unique(person[order], return_index=True)
        return np.split(film[order].astype("<i4"), starts[1:])


def _steps(people: "list[NDArray[Any]]", first: int, end: int | None) -> "Arrays":
    """For the films from `first` to `end` of each person: those before, and the film itself."""
    import numpy as np

    before, after = [], []
    for films in people:
        windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([np.zeros(HISTORY, "<i4"), films]), HISTORY)
        chosen = np.arange(len(films))[first:end]
        chosen = chosen[chosen > 0]
        before.append(windows[chosen])
        after.append(films[chosen] - 1)
    return {"films": np.concatenate(before), "next": np.concatenate(after).astype("<i8")}
