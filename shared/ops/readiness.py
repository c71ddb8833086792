"""Whether a service is ready, or why not."""


class Readiness:
    """What each check last said; an empty text means that it is well.

    Only essential checks decide: a data plane that can serve stays ready while a database is down.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._problems: dict[str, str] = {"start": "starting"}
        self._minor: dict[str, str] = {}

    def report(self, check: str, problem: str, *, essential: bool = True) -> None:
        (self._problems if essential else self._minor)[check] = problem

    def started(self) -> None:
        """All checks have run once."""
        self._problems.pop("start", None)

    def problems(self) -> dict[str, str]:
        return {check: problem for check, problem in self._problems.items() if problem}

    def minor_problems(self) -> dict[str, str]:
        return {check: problem for check, problem in self._minor.items() if problem}
