"""Triton's model repository: whole folders, checked digests, and the configuration that Triton reads."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from services.inference.repository import Repository, config
from shared.errors import DigestMismatch, InvalidInput
from shared.events.common import Signature, TensorSpec

NAME = "default.digits-cnn.3"
DIGEST = sha256(b"onnx").hexdigest()


def signature(datatype: str = "FP32", *shape: int, name: str = "x") -> Signature:
    spec = TensorSpec(name=name, datatype=datatype, shape=shape or (-1, 4))
    return Signature(inputs=(spec,), outputs=(spec.model_copy(update={"name": "y"}),))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "models")
    found.prepare()
    return found


def test_a_version_is_laid_down_listed_and_removed(repository: Repository, tmp_path: Path) -> None:
    repository.write(NAME, signature(), b"onnx", DIGEST)
    folder = tmp_path / "models" / NAME
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"config.pbtxt", "1/model.py", "1/model.onnx"}
    assert (folder / "1" / "model.onnx").read_bytes() == b"onnx"
    assert repository.names() == [NAME]
    repository.remove(NAME)
    assert repository.names() == []
    assert not folder.exists()


def test_a_triton_that_has_the_runtime_gets_the_model_alone(tmp_path: Path) -> None:
    repository = Repository(tmp_path, "onnxruntime")
    repository.prepare()
    repository.write(NAME, signature(), b"onnx", DIGEST, threads=2)
    assert sorted(path.name for path in (tmp_path / NAME / "1").iterdir()) == ["model.onnx"]
    text = (tmp_path / NAME / "config.pbtxt").read_text()
    assert 'backend: "onnxruntime"' in text
    assert '"intra_op_thread_count" value { string_value: "2" }' in text


def test_writing_the_same_again_touches_nothing(repository: Repository, tmp_path: Path) -> None:
    repository.write(NAME, signature(), b"onnx", DIGEST)
    before = (tmp_path / "models" / NAME).stat()
    repository.write(NAME, signature(), b"onnx", DIGEST)
    assert (tmp_path / "models" / NAME).stat() == before


def test_another_count_of_instances_touches_no_other_file(repository: Repository, tmp_path: Path) -> None:
    """Triton keeps its processes where nothing else is newer."""
    repository.write(NAME, signature(), b"onnx", DIGEST)
    folder = tmp_path / "models" / NAME
    before, text = (folder / "1" / "model.py").stat(), (folder / "config.pbtxt").read_text()
    assert repository.instances(NAME) == 1
    repository.set_instances(NAME, 12)
    assert repository.instances(NAME) == 12
    assert (folder / "config.pbtxt").read_text() == text.replace("count: 1 ", "count: 12 ")
    assert (folder / "1" / "model.py").stat() == before
    repository.write(NAME, signature(), b"onnx", DIGEST, instances=3)
    assert repository.instances(NAME) == 3


def test_a_version_is_renewed_by_a_newer_file_of_the_same_content(repository: Repository, tmp_path: Path) -> None:
    repository.write(NAME, signature(), b"onnx", DIGEST)
    path = tmp_path / "models" / NAME / "1" / "model.onnx"
    os.utime(path, (1, 1))
    repository.renew(NAME)
    assert (path.read_bytes(), path.stat().st_mtime > 1) == (b"onnx", True)
    repository.renew("default.absent.1")


def test_other_content_replaces_the_folder(repository: Repository, tmp_path: Path) -> None:
    repository.write(NAME, signature(), b"onnx", DIGEST)
    repository.write(NAME, signature("INT64"), b"other", sha256(b"other").hexdigest())
    folder = tmp_path / "models" / NAME
    assert (folder / "1" / "model.onnx").read_bytes() == b"other"
    assert "TYPE_INT64" in (folder / "config.pbtxt").read_text()


def test_an_altered_artifact_leaves_nothing(repository: Repository) -> None:
    with pytest.raises(DigestMismatch):
        repository.write(NAME, signature(), b"altered", DIGEST)
    assert repository.names() == []


def test_what_an_interrupted_write_left_is_dropped(repository: Repository, tmp_path: Path) -> None:
    left = tmp_path / "models" / ".staging" / "tmp1" / "new"
    left.mkdir(parents=True)
    repository.prepare()
    assert list((tmp_path / "models").iterdir()) == []


def test_removing_what_is_not_there_is_no_error(repository: Repository) -> None:
    repository.remove(NAME)


@pytest.mark.parametrize("name", ["", "a.b", "a.b.c.d", "../x.b.1", "a.b/c.1", "A.b.1", ".staging", "a..1"])
def test_names_that_are_no_triton_names_are_refused(repository: Repository, name: str) -> None:
    with pytest.raises(InvalidInput, match="no Triton name"):
        repository.write(name, signature(), b"onnx", DIGEST)
    with pytest.raises(InvalidInput, match="no Triton name"):
        repository.remove(name)


def test_a_batched_model_gets_dynamic_batching() -> None:
    text = config(NAME, signature("FP32", -1, 1, 8, 8), 2)
    assert "max_batch_size: 64" in text
    assert "dims: [ 1, 8, 8 ]" in text
    assert "dynamic_batching { }" in text
    assert 'string_value: "2"' in text
    assert "kind: KIND_CPU count: 1" in text


def test_a_model_without_a_batch_axis_gets_none() -> None:
    text = config(NAME, signature("BYTES", 3, -1), 1)
    assert "max_batch_size: 0" in text
    assert "TYPE_STRING dims: [ 3, -1 ]" in text
    assert "dynamic_batching" not in text


def test_rows_of_scalars_travel_as_a_column() -> None:
    assert "dims: [ 1 ] reshape: { shape: [ ] }" in config(NAME, signature("FP32", -1), 1)


def test_numbers_of_rows_go_in_and_come_back(tmp_path: Path) -> None:
    text = config(NAME, signature(), 1)
    numbers = 'name: "aimass.numbers" data_type: TYPE_INT64 dims: [ 1 ]'
    assert f"input [ {{ {numbers} optional: true }} ]" in text
    assert f"output [ {{ {numbers} }} ]" in text
    assert "aimass" not in config(NAME, signature(), 1, "onnxruntime")
    with pytest.raises(InvalidInput, match="the platform uses itself"):
        config(NAME, signature(name="aimass.numbers"), 1)


def test_names_cannot_break_out_of_the_configuration() -> None:
    text = config(NAME, signature(name='x" } ] instance_group [ { "'), 1)
    assert text.count("\ninstance_group") == 1
    assert r"\" } ] instance_group [ { \"" in text
    with pytest.raises(InvalidInput, match="printable"):
        config(NAME, signature(name="x\ny"), 1)


@pytest.mark.parametrize("broken", [signature("BF16"), signature("FP8")])
def test_datatypes_that_the_runtime_lacks_are_refused(broken: Signature) -> None:
    with pytest.raises(InvalidInput, match="does not take"):
        config(NAME, broken, 1)


def test_a_tensor_without_any_dimension_is_refused() -> None:
    scalar = Signature(inputs=(TensorSpec(name="x", datatype="FP32"),))
    with pytest.raises(InvalidInput, match="no dimensions"):
        config(NAME, scalar, 1)
