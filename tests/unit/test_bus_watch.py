"""When a bus counts as ill: only one that was well, that says so, and without a break."""

from hypothesis import given
from hypothesis import strategies as st

from deploy.embedded.bus_watch import Illness

SAID = ["", "recovering", "JetStream stream 'KEPT' write error: no space left on device", None]
LOOKS = st.lists(st.tuples(st.integers(1, 2), st.sampled_from(SAID)), max_size=30)


@given(LOOKS)
def test_ill_is_who_was_well_or_could_not_write_and_says_so_since(looks: list[tuple[int, str | None]]) -> None:
    illness = Illness()
    for now in range(len(looks)):
        found = illness.seconds(*looks[now], now)
        first = now
        while first > 0 and looks[first - 1][0] == looks[now][0]:
            first -= 1
        begun, since = False, None
        for moment in range(first, now + 1):
            said = looks[moment][1]
            begun |= said is not None and (said == "" or "write error" in said)
            if said == "":
                since = None
            elif said is not None and begun and since is None:
                since = moment
        assert found == (0 if since is None else now - since)
