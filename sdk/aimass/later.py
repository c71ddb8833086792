"""Predictions that nobody waits for: accepted now, answered later, posted to a webhook where one is named."""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from aimass import types as t
from aimass.calls import API, Call, Flow, Pause, Request, call, get, nothing
from aimass.errors import DeadlineExceeded, Unavailable
from aimass.methods import method

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNDER_WAY = ("queued", "running")


def infer_path(model: str, version: int | None) -> str:
    return f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"


class Later:
    """What a client can do with deferred requests and webhooks."""

    @method
    def infer_later(
        self,
        model: str,
        inputs: Sequence[t.Tensor],
        version: int | None = None,
        *,
        webhook: str = "",
        key: str = "",
    ) -> Call[t.Inference]:
        """Let a model be asked in JSON; the same idempotency key twice is one request."""
        return _accepted(model, version, _headers(webhook, key), json={"inputs": list(inputs)})

    @method
    def predict_later(
        self,
        model: str,
        inputs: "Mapping[str, NDArray[Any]]",
        version: int | None = None,
        *,
        outputs: Sequence[str] = (),
        webhook: str = "",
        key: str = "",
    ) -> Call[t.Inference]:
        """Let a model be asked with numpy arrays (needs `aimass[numpy]`)."""
        from aimass import arrays

        body, headers = arrays.encode(inputs, outputs)
        return _accepted(model, version, headers | _headers(webhook, key), content=body)

    @method
    def inference(self, inference_id: str) -> Call[t.Inference]:
        """A deferred request: queued, running, done, failed or cancelled."""
        return get(f"inferences/{inference_id}")

    @method
    def inferences(
        self, *, model: str | None = None, state: str | None = None, limit: int = 100
    ) -> Call[list[t.Inference]]:
        """Deferred requests, newest first, as long as they are kept."""
        return get("inferences", {"model": model, "state": state, "limit": limit}, take="inferences")

    @method
    def inference_result(self, inference_id: str, *, every: float = 0.5, timeout: float = 3600) -> Flow[dict[str, Any]]:
        """The answer once there is one: the document of `infer`, or the arrays of `predict` where it was asked so.

        Raises what `infer` would have raised, Conflict for a cancelled request; an unreachable platform is waited for.
        """
        yield from _wait(inference_id, every, timeout)
        answer = yield from Request("GET", f"{API}/inferences/{inference_id}/result", safe=True)
        header_length = answer.headers.get("Inference-Header-Content-Length")
        if header_length is None:
            document: dict[str, Any] = answer.json()
            return document
        from aimass import arrays

        return arrays.decode(answer.content, header_length)

    @method
    def cancel_inference(self, inference_id: str) -> Call[t.Inference]:
        """Give up a request that has no answer yet."""
        return call("DELETE", f"inferences/{inference_id}")

    @method
    def webhooks(self) -> Call[list[t.Webhook]]:
        """Where answers may be posted to."""
        return get("webhooks", take="webhooks")

    @method
    def create_webhook(self, name: str, url: str) -> Call[t.NewWebhook]:
        """Let answers be posted there, signed as Standard Webhooks; the secret is in this answer and nowhere else."""
        return call("POST", "webhooks", json={"name": name, "url": url})

    @method
    def delete_webhook(self, name: str) -> Call[None]:
        """Post nothing there any more."""
        return nothing("DELETE", f"webhooks/{name}")


def _accepted(model: str, version: int | None, headers: dict[str, str], **body: Any) -> Call[t.Inference]:
    request = Request("POST", infer_path(model, version), headers=headers, safe=True, **body)
    return Call(request, lambda answer: cast(t.Inference, answer.json()))


def _wait(inference_id: str, every: float, timeout: float) -> Flow[None]:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with suppress(Unavailable, DeadlineExceeded):
            found: t.Inference = yield from get(f"inferences/{inference_id}")
            if found["state"] not in UNDER_WAY:
                return
        yield Pause(every)
    raise TimeoutError(f"{inference_id} has no answer after {timeout:g} s")


def _headers(webhook: str, key: str) -> dict[str, str]:
    headers = {"Prefer": "respond-async", "Idempotency-Key": key or str(uuid.uuid4())}
    return headers | ({"X-Webhook": webhook} if webhook else {})
