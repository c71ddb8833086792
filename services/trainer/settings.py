"""The settings of trainer, prefix TRAINER_."""

from pathlib import Path

from pydantic import Field, PositiveFloat
from pydantic_settings import SettingsConfigDict

from shared.settings import TaskSettings

GIB = 1024**3
RAY_PYTHON = Path(__file__).resolve().parents[2] / ".venv-ray" / "bin" / "python"


class Settings(TaskSettings):
    """How many tasks run at once is up to what their node has; `project_weights` are of the fair shares."""

    model_config = SettingsConfigDict(env_prefix="TRAINER_", extra="ignore", frozen=True)

    task_workers: int = Field(default=64, ge=1, le=1000, description="tasks of this process at once")
    project_weights: dict[str, PositiveFloat] = Field(default={}, description="shares of projects, 1 where not given")
    run_silence_hours: float = Field(default=24, gt=0, description="a run whose client says nothing for so long failed")
    ray_address: str = Field(default="", description="host:port of a Ray cluster for tasks with place `ray`")
    ray_python: Path = Field(default=RAY_PYTHON, description="an interpreter with Ray and the platform's packages")
    ray_token_file: Path | None = Field(default=None, description="of a cluster with RAY_AUTH_MODE=token")
    ray_cores: float = Field(default=64, gt=0, description="cores of the cluster that tasks may take together")
    ray_memory: int = Field(default=256 * GIB, gt=0, description="bytes of it")
    ray_gpus: float = Field(default=64, ge=0, description="GPUs of it")
