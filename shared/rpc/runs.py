"""Requests about the runs of other programs, which trainer answers: they come over MLflow's protocol.

Times are milliseconds since 1970, as their clients say them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.errors import Conflict
from shared.names import Digest
from shared.rpc.base import Done, Reply, Request

Lifecycle = Literal["active", "deleted"]
View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
ModelStatus = Literal["LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"]
Key = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,250}$")]
Text = Annotated[str, StringConstraints(max_length=64 * 1024)]
Moment = Annotated[int, Field(ge=0, lt=2**53)]
Name = Annotated[str, StringConstraints(max_length=500)]
OrderText = Annotated[str, StringConstraints(max_length=520)]
FilePath = Annotated[str, StringConstraints(max_length=1000)]
Texts = dict[Key, Text]
Page = Annotated[int, Field(ge=1, le=50_000)]
MOST_AT_ONCE = 2000


class RunCancelled(Conflict):
    """This run was cancelled."""

    code = "run_cancelled"


class ExperimentView(Reply):
    """An experiment: a folder of runs."""

    id: str
    name: str
    lifecycle: Lifecycle
    tags: dict[str, str] = {}
    created_at: int
    updated_at: int


class Experiments(Reply):
    """A page of experiments; `after` is where the next one begins."""

    experiments: list[ExperimentView] = []
    after: int | None = None


class Measured(Reply):
    """A scalar: of a run, and of a model where one is named."""

    model_config = ConfigDict(ser_json_inf_nan="strings")
    name: Key
    value: float
    step: int = Field(default=0, ge=-(2**63), lt=2**63)
    at: Moment = 0
    model: str = ""


class RunView(Reply):
    """A run with its last scalars."""

    id: str
    experiment: str
    name: str
    user: str
    status: Status
    lifecycle: Lifecycle
    started_at: int
    ended_at: int | None = None
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: list[Measured] = []
    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []


class Runs(Reply):
    """A page of runs; `after` is where the next one begins."""

    runs: list[RunView] = []
    after: int | None = None


class History(Reply):
    """A page of a series as it was said; `after` is where the next one begins."""

    points: list[Measured] = []
    after: int | None = None


class LoggedModel(Reply):
    """A model that a run has brought: files that nobody here opens."""

    id: str
    experiment: str
    name: str
    model_type: str
    run: str
    status: ModelStatus
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    metrics: list[Measured] = []
    created_at: int
    updated_at: int


class LoggedModels(Reply):
    """A page of models; `after` is where the next one begins."""

    models: list[LoggedModel] = []
    after: int | None = None


class RunFile(Reply):
    """A file, or a folder, below a path."""

    name: str
    size: int | None = None
    digest: str = ""


class RunFiles(Reply):
    """What lies directly below a path."""

    files: list[RunFile] = []


class Search(BaseModel):
    """Which part of which list: a filter and an order in MLflow's words."""

    model_config = ConfigDict(extra="forbid")
    filter: str = Field(default="", max_length=10_000)
    order_by: list[OrderText] = Field(default=[], max_length=20)
    limit: Page = 1000
    offset: int = Field(default=0, ge=0, lt=2**31)
    view: View = "ACTIVE_ONLY"


class CreateExperiment(Request[ExperimentView]):
    """Make an experiment."""

    name: Key
    tags: Texts = {}


class FindExperiment(Request[ExperimentView]):
    """Show an experiment by its number or by its name."""

    id: str | None = None
    name: str | None = None


class ChangeExperiment(Request[Done]):
    """Rename, tag, delete or restore an experiment."""

    id: str
    name: Key | None = None
    lifecycle: Lifecycle | None = None
    tags: Texts = {}
    dropped: list[Key] = []


class SearchExperiments(Request[Experiments]):
    """Search the experiments of the project."""

    search: Search = Search()


class StartRun(Request[RunView]):
    """Begin a run, which is a task of kind run from now on."""

    experiment: str = "0"
    name: Name = ""
    user: str = Field(default="", max_length=250)
    started_at: Moment = 0
    tags: Texts = {}


class ChangeRun(Request[RunView]):
    """Rename, end, delete or restore a run."""

    id: str
    name: Name | None = None
    status: Status | None = None
    ended_at: Moment | None = None
    lifecycle: Lifecycle | None = None


class LogRun(Request[Done]):
    """Add to a run what its client says of it; `described` is JSON about a model that it brought."""

    id: str
    described: Text = ""
    metrics: list[Measured] = Field(default=[], max_length=MOST_AT_ONCE)
    parameters: Texts = {}
    tags: Texts = {}
    dropped: list[Key] = []
    inputs: list[dict[str, Any]] = Field(default=[], max_length=MOST_AT_ONCE)
    outputs: list[dict[str, Any]] = Field(default=[], max_length=MOST_AT_ONCE)


class FindRun(Request[RunView]):
    """Show a run."""

    id: str


class SearchRuns(Request[Runs]):
    """Search the runs of some experiments."""

    experiments: list[str] = Field(default=[], max_length=1000)
    search: Search = Search()


class GetHistory(Request[History]):
    """Show all that was said of one scalar of a run."""

    id: str
    name: str
    limit: Annotated[int, Field(ge=1, le=5000)] = 5000
    offset: int = Field(default=0, ge=0, lt=2**31)


class KeepRunFile(Request[Done]):
    """Keep a file, of this digest, of a run or a model."""

    path: FilePath
    digest: Digest
    size: int = Field(ge=0)


class FindRunFile(Request[RunFile]):
    """Show the file of this very path."""

    path: FilePath


class ListRunFiles(Request[RunFiles]):
    """List what lies directly below a path."""

    path: FilePath


class DropRunFiles(Request[Done]):
    """Forget a file, or all below a path."""

    path: FilePath


class CreateLoggedModel(Request[LoggedModel]):
    """Begin a model, whose files follow."""

    experiment: str = "0"
    name: Name = ""
    model_type: Name = ""
    run: str = ""
    tags: Texts = {}
    params: Texts = {}


class ChangeLoggedModel(Request[LoggedModel]):
    """Finish, tag or delete a model, or add to its parameters."""

    id: str
    status: ModelStatus | None = None
    lifecycle: Lifecycle | None = None
    tags: Texts = {}
    params: Texts = {}
    dropped: list[Key] = []


class FindLoggedModel(Request[LoggedModel]):
    """Show a model."""

    id: str


class SearchLoggedModels(Request[LoggedModels]):
    """Search the models of some experiments."""

    experiments: list[str] = Field(default=[], max_length=1000)
    search: Search = Search()
