"""Settings of inference, prefix INFERENCE_."""

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Where Triton is and how much this node takes on."""

    model_config = SettingsConfigDict(env_prefix="INFERENCE_", extra="ignore", frozen=True)

    triton_url: str = "http://127.0.0.1:8000"
    triton_repository: Path = Path("triton")
    triton_backend: Literal["python", "onnxruntime"] = "python"
    triton_access_header_name: str = "aimass-access"
    triton_access_header_value: SecretStr = SecretStr("")
    node: str = Field(default_factory=socket.gethostname)
    node_lease_seconds: float = Field(default=10, gt=0)
    max_waiting: int = Field(default=512, ge=1)
    calls_at_once: int = Field(default=1, ge=1, description="calls to Triton under way for one version")
    staged_cap: int = Field(default=3, ge=1)
    staged_hours: float = Field(default=24, gt=0)
