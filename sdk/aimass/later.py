"""Predictions that nobody waits for: accepted now, answered later, posted to a webhook where one is named."""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aimass import types as t
from aimass.connection import API, Connection
from aimass.errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNDER_WAY = ("queued", "running")


def infer_path(model: str, version: int | None) -> str:
    return f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"


class Later:
    """What a client can do with deferred requests and webhooks."""

    _connection: Connection

    def infer_later(
        self,
        model: str,
        inputs: Sequence[t.Tensor],
        version: int | None = None,
        *,
        webhook: str = "",
        key: str = "",
    ) -> t.Inference:
        """Let a model be asked in JSON; the same idempotency key twice is one request."""
        headers = _headers(webhook, key)
        path = infer_path(model, version)
        accepted: t.Inference = self._connection.send(
            "POST", path, json={"inputs": list(inputs)}, headers=headers
        ).json()
        return accepted

    def predict_later(
        self,
        model: str,
        inputs: "Mapping[str, NDArray[Any]]",
        version: int | None = None,
        *,
        outputs: Sequence[str] = (),
        webhook: str = "",
        key: str = "",
    ) -> t.Inference:
        """Let a model be asked with numpy arrays (needs `aimass[numpy]`)."""
        from aimass import arrays

        body, headers = arrays.encode(inputs, outputs)
        headers |= _headers(webhook, key)
        path = infer_path(model, version)
        accepted: t.Inference = self._connection.send("POST", path, content=body, headers=headers).json()
        return accepted

    def inference(self, inference_id: str) -> t.Inference:
        """A deferred request: queued, running, done, failed or cancelled."""
        found: t.Inference = self._connection.call("GET", f"inferences/{inference_id}")
        return found

    def inferences(self, *, model: str | None = None, state: str | None = None, limit: int = 100) -> list[t.Inference]:
        """Deferred requests, newest first, as long as they are kept."""
        params = {"model": model, "state": state, "limit": limit}
        found: list[t.Inference] = self._connection.call("GET", "inferences", params=params)["inferences"]
        return found

    def inference_result(self, inference_id: str, *, every: float = 0.5, timeout: float = 3600) -> dict[str, Any]:
        """The answer once there is one: the document of `infer`, or the arrays of `predict` where it was asked so.

        Raises what `infer` would have raised, Conflict for a cancelled request; an unreachable platform is waited for.
        """
        self._wait(inference_id, every, timeout)
        answer = self._connection.send("GET", f"{API}/inferences/{inference_id}/result")
        header_length = answer.headers.get("Inference-Header-Content-Length")
        if header_length is None:
            document: dict[str, Any] = answer.json()
            return document
        from aimass import arrays

        return arrays.decode(answer.content, header_length)

    def _wait(self, inference_id: str, every: float, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with suppress(Unavailable, DeadlineExceeded):
                if self.inference(inference_id)["state"] not in UNDER_WAY:
                    return
            time.sleep(every)
        raise TimeoutError(f"{inference_id} has no answer after {timeout:g} s")

    def cancel_inference(self, inference_id: str) -> t.Inference:
        """Give up a request that has no answer yet."""
        cancelled: t.Inference = self._connection.call("DELETE", f"inferences/{inference_id}")
        return cancelled

    def webhooks(self) -> list[t.Webhook]:
        found: list[t.Webhook] = self._connection.call("GET", "webhooks")["webhooks"]
        return found

    def create_webhook(self, name: str, url: str) -> t.NewWebhook:
        """Let answers be posted there, signed as Standard Webhooks; the secret is in this answer and nowhere else."""
        made: t.NewWebhook = self._connection.call("POST", "webhooks", json={"name": name, "url": url})
        return made

    def delete_webhook(self, name: str) -> None:
        """Post nothing there any more."""
        self._connection.send("DELETE", f"{API}/webhooks/{name}")


def _headers(webhook: str, key: str) -> dict[str, str]:
    headers = {"Prefer": "respond-async", "Idempotency-Key": key or str(uuid.uuid4())}
    return headers | ({"X-Webhook": webhook} if webhook else {})
