"""trace: what led to something and what came of it, as a tree."""

from typing import Annotated

import typer

from aimass.cli import output
from aimass.cli.session import client_of
from aimass.insight import TraceNode

LEFT_OUT = ("model", "task_id")
NAMED = ("version", "predictions")


def trace(
    context: typer.Context,
    id: Annotated[  # noqa: A002
        str, typer.Argument(help="Of an event, task, pipeline, evaluation, prediction or chain; or a version: cnn/3.")
    ],
    as_json: output.AsJson = False,
) -> None:
    """Print the tree of cause and effect around an id, with times; what was asked for is marked."""
    with client_of(context) as client:
        found = client.trace(id)
    if as_json:
        return output.document(found)
    for node, stem in zip(found["nodes"], stems([node["depth"] for node in found["nodes"]]), strict=True):
        output.line(f"{output.moment(node['at']):<19}  {stem}{told(node)}")
    if found["truncated"]:
        output.note("newer events are left out: the tree is larger than one answer")
    return None


def stems(depths: list[int]) -> list[str]:
    """The lines of a tree before each of its nodes, which come depth first."""
    found, open_at = [], set[int]()
    for depth in reversed(depths):
        branch = "" if not depth else "├─ " if depth in open_at else "└─ "
        bars = "".join("│  " if level in open_at else "   " for level in range(1, depth))
        open_at = {level for level in open_at if level < depth} | {depth}
        found.append(bars + branch)
    return found[::-1]


def told(node: TraceNode) -> str:
    """A node on one line: what it is, of what, and what is telling about it."""
    facts = [f"{name}={value}" for name, value in node["facts"].items() if name not in LEFT_OUT]
    known = node["about"].endswith(f"/{node['parent']}") or node["kind"] in NAMED
    about = "" if known else node["about"] if node["kind"] == "event" else node["id"]
    many = f"×{node['count']}" if node["count"] > 1 else ""
    mark = "◀" if node["asked"] else ""
    what = node["name"] if node["kind"] == "event" else f"[{node['kind']}] {node['name']}"
    return " ".join(part for part in (what, many, about, node["state"], *facts, _lasted(node), mark) if part)


def _lasted(node: TraceNode) -> str:
    return f"to {output.moment(node['until'])}" if node["until"] else ""
