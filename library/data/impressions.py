"""What a fashion shop recommended in a week of November 2019: 60,000 impressions, of which 287 were clicked."""

from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from library.base import DataSet, Feature, Part, Schema, Split
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from library.base import Arrays

POLICIES = ("random", "bts")
CAMPAIGNS = ("all", "men", "women")
USER = tuple(f"user_{number}" for number in range(4))
COLUMNS = ("policy", "campaign", "item", "position", "hour", "affinity", "interests", *USER)
FOLDER = "obp/dataset/obd/"


class Impressions(DataSet):
    """Who was shown what and where, in order of time; parts follow each other.

    What the shop knows of its users it tells as hashes alone: a number here is a hash's place among all, sorted.
    """

    name = "impressions"
    source = "Open Bandit Dataset (Y. Saito et al., ZOZO, 2020), the small version that the package obp holds"
    licence = "Apache-2.0 (of the package); cite the paper"
    labels: ClassVar[tuple[str, ...]] = ("ignored", "clicked")
    split = Split(train=0.6, validation=0.15)
    schema = Schema(
        features=(
            Feature(
                name="impression",
                datatype="FP32",
                shape=(len(COLUMNS),),
                columns=COLUMNS,
                minimum=0,
                description="policy: 0 by chance, 1 by Thompson sampling; campaign: 0 all, 1 men, 2 women; item: its "
                "number in the campaign; position: 1 left to 3 right; affinity, interests: what the shop makes of the "
                "user's past clicks on this item, and on all",
            ),
        ),
        target=Feature(name="kind", datatype="INT64", minimum=0, maximum=1, description="0 ignored, 1 clicked"),
    )
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="obp",
            version="0.4.1",
            file="obp-0.4.1-py3-none-any.whl",
            sha256="87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208",
            size=1_338_290,
        ),
    )

    def load(self) -> "Arrays":
        files = dict(self.archives[0].members(FOLDER))
        keys = product(POLICIES, CAMPAIGNS)
        return impressions({(policy, name): files[f"{FOLDER}{policy}/{name}/{name}.csv"] for policy, name in keys})

    def parts(self) -> "dict[Part, Arrays]":
        from library.sources.split import in_order

        return in_order(self.load(), self.split)


def impressions(texts: dict[tuple[str, str], bytes]) -> "Arrays":
    """The published tables of policies and campaigns as one, in order of time."""
    import numpy as np
    from pyarrow import BufferReader, csv

    tables = {key: csv.read_csv(BufferReader(text)) for key, text in texts.items()}
    time = np.concatenate([table["timestamp"].to_numpy().astype("M8[us]") for table in tables.values()])
    rows = np.concatenate([_rows(*key, table) for key, table in tables.items()])
    users = [_places([table[f"user_feature_{number}"] for table in tables.values()]) for number in range(len(USER))]
    clicks = np.concatenate([table["click"].to_numpy() for table in tables.values()])
    order = np.argsort(time, kind="stable")
    return {
        "impression": np.column_stack([rows, *users])[order].astype("<f4"),
        "kind": clicks[order].astype("<i8"),
    }


def _rows(policy: str, campaign: str, table: "pa.Table") -> "NDArray[Any]":
    """All columns but those of the user."""
    import numpy as np

    time, item = table["timestamp"].to_numpy().astype("M8[us]"), table["item_id"].to_numpy()
    names = [name for name in table.column_names if name.startswith("user-item_affinity_")]
    affinities = np.stack([table[f"user-item_affinity_{number}"].to_numpy() for number in range(len(names))], axis=1)
    own = np.take_along_axis(affinities, item[:, None], axis=1)[:, 0]
    hour = (time - time.astype("M8[D]")) // np.timedelta64(1, "h")
    place = np.tile([POLICIES.index(policy), CAMPAIGNS.index(campaign)], (len(item), 1))
    return np.column_stack([place, item, table["position"].to_numpy(), hour, own, affinities.sum(axis=1)])


def _places(hashes: "list[pa.ChunkedArray]") -> "NDArray[Any]":
    import numpy as np

    joined = np.concatenate([column.to_numpy().astype("U32") for column in hashes])
    places: NDArray[Any] = np.unique(joined, return_inverse=True)[1]
    return places
