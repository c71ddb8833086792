"""What both connections share: a flow on its way, and what httpx is told of a request."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from aimass.calls import Request
from aimass.errors import unreachable


class Progress:
    """A flow on its way: the step that is to be done next, None at the end, and then its result."""

    def __init__(self, flow: Generator[Any, Any, Any]) -> None:
        self._flow = flow
        self.step: Any = None
        self.result: Any = None
        self.send(None)

    def send(self, done: Any) -> None:
        """Go on after a step that was done."""
        try:
            self.step = self._flow.send(done)
        except StopIteration as end:
            self.step, self.result = None, end.value

    def throw(self, error: Exception) -> None:
        """Go on after a step that failed."""
        try:
            self.step = self._flow.throw(error)
        except StopIteration as end:
            self.step, self.result = None, end.value

    def close(self) -> None:
        self._flow.close()


def authorization_of(key: str) -> str:
    return f"Bearer {key}" if key else ""


def headers_of(key: str) -> dict[str, str]:
    return {"Authorization": authorization_of(key)} if key else {}


def options_of(request: Request, content: Any = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The options of httpx for a request, with its content in the form that the client sends."""
    options: dict[str, Any] = {"params": {name: value for name, value in request.params.items() if value is not None}}
    options["headers"] = {**request.headers, **(headers or {})}
    if request.json is not None:
        options["json"] = request.json
    if content is not None:
        options["content"] = content
    if request.files:
        options |= {"files": request.files, "data": request.form}
    return options


@contextmanager
def translated() -> Generator[None, None, None]:
    """Failures of the way to the gateway become errors of ours."""
    try:
        yield
    except httpx.TransportError as error:
        raise unreachable(error) from error
