"""One example a member of the library: a person's question, asked of the model that serves on the running stack."""

import os
from pathlib import Path

from aimass import Client

from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of


def connected() -> Client:
    """The client of AIMASS_URL and AIMASS_API_KEY, or else of the stack of this checkout."""
    if url := os.environ.get("AIMASS_URL"):
        return Client(url, os.environ["AIMASS_API_KEY"])
    return client_of(Stack(Path(DEFAULT_HOME), say=lambda line: None).info)
