"""What inference decides: which versions to load and unload, and which version answers a request; pure."""

import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

from services.inference.resources.domain import Bounds
from shared.errors import AimassError, NotFound, Unavailable
from shared.events.common import Signature
from shared.names import triton_name

HELD_STATES = ("loading", "staged", "serving", "draining")
DIFFERENCE_STATES = ("staged", "serving")


@dataclass(frozen=True)
class Deployment:
    """A version that this platform wants in Triton, and in which role."""

    project: str
    model: str
    version: int
    digest: str
    signature: Signature
    state: str
    labels: tuple[str, ...] = ()
    context: dict[str, str] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        return triton_name(self.project, self.model, self.version)


@dataclass(frozen=True)
class Plan:
    """What to do with Triton; `missing` were ready before, `foreign` are wanted by nobody."""

    load: tuple[str, ...]
    unload: tuple[str, ...]
    missing: frozenset[str]
    foreign: frozenset[str]


def plan(wanted: Mapping[str, Deployment], ready: Set[str], released: Set[str]) -> Plan:
    """Compare what is wanted with what Triton has; `released` are those that we let go ourselves."""
    absent = [name for name in wanted if name not in ready]
    surplus = sorted(ready - wanted.keys())
    return Plan(
        load=tuple(sorted(absent, key=lambda name: (wanted[name].state != "serving", name))),
        unload=tuple(surplus),
        missing=frozenset(name for name in absent if wanted[name].state in DIFFERENCE_STATES),
        foreign=frozenset(name for name in surplus if name not in released),
    )


@dataclass
class Routing:
    """What this node answers with: the wanted deployments, which are ready here and on others, and the routes.

    Those that are parked are not in memory, and are loaded again at their next request. Until `sure_until` (monotonic
    seconds) no version is said to answer before this node knows of it.
    """

    epoch: int = 0
    sure_until: float = 0.0
    wanted: dict[str, Deployment] = field(default_factory=dict)
    ready: frozenset[str] = frozenset()
    parked: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    routes: dict[tuple[str, str], int] = field(default_factory=dict)
    bounds: dict[tuple[str, str], Bounds] = field(default_factory=dict)

    def held(self) -> frozenset[str]:
        """What can answer here, be it after it is loaded again."""
        return self.ready | self.parked

    def versions(self, project: str, model: str) -> list[int]:
        """The versions of a model that can answer here."""
        return sorted(deployment.version for deployment in self.served(project, model).values())

    def served(self, project: str, model: str | None = None, version: int | None = None) -> dict[str, Deployment]:
        """What can answer here of a project, of one model or of one version, by the name in Triton."""
        held = self.held()
        return {
            name: found
            for name, found in self.wanted.items()
            if name in held
            and found.project == project
            and model in (None, found.model)
            and version in (None, found.version)
        }

    def models(self) -> set[tuple[str, str]]:
        """The models to answer for: a version is held here, and the one of the route not on other nodes alone."""
        held = self.held()
        models = {(found.project, found.model) for name, found in self.wanted.items() if name in held}
        return {key for key in models if not self.is_elsewhere_alone(*key)}

    def is_elsewhere_alone(self, project: str, model: str) -> bool:
        """Whether other nodes can answer by the route, and this one cannot."""
        version = self.routes.get((project, model))
        name = "" if version is None else triton_name(project, model, version)
        return name in self.elsewhere and name not in self.held()

    def pick(self, project: str, model: str, version: str) -> Deployment:
        """The deployment that answers a request, by the version it names or by the route.

        Raises NotFound for a version that is not held, Unavailable for one that is not ready or not known of now.
        """
        number = _number(model, version) if version else self.routes.get((project, model))
        if number is None:
            raise self._absent(f"model '{model}' has no promoted version yet: name one, or promote one")
        name = triton_name(project, model, number)
        if name not in self.wanted:
            raise self._absent(f"version {number} of model '{model}' is not deployed")
        if name not in self.ready and name not in self.parked:
            raise Unavailable(f"version {number} of model '{model}' is not ready now; try again")
        return self.wanted[name]

    def _absent(self, what: str) -> AimassError:
        """A node that others do not wait for may not know of all that is there."""
        if time.monotonic() < self.sure_until:
            return NotFound(what)
        return Unavailable("this node cannot tell now which versions answer; try again")


def _number(model: str, version: str) -> int:
    if not version.isdecimal() or len(version) > 9:
        raise NotFound(f"model '{model}' has no version '{version[:20]}': versions are numbers from 1")
    return int(version)
