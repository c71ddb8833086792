"""Entries of the bucket `credentials` about projects and models: who is archived, shared, and tagged."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.names import Slug

ARCHIVED = "project"
SHARE = "share"
TAGS = "tags"
EVERYBODY = "*"
Level = Literal["read", "infer"]


class SharedModel(BaseModel):
    """To whom a model is shown, and who may ask it for predictions, which includes that."""

    model_config = ConfigDict(frozen=True)
    read: frozenset[str] = frozenset()
    infer: frozenset[str] = frozenset()

    def allows(self, project: str, level: Level) -> bool:
        """Whether people of this project may, by name or as everybody."""
        may = self.infer if level == "infer" else self.infer | self.read
        return project in may or EVERYBODY in may


class TaggedModel(BaseModel):
    """The tags of a model, which grants may be limited to; put by registry."""

    model_config = ConfigDict(frozen=True)
    tags: frozenset[Slug]


def archived_name(project: str) -> str:
    """The name of the entry that an archived project has."""
    return f"{ARCHIVED}.{project}"


def owned(project: str, model: str) -> tuple[str, str]:
    """Whose model people of a project mean, and its name there: their own, or a shared one as <project>.<model>."""
    owner, _, name = model.rpartition(".")
    return owner or project, name


def called(project: str, owner: str, model: str) -> str:
    """How people of a project name a model of this owner."""
    return model if owner == project else f"{owner}.{model}"


def credential(project: str, key: str, owner: str) -> str:
    """Who asks for a prediction; of a model of another project also of which one, where it is logged."""
    return key if owner == project else f"{project}/{key}"


def share_name(project: str, model: str) -> str:
    return f"{SHARE}.{project}.{model}"


def tags_name(project: str, model: str) -> str:
    return f"{TAGS}.{project}.{model}"
