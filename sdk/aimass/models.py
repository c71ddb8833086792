"""Models, their versions and aliases, and what serves."""

from collections.abc import Sequence
from pathlib import Path

from aimass import types as t
from aimass.calls import Call, Flow, Item, Items, bring, call, download, get, nothing
from aimass.methods import method, stream


class Models:
    """What a client can do with models and versions."""

    @method
    def models(
        self,
        q: str = "",
        *,
        task_type: str = "",
        tag: str | None = None,
        archived: bool = False,
        as_of: str | None = None,
    ) -> Call[list[t.Model]]:
        """Models by name, now or at a time (RFC 3339); `q` is looked for in name, labels and cards."""
        filters = {"q": q, "task_type": task_type, "tag": tag, "archived": archived, "as_of": as_of}
        return get("models", filters, take="models")

    @method
    def model(self, name: str, *, as_of: str | None = None) -> Call[t.Model]:
        """A model with its aliases, now or at a time (RFC 3339)."""
        return get(f"models/{name}", {"as_of": as_of})

    @method
    def versions(self, model: str, q: str = "", *, archived: bool = False) -> Call[list[t.Version]]:
        """The newest versions of a model, newest first; `q` is looked for in labels and cards."""
        return get(f"models/{model}/versions", {"q": q, "archived": archived}, take="versions")

    @stream
    def each_version(self, model: str, *, archived: bool = False, page: int = 100) -> Items[t.Version]:
        """All versions of a model, newest first, asked for `page` at a time as the caller goes on."""
        before: int | None = None
        while True:
            params = {"archived": archived, "before": before, "limit": page}
            found: list[t.Version] = yield from get(f"models/{model}/versions", params, take="versions")
            for version in found:
                yield Item(version)
            if len(found) < page:
                return
            before = found[-1]["version"]

    @method
    def version(self, model: str, version: int) -> Call[t.Version]:
        """A version: its artifact, lineage, card and evaluation."""
        return get(f"models/{model}/versions/{version}")

    @method
    def promote(
        self, model: str, version: int, alias: str = "champion", *, expected: int | None = None, force: str = ""
    ) -> Call[t.Version]:
        """Point an alias at a version; with `expected` only if it points there now.

        `force` is the reason to promote without a passed evaluation.
        """
        body = {"version": version, "expected": expected, "force": bool(force), "reason": force}
        return call("PUT", f"models/{model}/aliases/{alias}", json=body)

    @method
    def upload(
        self,
        model: str,
        file: Path,
        *,
        dataset: str | None = None,
        task_type: str | None = None,
        labels: Sequence[str] = (),
        summary: str = "",
        auto_promote: bool = False,
        key: str = "",
    ) -> Call[t.Version]:
        """Bring an ONNX file as the next version of a model; the same idempotency key twice is one version."""
        params = {
            "dataset": dataset,
            "task_type": task_type,
            "label": list(labels),
            "summary": summary,
            "auto_promote": auto_promote,
        }
        return bring(f"models/{model}/versions", file, params, key)

    @method
    def import_version(self, model: str, file: Path, *, auto_promote: bool = False, key: str = "") -> Call[t.Version]:
        """Bring a version that was exported, as the next version of a model."""
        return bring(f"models/{model}/imports", file, {"auto_promote": auto_promote}, key)

    @method
    def export_version(self, model: str, version: int, target: Path) -> Flow[Path]:
        """Take a version as one file, a zip of model and manifest."""
        return download(f"models/{model}/versions/{version}/export", target)

    @method
    def archive_model(self, model: str, archived: bool = True) -> Call[t.Model]:
        """Hide a model from lists and promotion, or show it again."""
        return call("PATCH", f"models/{model}", json={"archived": archived})

    @method
    def set_tags(self, model: str, tags: Sequence[str]) -> Call[t.Model]:
        """Let a model have these tags and no others."""
        return call("PUT", f"models/{model}/tags", json={"tags": list(tags)})

    @method
    def archive_version(self, model: str, version: int, archived: bool = True) -> Call[t.Version]:
        """Hide a version from lists and promotion, or show it again."""
        return call("PATCH", f"models/{model}/versions/{version}", json={"archived": archived})

    @method
    def delete_version(self, model: str, version: int) -> Call[None]:
        """Delete a version for ever; not the champion, nor one that serves."""
        return nothing("DELETE", f"models/{model}/versions/{version}")

    @method
    def compare(self, model: str, version: int, other: int) -> Call[t.Comparison]:
        """Two versions: parameters that differ, metrics side by side."""
        return get(f"models/{model}/versions/{version}/comparison", {"other": other})

    @method
    def collect_garbage(self, *, dry_run: bool = True, grace_hours: float = 24) -> Call[t.Garbage]:
        """Collect artifacts that nobody names and data sets that nobody uses, or only count them."""
        return call("POST", "artifacts/collection", json={"dry_run": dry_run, "grace_hours": grace_hours})

    @method
    def evaluations(self, model: str | None = None, version: int | None = None) -> Call[list[t.Evaluation]]:
        """Evaluations, newest first."""
        return get("evaluations", {"model": model, "version": version}, take="evaluations")

    @method
    def evaluation(self, evaluation_id: str) -> Call[t.Evaluation]:
        """An evaluation with its verdict and its report."""
        return get(f"evaluations/{evaluation_id}")

    @method
    def deployments(self, model: str | None = None, *, as_of: str | None = None) -> Call[list[t.Deployment]]:
        """Which versions are deployed, and in which state, now or at a time (RFC 3339)."""
        return get("deployments", {"model": model, "as_of": as_of}, take="deployments")

    @method
    def resources(self, model: str) -> Call[t.Resources]:
        """What is wanted for a model on each node, and what its versions have there now."""
        return get(f"models/{model}/resources")

    @method
    def set_resources(
        self, model: str, *, instances_min: int = 1, instances_max: int = 1, pinned: bool = False
    ) -> Call[t.Resources]:
        """Let a model's instances follow its demand within bounds, and pin it in memory or not."""
        body = {"instances_min": instances_min, "instances_max": instances_max, "pinned": pinned}
        return call("PUT", f"models/{model}/resources", json=body)
