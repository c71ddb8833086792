"""Will a household redeem a coupon of a campaign? python -m examples.gallery.coupon_redemption [column=number ...]"""

import sys

from aimass import Client

from examples.gallery import connected


def ask(client: Client, given: dict[str, float]) -> tuple[float, list[tuple[str, float]]]:
    """The chance that it does, and what each column adds to its log-odds, the weightiest first.

    Columns that are not given are zero, but what it did with earlier letters, which is then not known.
    """
    columns = client.member("coupon-redemption")["features"][0]["columns"]
    told = dict.fromkeys(columns, 0) | dict.fromkeys(("answered", "redeemed", "since_redeemed")) | given
    (answer,) = client.ask("coupon-redemption", [told])["predictions"]
    reasons = zip(columns, answer["outputs"]["contributions"], strict=True)
    return answer["scores"]["redeemed"], sorted(reasons, key=lambda reason: -abs(reason[1]))


if __name__ == "__main__":
    told = {name: float(value) for name, value in (pair.split("=") for pair in sys.argv[1:])}
    usual: dict[str, float] = {"days": 47, "coupons": 209, "spent": 900, "baskets": 30, "fitting": 60, "answered": 0.4}
    chance, reasons = ask(connected(), told or usual)
    print(f"{chance:.0%} redeemed", *(f"  {name} {weight:+.2f}" for name, weight in reasons[:5]), sep="\n")
