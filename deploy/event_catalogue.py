"""The catalogue of events, docs/events.md, from the AsyncAPI document of the system and nothing else."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from deploy.markdown import table

Document = dict[str, Any]
INTRODUCTION = """# Events

All events and commands on the bus; written by `./justw docs` from [`asyncapi.json`](asyncapi.json), which the gateway
shows at `/asyncapi.json` and which has the schemas of requests too. In subjects `{project}` is the project; what all of
them carry in headers stands at the end.
"""


def events_page(document: Document) -> Iterator[str]:
    yield INTRODUCTION
    domains: dict[str, list[str]] = defaultdict(list)
    for name, channel in document["channels"].items():
        if is_event(document, name):
            domains["commands" if channel["x-stream"] == "CMD" else name.partition(".")[0]].append(name)
    for domain, names in domains.items():
        yield from (f"## {domain}", "")
        for name in names:
            yield from section(document, name)
    yield from ("## Headers", "")
    headers = document["components"]["schemas"]["EventHeaders"]
    rows = ([f"`{name}`", part["description"]] for name, part in headers["properties"].items())
    yield from table(("header", "what"), rows)


def is_event(document: Document, name: str) -> bool:
    return "EventHeaders" in document["components"]["messages"][name].get("headers", {}).get("$ref", "")


def section(document: Document, name: str) -> Iterator[str]:
    channel, message = document["channels"][name], document["components"]["messages"][name]
    kept = document["x-streams"][channel["x-stream"]]
    yield from (f"### {message['title']}", "", message["summary"], "")
    said, heard = (users(document, name, action) for action in ("send", "receive"))
    yield f"- Subject: `{channel['address']}` (stream {channel['x-stream']}, kept {kept['max_age']})"
    yield f"- Type: `{message['name']}`"
    yield f"- Said by: {', '.join(said) or 'software of others'}"
    yield f"- Heard by: {', '.join(heard) or 'nobody of the system'}"
    yield ""
    schema = document["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
    rows = [[f"`{field}`", type_name(part)] for field, part in schema.get("properties", {}).items()]
    if rows:
        yield from table(("field", "type"), rows)


def users(document: Document, name: str, action: str) -> list[str]:
    found = document["operations"].values()
    ours = (each for each in found if each["action"] == action and each["channel"]["$ref"] == f"#/channels/{name}")
    return [each["tags"][0]["name"] for each in ours]


def type_name(part: Document) -> str:
    """A type of JSON schema in a word or two."""
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2]
    if several := part.get("anyOf", part.get("allOf")):
        return " or ".join(map(type_name, several))
    if part.get("type") == "array":
        return f"list of {type_name(part.get('items', {}))}"
    if part.get("type") == "object" and isinstance(part.get("additionalProperties"), dict):
        return f"map of {type_name(part['additionalProperties'])}"
    return str(part.get("format") or part.get("type", "any"))
