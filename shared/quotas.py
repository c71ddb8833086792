"""What the gateways keep of quotas: those that a project has used up, in the bucket of credentials."""

from datetime import date

from pydantic import BaseModel, ConfigDict

QUOTA = "quota"
STORAGE_BYTES = "storage_bytes"
FREE = "delete versions that nobody needs (data sets without versions go by themselves)"


class UsedUp(BaseModel):
    """A quota that a project has used up, and the day (UTC) on which it begins anew."""

    model_config = ConfigDict(frozen=True)
    quota: str
    limit: int
    renews_on: date | None = None

    def told(self) -> str:
        """What a person reads, and what to do."""
        name = self.quota.replace("_", " ")
        anew = f"; it begins anew on {self.renews_on.isoformat()} at 00:00 UTC" if self.renews_on else ""
        at_once = FREE if self.quota == STORAGE_BYTES else "wait until some have ended, or cancel some"
        todo = "wait for it" if self.renews_on else at_once
        return (
            f"the quota '{self.quota}' of this project is used up: {self.limit} {name}{anew}; {todo}, or ask an"
            " administrator of the platform for more"
        )


class ProjectState(BaseModel):
    """An entry of the bucket: the quotas that refuse predictions of a project now, and the one that refuses files."""

    model_config = ConfigDict(frozen=True)
    used_up: tuple[UsedUp, ...] = ()
    storage: UsedUp | None = None


def quota_name(project: str) -> str:
    return f"{QUOTA}.{project}"
