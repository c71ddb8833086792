"""A simulated motorway of three lanes, seen by one car: highway-env, driven by a planner that is careless at times."""

from typing import TYPE_CHECKING, Any, ClassVar

from library.base import DataSet, Feature, Part, Schema
from library.highway.simulator import Roads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays
    from library.sources.archives import Tell

SEEN = 8
MIDDLE = 4.0
COLUMNS = ("presence", "x", "y", "vx", "vy")
HISTORY = 5
FRAMES_A_SECOND = 5
AHEAD = 2 * FRAMES_A_SECOND
EVERY = 2
CLIP = 8
LANE_WIDTH = 4.0
MANOEUVRES = ("left", "keep", "right", "faster", "slower")


class Highway(DataSet):
    """Roads of highway-fast-v0, simulated here at first use; parts have roads of their own, by the seed.

    A part's first roads are few and are all that `few_parts` reads.
    """

    source = (
        "simulated: highway-fast-v0 of highway-env 1.12.1 (E. Leurent and contributors), 20 other cars driven by "
        "IDM and MOBIL; the car itself by a planner that does anything at all in 5% to 100% of its decisions"
    )
    licence = "MIT (of the simulator)"
    roads: ClassVar[dict[Part, tuple[Roads, ...]]]

    def items(self, frames: "Arrays") -> "Arrays":
        """The items that these frames of whole roads give."""
        raise NotImplementedError

    def fetch(self, tell: "Tell") -> None:
        for roads in self.roads.values():
            for shard in roads:
                shard.fetch(tell)

    def load(self) -> "Arrays":
        import numpy as np

        parts = list(self.parts().values())
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def parts(self) -> "dict[Part, Arrays]":
        return {part: self._of(roads) for part, roads in self.roads.items()}

    def few_parts(self) -> "dict[Part, Arrays]":
        return {part: self._of(roads[:1]) for part, roads in self.roads.items()}

    def _of(self, roads: tuple[Roads, ...]) -> "Arrays":
        import numpy as np

        found = [self.items(shard.read()) for shard in roads]
        return {name: np.concatenate([items[name] for items in found]) for name in found[0]}


class Rollouts(Highway):
    """What the car saw: tables of itself and the seven cars that are nearest, in metres."""

    roads: ClassVar = {
        Part.TRAIN: (
            Roads(first=10000, count=8, sha256="aae4f76f78a8e2825e640da938450c5064ecf955c2aedb1d5755d1dd951a421b"),
            Roads(first=10008, count=60, sha256="eaf5da3ff754ec2bcdb8c29536e3aad98245e6ad02be2af90edeb731b2cc7e70"),
            Roads(first=10068, count=60, sha256="ce7e05ed778c7cc31b761402d5628f35741d2b39290843ef4a91c8815072b22f"),
            Roads(first=10128, count=60, sha256="9bd89e5b14d9da8da4b6c47e32fbcbc85f20453d3c3af04398129dce839f090a"),
            Roads(first=10188, count=60, sha256="05b7136252263fbb7c45f5f3fbd780119121038dbb9557fcafc2957cd818fa23"),
        ),
        Part.VALIDATION: (
            Roads(first=20000, count=8, sha256="032d411c7bcfa5097b527216a9244341fc289ae50ecab1472459023fe94ce9ed"),
            Roads(first=20008, count=40, sha256="a6f91060871f37d8dbf6183a5e1cd0eee852521f4137188405b02f0b56911fc8"),
        ),
        Part.TEST: (
            Roads(first=30000, count=8, sha256="078fe7291698ad847a9ae8b8bc2c80c52611b58b75e02704262f3520e3389352"),
            Roads(first=30008, count=92, sha256="83cef99f26e87728c4e49ef4c994a70e5354377543b04d2d8975045e66240ea2"),
        ),
    }


def tables(seen: "NDArray[Any]") -> "NDArray[Any]":
    """Centimetres, as they are kept, to metres; presence stays 0 or 1."""
    import numpy as np

    return (seen / np.float32(100)).astype("<f4")


class HighwayRisk(Rollouts):
    """Whether the car crashes within two seconds of a second that it saw; every other frame of a road."""

    name = "highway-risk"
    labels: ClassVar[tuple[str, ...]] = ("clear", "crash")
    schema = Schema(
        features=(
            Feature(
                name="observations",
                datatype="FP32",
                shape=(HISTORY, SEEN, len(COLUMNS)),
                columns=COLUMNS,
                description="five frames, 0.2 s apart, the latest last; in each the car itself and the seven nearest "
                "others relative to it: presence 0 or 1, x ahead and y to the right in metres, and metres a second; of "
                "the car itself x is 0, y is 0 in the middle of the leftmost lane, 4 and 8 in the next",
            ),
        ),
        target=Feature(
            name="outcome", datatype="INT64", minimum=0, maximum=1, description="1 where it crashes within two seconds"
        ),
    )

    def items(self, frames: "Arrays") -> "Arrays":
        import numpy as np

        latest, target = outcomes(frames["road"], frames["crashed"])
        chosen = latest[:, None] + np.arange(1 - HISTORY, 1)
        return {"observations": tables(frames["seen"][chosen]), "outcome": target}


def outcomes(road: "NDArray[Any]", crashed: "NDArray[Any]") -> "tuple[NDArray[Any], NDArray[Any]]":
    """Every other frame of each road whose next two seconds are known, with what they bring."""
    import numpy as np

    latest, target = [], []
    for number in np.unique(road):
        (own,) = np.flatnonzero(road == number)[None]
        for frame in own[HISTORY - 1 :: EVERY]:
            to_end = own[-1] - frame
            if to_end >= AHEAD or (crashed[own[-1]] and to_end > 0):
                latest.append(frame)
                target.append(int(crashed[own[-1]] and to_end <= AHEAD))
    return np.array(latest), np.array(target, "<i8")


class HighwayDecisions(Rollouts):
    """What the planner says to what the car sees, in all frames: of careful and of careless rides."""

    name = "highway-decisions"
    labels: ClassVar[tuple[str, ...]] = MANOEUVRES
    schema = Schema(
        features=(
            Feature(
                name="observation",
                datatype="FP32",
                shape=(SEEN, len(COLUMNS)),
                columns=COLUMNS,
                description="the car itself and the seven nearest others relative to it: presence 0 or 1, x ahead and "
                "y to the right in metres, and metres a second; of the car itself x is 0, y is 0 in the middle of the "
                "leftmost lane, 4 and 8 in the next",
            ),
        ),
        target=Feature(
            name="manoeuvre", datatype="INT64", minimum=0, maximum=4, description="lane, or target speed by 5 m/s"
        ),
    )

    def items(self, frames: "Arrays") -> "Arrays":
        usable = ~frames["crashed"]
        return {
            "observation": tables(frames["seen"][usable]),
            "manoeuvre": frames["advice"][usable].astype("<i8"),
        }


def _filmed(first: int, count: int, sha256: str) -> Roads:
    return Roads(first=first, count=count, pictures=True, sha256=sha256)


class HighwayClips(Highway):
    """Eight pictures, 0.2 s apart, and whether the car in the middle crosses into another lane from first to last."""

    name = "highway-clips"
    labels: ClassVar[tuple[str, ...]] = ("left", "keep", "right")
    schema = Schema(
        features=(
            Feature(
                name="clip",
                datatype="UINT8",
                shape=(CLIP, 32, 64),
                minimum=0,
                maximum=255,
                description="grey frames, the latest last, 0.8 m a pixel, from above; the car is in the middle row, a "
                "third from the left, and drives to the right",
            ),
        ),
        target=Feature(name="crossing", datatype="INT64", minimum=0, maximum=2, description="0 left, 1 keep, 2 right"),
    )
    roads: ClassVar = {
        Part.TRAIN: (
            _filmed(40000, 8, "0b61c583c57bdb62375269dd3ef2e0b941c0b7541139edd10ac854e5c89a62dd"),
            _filmed(40008, 92, "f2a62757ddb27076bb11f896856ef1df5fbcc73ee283d94703a961c2affcfff4"),
        ),
        Part.VALIDATION: (
            _filmed(50000, 8, "313374986f110c34a22c04dabe5a8820105f7c698974b451b668d7a76309be09"),
            _filmed(50008, 22, "5ab8fa68b578f6ed2b653f12f907a615b0870353816717decac340ad0050a4f8"),
        ),
        Part.TEST: (
            _filmed(60000, 8, "e0ca29b6d58193feca39ae31d18a7e50d38f44ae1def73d39fe9b6219d68010b"),
            _filmed(60008, 42, "23d77a0f7a2b17a84454c97494bbe43a5085ddddc4504f474d8503268901b0f0"),
        ),
    }

    def items(self, frames: "Arrays") -> "Arrays":
        import numpy as np

        first, target = crossings(frames["road"], frames["crashed"], frames["seen"][:, 0, 2] / 100)
        return {"clip": frames["picture"][first[:, None] + np.arange(CLIP)], "crossing": target}


def crossings(road: "NDArray[Any]", crashed: "NDArray[Any]", y: "NDArray[Any]") -> "tuple[NDArray[Any], NDArray[Any]]":
    """First frames of clips without a crash, and where the car goes in each: every other clip with a crossing, and
    one in twelve without, as these are so many.
    """
    import numpy as np

    first = np.arange(len(road) - CLIP + 1)
    last = first + CLIP - 1
    lane = np.round(y / LANE_WIDTH)
    target = 1 + np.sign(lane[last] - lane[first])
    chosen = (road[first] == road[last]) & ~crashed[last] & (first % np.where(target == 1, 12, EVERY) == 0)
    return first[chosen], target[chosen].astype("<i8")
