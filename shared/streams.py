"""Every stream, subject, consumer, ack wait and delivery limit of the bus; nothing of this stands elsewhere.

Consumers follow from what a service hears and obeys, allow-lists from that and from what it says and asks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig

from shared.events import DOMAINS, EVERY_SERVICE, said_by
from shared.events.base import Command, Event
from shared.rpc.base import Request

SERVICES = ("auth", "registry", "trainer", "inference", "evaluator", "monitor", "gateway")
TASK_SERVICES = {
    "train": "trainer",
    "tune": "trainer",
    "prepare": "trainer",
    "optimise": "trainer",
    "run": "trainer",
    "evaluate": "evaluator",
    "batch": "inference",
    "index": "inference",
}

RETRY, DLQ = "RETRY", "DLQ"
DAY = 24 * 3600.0
MIB = 1024 * 1024
ACK_WAIT = 30.0
MAX_ACK_PENDING = 64
MAX_WORKERS = 4
MAX_FAILURES = 5
MAX_ATTEMPTS = 10
SUBJECT_EVENTS = 100_000
CREDENTIALS = "credentials"
CREDENTIAL_SUBJECT = f"$KV.{CREDENTIALS}"
REVOKED_SUBJECT = "auth.revoked"
CHANGED_SUBJECT = "auth.changed"
EXTENSION = "extension"
EXTENSION_EVENTS = "evt.*.*.v1.*"
EXTENSION_INTAKE = "ext.*.*.v1.*"


def _stream(
    name: str, subject: str, mib: int, days: float, discard: DiscardPolicy, work_queue: bool, most: int = -1
) -> StreamConfig:
    """`most` messages of a subject are kept, and then the last ones, whatever the stream does when it is full; batches
    are kept whole or not at all."""
    return StreamConfig(
        name=name,
        subjects=[subject],
        max_bytes=mib * MIB,
        max_age=days * DAY,
        max_msgs_per_subject=most,
        discard=discard,
        retention=RetentionPolicy.WORK_QUEUE if work_queue else RetentionPolicy.LIMITS,
        duplicate_window=120,
        num_replicas=1,
        allow_direct=True,
        allow_atomic=True,
    )


STREAMS: tuple[StreamConfig, ...] = (
    _stream("EVT", "evt.>", 512, 30, DiscardPolicy.NEW, False, SUBJECT_EVENTS),
    _stream("CMD", "cmd.>", 64, 30, DiscardPolicy.NEW, True),
    _stream("PRED", "pred.>", 256, 7, DiscardPolicy.OLD, False),
    _stream("USAGE", "usage.*", 256, 90, DiscardPolicy.OLD, False),
    _stream(DLQ, "dlq.>", 64, 90, DiscardPolicy.NEW, False),
    _stream(RETRY, "retry.>", 64, 30, DiscardPolicy.NEW, True),
    _stream("LOG", "log.>", 256, 30, DiscardPolicy.OLD, False),
    StreamConfig(
        name=f"KV_{CREDENTIALS}",
        subjects=[f"{CREDENTIAL_SUBJECT}.>"],
        max_bytes=64 * MIB,
        duplicate_window=120,
        max_msgs_per_subject=1,
        discard=DiscardPolicy.NEW,
        deny_delete=True,
        allow_rollup_hdrs=True,
        allow_direct=True,
    ),
)


def infer_subject(project: str, model: str) -> str:
    return f"infer.{project}.{model}"


def withdrawn_subject(project: str, model: str) -> str:
    """Where nodes hear of requests whose callers have gone."""
    return f"{infer_subject(project, model)}.withdrawn"


INFERRED = "inferred."


def inferred_subject(service: str, sender: str) -> str:
    """Where a sender of many predictions takes its replies: each below, in any message."""
    return f"{INFERRED}{service}.{sender}"


def log_subject(project: str, task_id: str) -> str:
    return f"log.{project}.{task_id}"


def dlq_subject(service: str, message: str = ">") -> str:
    """Of a dead letter by the name of the message that died, of which there is one at most; or of all of a service."""
    return f"dlq.{service}.{message}"


def retry_subject(service: str) -> str:
    return f"retry.{service}"


def rpc_wildcard(service: str) -> str:
    return f"rpc.{service}.>"


@dataclass(frozen=True)
class Declaration:
    """What one service hears, obeys, answers and asks; its handlers.py holds it. `asks` are subjects of requests."""

    service: str
    hears: tuple[type[Event], ...] = ()
    obeys: tuple[type[Command], ...] = ()
    answers: tuple[type[Request], ...] = ()  # type: ignore[type-arg]
    asks: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    hears_extensions: bool = False

    def wildcards(self) -> dict[str, list[str]]:
        """The subjects that this service's consumers filter, by stream."""
        found: dict[str, list[str]] = {}
        for event in self.hears:
            found.setdefault(event.stream, []).append(event.subject("*"))
        if self.hears_extensions:  # no filter takes a part of a token, so that all of the stream it is
            found["EVT"] = ["evt.>"]
        if self.obeys:
            found["CMD"] = [f"cmd.*.{self.service}.v1.>"]
        if found:
            found[RETRY] = [retry_subject(self.service)]
        return found


def consumers(declaration: Declaration) -> dict[str, ConsumerConfig]:
    """The durable consumers of a service, by stream; all carry the service's name."""
    return {
        stream: ConsumerConfig(
            name=declaration.service,
            durable_name=declaration.service,
            filter_subjects=sorted(set(subjects)),
            ack_wait=ACK_WAIT,
            max_deliver=-1,
            max_ack_pending=MAX_ACK_PENDING,
        )
        for stream, subjects in declaration.wildcards().items()
    }


@dataclass
class Permissions:
    """The allow-lists of one bus user."""

    publish: list[str] = field(default_factory=list)
    subscribe: list[str] = field(default_factory=list)
    deny_publish: list[str] = field(default_factory=list)


def _consumer_permissions(stream: str, durable: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
    ]


def _reader_permissions(stream: str) -> list[str]:
    """Reading without a consumer: who may make one may change and delete those of others, too."""
    return [f"$JS.API.DIRECT.GET.{stream}.>", f"$JS.API.DIRECT.GET.{stream}"]


def _said_subjects(service: str) -> Iterable[str]:
    """A whole domain of EVT at a time; events of other streams by their own subjects."""
    said = said_by(service)
    yield from sorted({f"evt.*.{event.domain()}.>" for event in said if event.stream == "EVT"})
    yield from sorted(event.subject("*") for event in said if event.stream != "EVT")


def _others_consumers(service: str) -> Iterable[str]:
    """What who makes consumers of extensions may not touch: those of services, and of the bus user for others."""
    for other in (*(each for each in SERVICES if each != service), EXTENSION):
        for verb in ("CREATE", "DELETE"):
            yield from (f"$JS.API.CONSUMER.{verb}.EVT.{other}", f"$JS.API.CONSUMER.{verb}.EVT.{other}.>")


def streams_of(declaration: Declaration) -> tuple[StreamConfig, ...]:
    """The streams that a service hears, says, reads or buries in; it starts only where these are as declared."""
    needed = {*declaration.wildcards(), *declaration.reads}
    needed |= {event.stream for event in said_by(declaration.service)}
    if declaration.wildcards():
        needed.add(DLQ)
    if declaration.service in TASK_SERVICES.values():
        needed.add("LOG")
    return tuple(stream for stream in STREAMS if stream.name in needed)


def permissions(declaration: Declaration) -> Permissions:
    """The allow-lists of a service: what it says, asks and reads, and nothing else."""
    service = declaration.service
    granted = Permissions(subscribe=[f"_INBOX_{service}.>", *declaration.subscribes])
    if declaration.answers:
        granted.subscribe.append(rpc_wildcard(service))
    granted.publish += [*_said_subjects(service), *sorted(declaration.asks), *declaration.publishes]
    if service in TASK_SERVICES.values():
        granted.publish.append(log_subject("*", "*"))
    for stream in declaration.wildcards():
        granted.publish += _consumer_permissions(stream, service)
    if declaration.wildcards():
        granted.publish.append(dlq_subject(service))
    if EXTENSION_EVENTS in declaration.publishes:  # of extensions only, not of the platform's domains
        others = [domain for domain, said in DOMAINS.items() if not {service, EVERY_SERVICE} & {*said}]
        granted.deny_publish += [f"evt.*.{domain}.>" for domain in others]
        granted.deny_publish += list(_others_consumers(service))
    granted.publish += [f"$JS.API.STREAM.INFO.{stream.name}" for stream in streams_of(declaration)]
    for name in declaration.reads:
        granted.publish += _reader_permissions(name)
    return granted
