"""What every service that names artifacts answers: which of them must stay."""

from shared.rpc.base import Reply, Request

PAGE = 10_000


class References(Reply):
    """Digests in order, one page; `more` says that digests after the last one follow."""

    digests: list[str] = []
    datasets: list[str] = []
    more: bool = False


class ListReferences(Request[References]):
    """List the artifacts that must stay, of all projects, after this digest; and the data sets that are in use."""

    after: str = ""
