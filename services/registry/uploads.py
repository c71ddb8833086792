"""Versions that people bring as a file, and take away as one."""

from pydantic import ValidationError

from services.registry import store
from services.registry.domain import Described, Manifest, with_reference
from services.registry.files import Checked
from services.registry.parts import Work
from shared.errors import Conflict, InvalidInput
from shared.events.models import VersionRegistered
from shared.rpc.registry import ExportedVersion, ExportVersion, RegisterImport, RegisterUpload, VersionView
from shared.tasks.quota import check_quota

EVALUATION = "evaluate"  # the task that evaluator makes of a version on a data set
NOT_EXPORTED = {"model", "version", "aliases", "archived", "actor", "derived_from"}


async def register_upload(request: RegisterUpload, work: Work) -> VersionView:
    checked = await work.parts.files.check(request.digest, "onnx")
    described = Described(
        model=request.model,
        digest=checked.digest,
        source="upload",
        task_type=request.task_type or "",
        code_version=checked.producer,
        labels=tuple(request.labels),
        signature=checked.signature,
        card=request.card,
    )
    if request.dataset and await store.find_dataset(work.tx, work.project, request.dataset, None) is None:
        raise InvalidInput(f"there is no data set {request.dataset!r}", field="dataset")
    known = await store.references(work.tx, work.project, request.model, request.dataset)
    return await _register(work, with_reference(described, known, request.dataset), request.auto_promote)


async def register_import(request: RegisterImport, work: Work) -> VersionView:
    """Believe the manifest, but for its evaluations and for data sets that are not known here."""
    checked = await work.parts.files.check(request.digest, "archive")
    described = _imported(request.model, checked)
    name, digest = described.dataset, described.dataset_digest
    if name is None or digest is None or await store.find_dataset(work.tx, work.project, name, digest) is None:
        described = described.model_copy(update={"dataset": None, "dataset_digest": None})
    return await _register(work, described, request.auto_promote)


def _imported(model: str, checked: Checked) -> Described:
    try:
        manifest = Manifest.model_validate(checked.manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"manifest.json: {where}: {first['msg']}", field="file") from None
    facts = manifest.model_dump() | {"dataset": manifest.dataset or None}
    facts |= {"dataset_digest": manifest.dataset_digest or None}
    brought = {"model": model, "digest": checked.digest, "source": "import", "signature": checked.signature}
    return Described.model_validate(facts | brought)


async def _register(work: Work, described: Described, auto_promote: bool) -> VersionView:
    if await store.lock_or_make_model(work.tx, work.project, described.model, described.task_type):
        raise Conflict(f"model {described.model!r} is archived", field="model")
    twin = await store.version_of_digest(work.tx, work.project, described.model, described.digest)
    if twin is not None:
        raise Conflict(f"version {twin} of {described.model!r} is this very file", field="file")
    if described.dataset is not None:
        await check_quota(work, EVALUATION)
    number = await add(work, described, auto_promote)
    return await store.get_version(work.tx, work.project, described.model, number)


async def add(work: Work, described: Described, auto_promote: bool) -> int:
    """Make it the next version of its model, which is locked, and say so; its number."""
    number = await store.insert_version(work.tx, work.project, described, work.context.actor)
    facts = {"version": number, "actor": work.context.actor, "auto_promote": auto_promote}
    work.say(VersionRegistered.model_validate(described.model_dump() | facts | await _data_set(work, described)))
    return number


async def _data_set(work: Work, described: Described) -> dict[str, object]:
    """What the event says of the data set; without one it says nothing."""
    if described.dataset is None:
        return {"dataset": "", "dataset_digest": ""}
    found = await store.find_dataset(work.tx, work.project, described.dataset, described.dataset_digest)
    assert found is not None
    return {"dataset_parts": found.parts}


async def export_version(request: ExportVersion, work: Work) -> ExportedVersion:
    view = await store.get_version(work.tx, work.project, request.model, request.version)
    facts = view.model_dump(mode="json", exclude=NOT_EXPORTED)
    digest, size = await work.parts.files.pack(view.digest, facts)
    return ExportedVersion(digest=digest, size=size, file_name=f"{view.model}-{view.version}.zip")
