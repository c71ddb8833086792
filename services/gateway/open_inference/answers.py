"""Replies of the data plane as answers over HTTP."""

from typing import Final

from services.gateway.open_inference.bodies import CONTENT_ENCODING, HEADER_LENGTH
from services.gateway.open_inference.compression import IDENTITY, PACKED_BYTES, WORTH_IT, compressed, preferred
from services.gateway.open_inference.protocol import JSON, Answer
from shared import frames

COPIED_BYTES: Final = 64 * 1024
OCTETS: Final = b"application/octet-stream"


def answer_of(reply: frames.Reply) -> Answer:
    """The answer that a reply is."""
    headers = [(b"content-type", JSON if reply.header_length is None else OCTETS)]
    if reply.header_length is not None:
        headers.append((HEADER_LENGTH, str(reply.header_length).encode()))
    if reply.retry_after is not None:
        headers.append((b"retry-after", str(reply.retry_after).encode()))
    return Answer(reply.status, bytes(reply.body) if len(reply.body) <= COPIED_BYTES else reply.body, headers)


async def packed(answer: Answer, accepted: bytes) -> Answer:
    """The answer as its caller likes it, where that makes it smaller; the length of its JSON header stays as it was."""
    if answer.status != 200 or not WORTH_IT <= len(answer.body) <= PACKED_BYTES:
        return answer
    encoding = preferred(accepted)
    if encoding == IDENTITY:
        return answer
    body = await compressed(answer.body, encoding)
    if len(body) >= len(answer.body):
        return answer
    return Answer(answer.status, body, [*answer.headers, (CONTENT_ENCODING, encoding)])
