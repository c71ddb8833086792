"""The load: clients that journal what they ask for before they send it, and ask with the same key until answered."""

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.deferred import MODEL, PATH, PREFER
from tests.faults.mixed.journal import Journal
from tests.house import House

TRAINED = "breast-cancer-mlp"
TRIED_AGAIN = (409, 429, 500, 502, 503, 504)
MADE_BEFORE = "this Idempotency-Key made the API key"  # asked again, it is not shown: an acknowledgement too
ANSWER_SECONDS = 20.0
TRAININGS_AT_ONCE = 2
TRAINING_PAUSE = 20  # times that of the others: each has to be loaded and evaluated too
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Submission:
    """What a client asks for: its name is its key."""

    kind: str
    name: str
    method: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def tensors(value: float) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [value, 2.5, -3]}]}


def submission(kind: str, name: str, number: int) -> Submission:
    """A name is in no other submission; what follows from it can be counted by it."""
    return {
        "defer": Submission(kind, name, "POST", PATH, tensors(number), PREFER),
        "key": Submission(kind, name, "POST", "/api/v1/api-keys", {"name": name, "roles": ["viewer"]}),
        "alias": Submission(kind, name, "PUT", f"/api/v1/models/{MODEL}/aliases/{name}", {"version": 1}),
        "train": Submission(
            kind,
            name,
            "POST",
            "/api/v1/tasks",
            {"kind": "train", "model": TRAINED, "config": {"epochs": 2, "seed": number}},
        ),
    }[kind]


class Load:
    """Clients in threads, until `finish`; what is asked for by then is asked for until it is answered."""

    def __init__(self, house: House, journal: Journal, seed: str, pause: float, clients: int = 3) -> None:
        self._house, self._journal, self._seed, self._pause = house, journal, seed, pause
        self._ended = threading.Event()
        self._wrong: list[str] = []
        turns = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(clients)]
        self._threads = [*turns, threading.Thread(target=self._train, daemon=True)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float) -> list[str]:
        """Ask for nothing new; returns what went wrong with answers, and names clients that got none."""
        self._ended.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return self._wrong + ["a client got no answer" for thread in self._threads if thread.is_alive()]

    def _ask(self, client: int) -> None:
        chance = random.Random(f"{self._seed}-client-{client}")
        with self._house.client(self._house.key) as http:
            number = 0
            while not self._ended.wait(self._pause * chance.uniform(0.5, 1.5)):
                number += 1
                kind = chance.choices(("defer", "key", "alias", "predict"), (5, 2, 2, 4))[0]
                if kind == "predict":
                    self._predict(http, float(number))
                else:
                    self._submit(http, submission(kind, f"{kind}-{client}-{number}", number))

    def _train(self) -> None:
        running: list[str] = []
        with self._house.client(self._house.key) as http:
            number = 0
            while not self._ended.wait(TRAINING_PAUSE * self._pause):
                running = [task for task in running if not self._has_ended(http, task)]
                if len(running) < TRAININGS_AT_ONCE:
                    number += 1
                    running.append(self._submit(http, submission("train", f"train-{number}", number)))

    def _submit(self, http: httpx.Client, asked: Submission) -> str:
        """Its id; refused for good counts as wrong, as nothing that is asked for here may be."""
        self._journal.write("asked", kind=asked.kind, name=asked.name)
        headers = asked.headers | {"Idempotency-Key": asked.name}
        while True:
            answer = self._send(http, asked.method, asked.path, asked.body, headers)
            if answer is not None and (answer.status_code not in TRIED_AGAIN or MADE_BEFORE in answer.text):
                break
            time.sleep(0.3)
        if answer.status_code >= httpx.codes.BAD_REQUEST and MADE_BEFORE not in answer.text:
            self._wrong.append(f"{asked.name}: {answer.status_code} {answer.text[:200]}")
            self._journal.write("refused", kind=asked.kind, name=asked.name, status=answer.status_code)
            return ""
        found = str(answer.json().get("id", asked.name))
        self._journal.write("acknowledged", kind=asked.kind, name=asked.name, id=found)
        return found

    def _predict(self, http: httpx.Client, value: float) -> None:
        """No promise that it is answered; but no answer may be wrong."""
        answer = self._send(http, "POST", PATH, tensors(value), {})
        if answer is None or answer.status_code in TRIED_AGAIN:
            self._journal.write("unanswered", status=answer.status_code if answer else 0)
        elif answer.status_code != httpx.codes.OK or answer.json()["outputs"][0]["data"] != [2 * value, 5, -6]:
            self._wrong.append(f"predict {value}: {answer.status_code} {answer.text[:200]}")
        else:
            self._journal.write("answered")

    def _has_ended(self, http: httpx.Client, task: str) -> bool:
        answer = self._send(http, "GET", f"/api/v1/tasks/{task}", None, {})
        return not task or (answer is not None and answer.is_success and answer.json()["state"] in ENDED)

    @staticmethod
    def _send(http: httpx.Client, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response | None:
        try:
            return http.request(method, path, json=body, headers=headers, timeout=ANSWER_SECONDS)
        except httpx.TransportError:
            return None
