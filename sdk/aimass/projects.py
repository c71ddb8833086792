"""Projects, which are tenants, and the models that they share."""

from typing import TypedDict

from aimass.calls import Call, call, get, nothing
from aimass.methods import method


class Project(TypedDict):
    """A project; nobody of an archived one is let in."""

    name: str
    title: str
    created_by: str
    created_at: str | None
    archived_at: str | None


class NewProject(Project):
    """A project and its first administrator, whose key or password is shown this once."""

    key_id: str
    secret: str
    user_id: str
    user: str
    password: str


class Share(TypedDict):
    """A model that a project, or everybody (`*`), may read or ask for predictions."""

    id: str
    model: str
    shared_to: str
    level: str
    created_by: str
    created_at: str | None


class Projects:
    """What a client can do with projects and shared models."""

    @method
    def projects(self) -> Call[list[Project]]:
        """All projects to people of `default`, their own to others."""
        return get("projects", take="projects")

    @method
    def create_project(self, name: str, *, title: str = "", user: str | None = None) -> Call[NewProject]:
        """Make a project whose first administrator is a key, or this new user."""
        return call("POST", "projects", json={"name": name, "title": title, "user": user})

    @method
    def project(self, name: str) -> Call[Project]:
        """One project."""
        return get(f"projects/{name}")

    @method
    def change_project(self, name: str, *, title: str | None = None, archived: bool | None = None) -> Call[Project]:
        """Give a project another title; archive it, which ends its keys and sessions, or restore it."""
        return call("PATCH", f"projects/{name}", json={"title": title, "archived": archived})

    @method
    def shares(self, model: str) -> Call[list[Share]]:
        """With whom a model is shared."""
        return get(f"models/{model}/shares", take="shares")

    @method
    def share_model(self, model: str, shared_to: str, level: str = "infer") -> Call[Share]:
        """Let another project, or everybody (`*`), read a model (`read`) or ask it for predictions (`infer`) too."""
        return call("POST", f"models/{model}/shares", json={"shared_to": shared_to, "level": level})

    @method
    def unshare_model(self, model: str, share_id: str) -> Call[None]:
        """Share a model no more."""
        return nothing("DELETE", f"models/{model}/shares/{share_id}")
