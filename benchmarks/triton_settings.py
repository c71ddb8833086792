"""What Triton can be told about a model, which of it is tried, and when one setting counts as better; pure."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from services.inference.repository import config
from shared.events.common import Signature
from shared.signatures import MAX_BATCH

BETTER = 1.05
SLOWER = 1.2
FEW = 8
DELAYS = (500, 2000)


@dataclass(frozen=True)
class Setting:
    """Processes of a model, threads of each, and how Triton batches what waits: most rows, and delay in µs."""

    instances: int = 1
    delay: int = 0
    max_batch: int = MAX_BATCH
    threads: int = 1

    def __str__(self) -> str:
        return (
            f"{self.instances} instance{'s' if self.instances > 1 else ''}, delay {self.delay} µs, "
            f"batches of {self.max_batch} at most, {self.threads} thread{'s' if self.threads > 1 else ''}"
        )

    def config(self, name: str, signature: Signature) -> str:
        """The config.pbtxt of a version with this setting; as the platform writes it but for the setting."""
        text = config(name, signature, self.threads, "python", self.instances)
        text = text.replace(f"max_batch_size: {MAX_BATCH}", f"max_batch_size: {self.max_batch}")
        batching = f"dynamic_batching {{ max_queue_delay_microseconds: {self.delay} }}"
        return text.replace("dynamic_batching { }", batching) if self.delay else text


@dataclass(frozen=True)
class Tried:
    """A setting beside the best one before it: rows a second of many callers, ms of one, and both as ratios."""

    setting: Setting
    rows_per_second: float
    p50_ms: float
    rows_ratio: float = 1.0
    p50_ratio: float = 1.0

    @property
    def is_better(self) -> bool:
        """More than noise in throughput, and not bought with the latency of a single caller."""
        return self.rows_ratio >= BETTER and self.p50_ratio <= SLOWER


def steps(best: Setting, cores: int) -> Generator[Sequence[Setting], Setting, None]:
    """What is tried beside the best setting so far, one knob after the other; send the best one after each step."""
    counts = [count for count in (2, 4) if count <= max(2, cores)]
    for change, values in (("instances", counts), ("delay", DELAYS), ("max_batch", (FEW,)), ("threads", (cores,))):
        best = yield [replace(best, **{change: value}) for value in values if value != getattr(best, change)]


def chosen(best: Tried, others: Sequence[Tried]) -> Tried:
    """The best of those that are better, else the one before."""
    better = [each for each in others if each.is_better]
    return max(better, key=lambda each: each.rows_ratio, default=best)
