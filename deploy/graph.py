"""Draws docs/graph.md from the code: which service speaks with which, and over which subjects."""

from collections.abc import Iterable, Iterator

from deploy.markdown import code, table
from shared.events import EVENTS, said_by
from shared.events.base import Event
from shared.streams import STREAMS, TASK_SERVICES, Declaration, log_subject

EVERYTHING = "everything"
ANYONE = "anyone([anyone with the permission])"
Edge = tuple[str, str, str]


def graph_page(declared: list[Declaration]) -> Iterator[str]:
    yield from ("# The services and their subjects", "")
    yield from ("`./justw docs` draws this page from the code; a test fails while it is not fresh.", "")
    yield from ("## Events and commands", "", "Facts leave through the outbox; an arrow leads to who reacts.", "")
    yield from flowchart([*event_edges(declared), *command_edges(declared)])
    yield from ("## Requests, the data plane and what is read", "", "Rounded boxes are streams of the bus.", "")
    yield from flowchart([*request_edges(declared), *subject_edges(declared), *reading_edges(declared)])
    yield from ("## Subjects", "", "`*` stands for the project.", "")
    yield from table(("subject", "said by", "heard by"), subject_rows(declared))


def flowchart(edges: Iterable[Edge]) -> Iterator[str]:
    yield from ("```mermaid", "flowchart LR")
    for source, label, target in edges:
        yield f'  {source} -- "{label}" --> {target}'
    yield from ("```", "")


def event_edges(declared: list[Declaration]) -> Iterator[Edge]:
    for sayer in declared:
        said = said_by(sayer.service)
        for hearer in declared:
            heard = [event.fact() for event in said if event in hearer.hears]
            if heard:
                yield sayer.service, EVERYTHING if len(heard) == len(said) else "<br/>".join(heard), hearer.service


def command_edges(declared: list[Declaration]) -> Iterator[Edge]:
    for declaration in declared:
        for command in declaration.obeys:
            yield ANYONE, command.type_name().rpartition(".")[2], declaration.service


def request_edges(declared: list[Declaration]) -> Iterator[Edge]:
    for asker in declared:
        for asked in dict.fromkeys(subject.split(".")[1] for subject in asker.asks):
            yield asker.service, "asks", asked


def subject_edges(declared: list[Declaration]) -> Iterator[Edge]:
    """From who publishes on a further subject to who listens there, or to the stream that keeps it."""
    for publisher in declared:
        for begun in sorted(set(map(root, further_subjects(publisher)))):
            listeners = [d.service for d in declared if begun in map(root, d.subscribes)]
            kept = [node(s.name or "") for s in STREAMS if begun in map(root, s.subjects or [])]
            for listener in listeners or kept:
                yield publisher.service, begun, listener


def further_subjects(declaration: Declaration) -> set[str]:
    is_worker = declaration.service in TASK_SERVICES.values()
    return {*declaration.publishes, *([log_subject("*", "*")] if is_worker else [])}


def reading_edges(declared: list[Declaration]) -> Iterator[Edge]:
    for reader in declared:
        for stream in reader.reads:
            yield node(stream), "read by", reader.service


def node(stream: str) -> str:
    return f"{stream}([{stream}])"


def root(subject: str) -> str:
    """What a subject's family shares: its first word, of a key-value bucket with the bucket's name."""
    words = [word for word in subject.split(".") if word not in ("*", ">")]
    return ".".join(words[:2]) if words[0] == "$KV" else words[0]


def subject_rows(declared: list[Declaration]) -> Iterator[list[str]]:
    for event in EVENTS.values():
        yield [f"`{event.subject('*')}`", code(sayers(declared, event)), code(hearers(declared, event))]
    for declaration in declared:
        for command in declaration.obeys:
            yield [f"`{command.subject('*')}`", "anyone with the permission", code([declaration.service])]


def sayers(declared: list[Declaration], event: type[Event]) -> list[str]:
    return [d.service for d in declared if event in said_by(d.service)]


def hearers(declared: list[Declaration], event: type[Event]) -> list[str]:
    return [d.service for d in declared if event in d.hears]
