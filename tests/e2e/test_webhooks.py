"""Answers are posted to webhooks of this machine, where that is allowed: signed, and again after a failure."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np
import pytest
from aimass import arrays

from deploy.embedded.rotation import rotate
from tests.e2e.deferred import accepted, binary, defer, ended, facts, later, result
from tests.house import House, until

__all__ = ["later"]
Posted = tuple[dict[str, str], bytes]


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted and answers with the statuses that it was given, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.posted = list(statuses), list[Posted]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?a=b"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        posted = self.server.posted
        posted.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = self.server.statuses[min(len(posted), len(self.server.statuses)) - 1]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    with Receiver(*statuses) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def check_signature(secret: str, posted: Posted) -> None:
    """As the specification tells receivers to do it."""
    headers, body = posted
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.digest(base64.b64decode(secret.split("_")[1]), signed, hashlib.sha256)
    version, _, given = headers["webhook-signature"].partition(",")
    assert (version, base64.b64decode(given)) == ("v1", expected)
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300


def make(house: House, name: str, url: str) -> str:
    made = house.http.post("/api/v1/webhooks", json={"name": name, "url": url})
    assert made.status_code == 201, made.text
    secret: str = made.json()["secret"]
    shown = house.get("webhooks")["webhooks"]
    assert [one["url"] for one in shown if one["name"] == name] == [url]
    assert secret not in str(shown)
    return secret


def delivered(house: House, location: str, state: str = "delivered") -> dict[str, Any]:
    return until(
        lambda: (one := ended(house, location)["delivery"]) and one["state"] == state and one,
        what=f"{state} {location}",
    )


def test_an_answer_is_posted_and_signed(later: House) -> None:
    with receiving(200) as receiver:
        secret = make(later, "plain", receiver.url)
        location = accepted(defer(later, X_Webhook="plain"))
        assert delivered(later, location)["attempts"] == 1
        [posted] = receiver.posted
    check_signature(secret, posted)
    told, answer = json.loads(posted[1]), result(later, location)
    assert (told["type"], told["data"]["state"]) == ("inference.completed", "done")
    assert told["data"]["answer"] == answer.json()
    assert later.http.get(told["data"]["result"]).content == answer.content
    logs = "".join(path.read_text() for path in later.stack.home.folder("logs").glob("*"))
    assert secret.removeprefix("whsec_") not in logs


def test_secrets_are_sealed_anew_while_answers_go_out(later: House) -> None:
    with receiving(200, 200) as receiver:
        secret = make(later, "rotated", receiver.url)
        told = {line.partition(":")[0]: line for line in rotate(later.stack)}
        assert "sealed with a new key" in told["inference"]
        keys = later.stack.home.path / "work" / "inference" / "seal.keys"
        assert len(json.loads(keys.read_text())["keys"]) == 1
        delivered(later, accepted(defer(later, X_Webhook="rotated")))
        [posted] = receiver.posted
    check_signature(secret, posted)


def test_binary_answers_are_posted_too_and_large_ones_only_told(later: House) -> None:
    with receiving(204) as receiver:
        make(later, "binary", receiver.url)
        for size in (4, 200_000):
            body, headers = binary(size)
            delivered(later, accepted(defer(later, body, X_Webhook="binary", **headers)))
        small, large = (json.loads(body)["data"] for _, body in receiver.posted)
    found = arrays.decode(base64.b64decode(small["answer_base64"]), str(small["header_length"]))["y"]
    assert found.shape == (1, 4) and np.isfinite(found).all()
    assert "answer_base64" not in large and large["result"]


@pytest.mark.parametrize("failure", [500, 302])
def test_a_failure_is_tried_again(later: House, failure: int) -> None:
    with receiving(failure, failure, 200) as receiver:
        secret = make(later, f"again-{failure}", receiver.url)
        location = accepted(defer(later, X_Webhook=f"again-{failure}"))
        assert delivered(later, location)["attempts"] == 3
        assert len(receiver.posted) == 3
    for posted in receiver.posted:
        check_signature(secret, posted)
    assert {headers["webhook-id"] for headers, _ in receiver.posted} == {location.rpartition("/")[2]}


def test_who_is_gone_is_given_up(later: House) -> None:
    with receiving(410) as receiver:
        make(later, "gone", receiver.url)
        location = accepted(defer(later, X_Webhook="gone"))
        given_up = delivered(later, location, "abandoned")
    assert (given_up["attempts"], "410" in given_up["problem"]) == (1, True)
    until(lambda: "DeliveryAbandoned" in facts(later, location.rpartition("/")[2]), what="the announcement")
    assert result(later, location).status_code == 200


def test_who_is_away_is_waited_for(later: House) -> None:
    """A receiver that nobody listens for, then a webhook that is deleted."""
    with receiving(200) as receiver:
        url = receiver.url
    make(later, "away", url)
    location = accepted(defer(later, X_Webhook="away"))
    waiting = until(lambda: (one := ended(later, location)["delivery"])["attempts"] > 1 and one, what="attempts")
    assert (waiting["state"], bool(waiting["problem"]), bool(waiting["next_at"])) == ("waiting", True, True)
    assert later.http.delete("/api/v1/webhooks/away").status_code == 204
    assert "deleted" in delivered(later, location, "abandoned")["problem"]
    assert later.http.delete("/api/v1/webhooks/away").status_code == 404


WRONG = (
    "",
    "ftp://a/b",
    "https://",
    "https://user:word@example.com/",
    "https://example.com:70000/",
    "https://a b/",
    "/",
)


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_refused(later: House, url: str) -> None:
    refused: httpx.Response = later.http.post("/api/v1/webhooks", json={"name": "wrong", "url": url})
    assert (refused.status_code, refused.json()["field"]) == (422, "url"), refused.text


def test_a_webhook_that_nobody_made_is_refused(later: House) -> None:
    for name in ("nobody", "No Body"):
        refused = defer(later, X_Webhook=name)
        assert (refused.status_code, "X-Webhook" in refused.json()["error"]) == (400, True)
    with receiving(200) as receiver:
        make(later, "twice", receiver.url)
        again = later.http.post("/api/v1/webhooks", json={"name": "twice", "url": receiver.url})
    assert (again.status_code, again.json()["field"]) == (409, "name")
