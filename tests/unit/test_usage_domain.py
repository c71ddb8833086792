"""What was used, added up whatever the order in which it is told; invoices, exact to the last digit."""

from datetime import date, timedelta
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from services.monitor.usage.domain import DayUse, invoice_lines, month_days, prices_on, total
from shared.rpc.usage import PriceList

START = date(2030, 1, 1)
DAYS = st.integers(0, 40).map(lambda number: START + timedelta(days=number))
NUMBERS = st.integers(0, 10**15)
USES = st.builds(DayUse, DAYS, st.sampled_from(["infer", "api", "train", "batch"]), NUMBERS, NUMBERS, NUMBERS, NUMBERS)
PRICES = st.decimals(0, 1000, places=6)
LISTS = st.lists(
    st.builds(
        PriceList,
        valid_from=DAYS,
        currency=st.just("EUR"),
        prices=st.dictionaries(st.sampled_from(["infer_request", "api_request", "training_minute"]), PRICES),
    ),
    max_size=4,
    unique_by=lambda each: each.valid_from,
)


@given(st.lists(USES, max_size=12), LISTS, st.randoms())
def test_an_invoice_does_not_depend_on_the_order(uses: list[DayUse], lists: list[PriceList], random) -> None:  # type: ignore[no-untyped-def]
    lines = invoice_lines(uses, lists)
    random.shuffle(uses)
    random.shuffle(lists)
    assert invoice_lines(uses, lists) == lines


@given(st.lists(USES, max_size=12), LISTS)
def test_lines_are_exact_and_priced_by_the_list_of_the_day(uses: list[DayUse], lists: list[PriceList]) -> None:
    lines = invoice_lines(uses, lists)
    asked = 0
    for use in uses:
        found = prices_on(use.day, lists)
        price = found.prices.get("infer_request") if found else None
        if use.kind == "infer" and price is not None:
            asked += (use.requests - use.errors) * int(price * 10**6)
    with localcontext(prec=60):
        told = sum((line.amount for line in lines if line.unit == "infer_request"), Decimal(0))
        assert told * 10**6 == asked
        assert abs(total(lines) - sum((line.amount for line in lines), Decimal(0))) <= Decimal("0.005")


@given(st.integers(2000, 2099), st.integers(1, 12))
def test_months_are_whole(year: int, month: int) -> None:
    first, last = month_days(f"{year}-{month:02}")
    assert (first.month, last.month, first.day) == (month, month, 1)
    assert (last + timedelta(days=1)).day == 1


def test_the_list_of_a_day_is_the_last_that_began() -> None:
    lists = [PriceList(valid_from=START + timedelta(days=day), currency="EUR", prices={}) for day in (5, 0, 9)]
    assert [prices_on(START + timedelta(days=day), lists) for day in (0, 4, 5, 8, 20)] == [
        lists[1],
        lists[1],
        lists[0],
        lists[0],
        lists[2],
    ]
    assert prices_on(START - timedelta(days=1), lists) is None
