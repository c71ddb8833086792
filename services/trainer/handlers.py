"""What trainer answers and obeys: tasks to accept, the library to show."""

from typing import Any

import library
from library.base import Model
from services.trainer import store
from services.trainer.acceptance import accept_optimisation, accept_training
from services.trainer.admission.desk import decide, queues
from services.trainer.domain import KIND, OPTIMISE, alike, brought, ordered
from services.trainer.looking import LOOKING_RPC
from services.trainer.parts import Parts, Work
from services.trainer.pipelines.handlers import PIPELINE_RPC, TOLD, keep_fact
from services.trainer.preparation import PrepareJob
from services.trainer.runs.handlers import RUN_RPC
from services.trainer.schedules.handlers import SCHEDULE_RPC, TRIGGERS, on_trigger
from services.trainer.tuning.handlers import TUNING_RPC
from shared.commands.trainer import TrainModel
from shared.errors import InvalidInput
from shared.events.base import Event
from shared.handlers import Handlers
from shared.rpc.artifacts import PAGE, ListReferences, References
from shared.rpc.inference import SubmitBatch
from shared.rpc.registry import GetDataset, GetVersion, PromoteVersion, RegisterDataset
from shared.rpc.tasks import CancelTask, GetTask
from shared.rpc.trainer import (
    Admission,
    AskAdmission,
    CloneTask,
    GetQueues,
    Library,
    LibraryMember,
    ListLibrary,
    Queues,
    SubmitDataset,
    SubmitOptimisation,
    SubmitTask,
    TaskAccepted,
)
from shared.rpc.usage import CheckTaskQuota
from shared.tasks import store as tasks
from shared.tasks.handlers import TASK_RPC
from shared.tasks.quota import check_quota
from shared.tasks.run import accept
from shared.tasks.store import new_task_id


async def submit_task(request: SubmitTask, work: Work) -> TaskAccepted:
    await check_quota(work, KIND)
    task = await accept_training(work, new_task_id(KIND), request)
    return TaskAccepted(id=task.id, correlation_id=work.context.correlation_id)


async def clone_task(request: CloneTask, work: Work) -> TaskAccepted:
    """Accept a training like an earlier one, on its data set; the terms are the request's."""
    earlier = await tasks.find(work.tx, work.project, request.task_id)
    return await submit_task(alike(earlier.kind, earlier.model, earlier.spec, request), work)


async def ask_admission(request: AskAdmission, work: Work) -> Admission:
    return await decide(work.tx, request, work.parts.settings.project_weights)


async def get_queues(request: GetQueues, work: Work) -> Queues:
    return await queues(work.tx, work.parts.settings.project_weights)


async def on_train_model(command: TrainModel, work: Work) -> None:
    """Accept a training task once per request_id."""
    if not command.request_id:
        raise InvalidInput("a command needs a request_id, which makes its repeat harmless", field="request_id")
    task_id = new_task_id(KIND)
    await check_quota(work, KIND)
    if await store.take_request(work.tx, work.project, command.request_id, task_id):
        await accept_training(work, task_id, ordered(command))


async def on_happened(event: Event, work: Work) -> None:
    """Keep what pipelines may go on by, and give schedules their turns."""
    await keep_fact(event, work)
    if isinstance(event, TRIGGERS):
        await on_trigger(event, work)


async def submit_dataset(request: SubmitDataset, work: Work) -> TaskAccepted:
    await check_quota(work, PrepareJob.kind)
    made = brought(request.name, request.like, request.digest, request.format)
    task = await accept(work, PrepareJob.kind, "", made.model_dump(mode="json"))
    work.then(work.parts.runner.wake)
    return TaskAccepted(id=task.id, correlation_id=work.context.correlation_id)


async def submit_optimisation(request: SubmitOptimisation, work: Work) -> TaskAccepted:
    await check_quota(work, OPTIMISE)
    task = await accept_optimisation(work, request)
    return TaskAccepted(id=task.id, correlation_id=work.context.correlation_id)


async def list_references(request: ListReferences, work: Work) -> References:
    digests = await store.named_artifacts(work.tx, request.after, PAGE)
    return References(digests=digests, datasets=await store.used_datasets(work.tx), more=len(digests) == PAGE)


async def list_library(request: ListLibrary, parts: Parts) -> Library:
    members = [_member(model) for _, model in sorted(library.models().items())]
    return Library(members=members, problems=library.problems())


def _member(model: Model[Any]) -> LibraryMember:
    described = model.describe().model_dump(mode="json")
    inputs = [_input(name, datatype, model) for name, datatype in _datatypes(model)]
    features = library.data_set(model.dataset).schema.model_dump(mode="json", exclude_defaults=True)["features"]
    facts = described | {"gate": described["gate"]["conditions"], "example": {"inputs": inputs}, "features": features}
    return LibraryMember.model_validate(facts)


def _datatypes(model: Model[Any]) -> list[tuple[str, str]]:
    return [(spec.name, spec.datatype) for spec in model.signature.inputs]


def _input(name: str, datatype: str, model: Model[Any]) -> dict[str, Any]:
    """One input of an example request, as the Open Inference Protocol writes it in JSON."""
    array = model.example()[name]
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}


HANDLERS = Handlers(
    "trainer",
    events=dict.fromkeys((*TRIGGERS, *TOLD), on_happened),
    commands={TrainModel: on_train_model},
    rpc={
        SubmitTask: submit_task,
        CloneTask: clone_task,
        AskAdmission: ask_admission,
        GetQueues: get_queues,
        SubmitDataset: submit_dataset,
        SubmitOptimisation: submit_optimisation,
        ListReferences: list_references,
        **SCHEDULE_RPC,
        **PIPELINE_RPC,
        **TUNING_RPC,
        **TASK_RPC,
        **RUN_RPC,
        **LOOKING_RPC,
    },
    memory_rpc={ListLibrary: list_library},
    asks=(
        CheckTaskQuota.subject(),
        GetDataset.subject(),
        GetVersion.subject(),
        RegisterDataset.subject(),
        PromoteVersion.subject(),
        SubmitBatch.subject(),
        *map(GetTask.subject, ("inference", "evaluator")),
        *map(CancelTask.subject, ("inference", "evaluator")),
    ),
)
