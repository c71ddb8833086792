"""What a webhook may be, what is posted to it, signed as Standard Webhooks has it, and when again; pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from services.inference.deferred.domain import Inference, State
from shared.errors import InvalidInput
from shared.outbound import is_public

SECRET_PREFIX: Final = "whsec_"  # noqa: S105
SECRET_BYTES: Final = 32
MOST_WEBHOOKS: Final = 100
CARRIED_BYTES: Final = 256 * 1024
PAUSE_SECONDS_MAX: Final = 3600.0
FIELD: Final = "url"
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(:(?P<port>[0-9]{1,5}))?([/?][!-~]*)?"
)


def check_url(url: str, *, inside: bool) -> str:
    """The URL of a webhook.

    Raises InvalidInput for what is no URL of https, or where `inside` is false leads to an address of inside at once.
    """
    found = _URL.fullmatch(url)
    if found is None or "#" in url or not 0 < int(found["port"] or 443) < 65536:
        raise InvalidInput("this is no URL as https://host/path, without a user and without a fragment", field=FIELD)
    if found["scheme"] != "https" and not inside:
        raise InvalidInput("a webhook must be reached over https", field=FIELD)
    if not inside and is_literal(host := urlsplit(url).hostname or "") and not is_public(host):
        raise InvalidInput("this address is private, of this machine or of its link; webhooks are public", field=FIELD)
    return url


def is_literal(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def purpose(project: str, name: str) -> str:
    """What a webhook's secret is sealed for; the same in SQL, in `store.SECRETS`."""
    return f"webhook {project}/{name}"


def signed(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that let a receiver know that the body is ours, and of now; timestamp in seconds."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    told = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
        "content-type": "application/json",
        "user-agent": "aimass",
    }


def message(ended: Inference, answer: bytes | None) -> bytes:
    """What is posted: facts about the request, and the answer itself where it is given here."""
    data: dict[str, Any] = {
        "id": ended.id,
        "model": ended.model,
        "version": int(ended.reply_version) if ended.reply_version else None,
        "state": ended.state.value,
        "status": ended.status,
        "result": f"/api/v1/inferences/{ended.id}/result",
    }
    if answer is not None and ended.reply_header_length is not None:
        data |= {"header_length": ended.reply_header_length, "answer_base64": base64.b64encode(answer).decode()}
    kind = "completed" if ended.state is State.DONE else "failed"
    told = {"type": f"inference.{kind}", "timestamp": _rfc3339(ended.ended_at), "data": data}
    written = json.dumps(told, separators=(",", ":")).encode()
    if answer is None or ended.reply_header_length is not None:
        return written
    return b"".join((written[:-2], b',"answer":', answer, b"}}"))


def _rfc3339(moment: datetime | None) -> str:
    assert moment is not None
    return moment.isoformat().replace("+00:00", "Z")


def carries(ended: Inference) -> bool:
    """Whether the answer is small enough to be posted; else the receiver fetches it."""
    return (ended.reply_size or 0) <= CARRIED_BYTES


def pause(attempts: int, first_seconds: float, chance: float) -> float:
    """The seconds before a delivery is tried again after so many attempts: doubling, jitter by a chance in 0..1."""
    return min(PAUSE_SECONDS_MAX, first_seconds * 2.0 ** min(attempts - 1, 20)) * (0.5 + chance / 2)
