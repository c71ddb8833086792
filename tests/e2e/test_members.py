"""Each member of the library goes the whole way: trained, evaluated as served, promoted and asked by a stock client."""

import io
from typing import Any

import numpy as np
import pytest
import tritonclient.http as client
from numpy.typing import NDArray
from PIL import Image

import library
from library.base import Part
from tests.house import House, until

FIGURES = {
    "breast-cancer-mlp": {"accuracy", "macro_f1", "log_loss", "roc_auc"},
    "diabetes-mlp": {"rmse", "mae", "r2"},
}
members = pytest.mark.parametrize("model", FIGURES)


def train(house: House, model: str, **config: Any) -> str:
    answer = house.http.post("/api/v1/tasks", json={"kind": "train", "model": model, "config": {"seed": 1} | config})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def evaluated(house: House, model: str, task: str) -> tuple[int, dict[str, Any]]:
    """The number of the version that this task made, and its evaluation."""
    assert house.wait_task(task)["state"] == "succeeded"

    def version() -> int | None:
        answer = house.http.get(f"/api/v1/models/{model}/versions")
        found = answer.json()["versions"] if answer.status_code == 200 else []
        return next((entry["version"] for entry in found if entry["task_id"] == task), None)

    number = until(version, what=f"the version of {task}")

    def evaluation() -> dict[str, Any] | None:
        found = house.get("evaluations", model=model, version=number)["evaluations"]
        return next((entry for entry in found if entry["passed"] is not None), None)

    return number, until(evaluation, what=f"the evaluation of version {number}")


@pytest.fixture(scope="module")
def champions(house: House) -> dict[str, tuple[int, dict[str, Any]]]:
    """A version of each member that answers, with its evaluation."""
    tasks = {model: train(house, model) for model in FIGURES}
    found = {model: evaluated(house, model, task) for model, task in tasks.items()}
    for model, (number, evaluation) in found.items():
        assert evaluation["passed"], evaluation
        until(lambda model=model, number=number: serves(house, model, number), what=f"{model} to be served")
    return found


def serves(house: House, model: str, number: int) -> bool:
    live = (d for d in house.get("deployments")["deployments"] if d["state"] == "serving" and d["ready"])
    return (model, number) in {(d["model"], d["version"]) for d in live}


def ask(house: House, model: str, array: NDArray[Any]) -> NDArray[Any]:
    triton = client.InferenceServerClient(house.address)
    (spec,) = triton.get_model_metadata(model, headers=headers(house))["inputs"]
    tensor = client.InferInput(spec["name"], list(array.shape), spec["datatype"])
    tensor.set_data_from_numpy(array)
    (output,) = library.model(model).signature.outputs
    answer: NDArray[Any] = triton.infer(model, [tensor], headers=headers(house)).as_numpy(output.name)
    return answer


def headers(house: House) -> dict[str, str]:
    return {"Authorization": f"Bearer {house.key}"}


def held_out(model: str) -> tuple[NDArray[Any], NDArray[Any]]:
    dataset = library.data_set(library.model(model).dataset)
    items = dataset.parts()[Part.TEST]
    return items[dataset.schema.features[0].name], items[dataset.schema.target.name]


@members
def test_it_was_evaluated_as_served_by_the_figures_of_its_task(
    house: House, champions: dict[str, tuple[int, dict[str, Any]]], model: str
) -> None:
    _, evaluation = champions[model]
    assert FIGURES[model] < evaluation["metrics"].keys()
    gate = library.model(model).gate
    assert gate.passes(evaluation["metrics"])
    assert evaluation["metrics"]["items"] == len(held_out(model)[1])


def test_the_breast_cancer_model_answers_raw_rows(house: House, champions: object) -> None:
    rows, diagnosis = held_out("breast-cancer-mlp")
    probabilities = ask(house, "breast-cancer-mlp", rows[:60])
    assert probabilities.shape == (60, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == diagnosis[:60]).mean() > 0.9


def test_the_diabetes_model_answers_raw_rows_in_the_unit_of_the_target(house: House, champions: object) -> None:
    rows, progression = held_out("diabetes-mlp")
    predicted = np.concatenate([ask(house, "diabetes-mlp", rows[start : start + 50]) for start in (0, 50)])
    error = np.sqrt(((predicted[:, 0] - progression[:100]) ** 2).mean())
    assert predicted.shape == (100, 1)
    assert error < 0.8 * progression.std()


def test_people_ask_by_the_names_of_measures_and_hear_labels(house: House, champions: object) -> None:
    rows, diagnosis = held_out("breast-cancer-mlp")
    (feature,) = library.data_set("breast-cancer").schema.features
    lines = [",".join(feature.columns), *(",".join(map(str, row)) for row in rows[:60])]
    headers = {"Content-Type": "text/csv"}
    answer = house.http.post("/api/v1/predict/breast-cancer-mlp", content="\n".join(lines), headers=headers)
    assert answer.status_code == 200, answer.text
    labels = [found["label"] for found in answer.json()["predictions"]]
    truth = [library.model("breast-cancer-mlp").labels[each] for each in diagnosis[:60]]
    assert sum(map(str.__eq__, labels, truth)) > 54
    scores = [list(found["scores"].values()) for found in answer.json()["predictions"]]
    np.testing.assert_allclose(np.sort(scores), np.sort(ask(house, "breast-cancer-mlp", rows[:60])), rtol=1e-4)


def test_people_ask_by_the_names_of_columns_and_hear_values(house: House, champions: object) -> None:
    rows, _ = held_out("diabetes-mlp")
    (feature,) = library.data_set("diabetes").schema.features
    items = [dict(zip(feature.columns, map(float, row), strict=True)) for row in rows[:20]]
    answer = house.http.post("/api/v1/predict/diabetes-mlp", json={"items": items})
    assert answer.status_code == 200, answer.text
    found = [each["value"] for each in answer.json()["predictions"]]
    np.testing.assert_allclose(found, ask(house, "diabetes-mlp", rows[:20])[:, 0], rtol=1e-5)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_people_show_an_image_and_hear_what_it_is(house: House, champion: int, kind: str) -> None:
    digits, truth = held_out("digits-cnn")
    labels = []
    for digit in digits[:20]:
        image = Image.fromarray((digit[0] * (255 / 16)).astype(np.uint8)).resize((160, 160), Image.Resampling.BOX)
        image.save(body := io.BytesIO(), kind)
        headers = {"Content-Type": f"image/{kind}"}
        answer = house.http.post("/api/v1/predict/digits-cnn?top=1", content=body.getvalue(), headers=headers)
        assert answer.status_code == 200, answer.text
        labels.append(int(answer.json()["predictions"][0]["label"]))
    assert (np.array(labels) == truth[:20]).mean() > 0.8


@members
def test_the_example_of_the_library_is_answered(house: House, champions: object, model: str) -> None:
    member = house.get(f"library/{model}")
    assert len(member["features"][0]["columns"]) == member["example"]["inputs"][0]["shape"][1]
    answer = house.http.post(f"/v2/models/{model}/infer", json=member["example"])
    assert answer.status_code == 200, answer.text
    assert np.isfinite(answer.json()["outputs"][0]["data"]).all()


@members
def test_a_worse_version_is_refused_in_words_and_the_champion_goes_on(
    house: House, champions: dict[str, tuple[int, dict[str, Any]]], model: str
) -> None:
    number, _ = champions[model]
    first = library.model(model).gate.conditions[0].metric
    worse, evaluation = evaluated(house, model, train(house, model, epochs=1, learning_rate=1e-5))
    assert not evaluation["passed"]
    assert any(reason.startswith(f"{first} is ") for reason in evaluation["reasons"])
    assert any("the champion has" in reason for reason in evaluation["reasons"])
    assert house.get(f"models/{model}")["aliases"]["champion"] == number != worse
    assert len(ask(house, model, held_out(model)[0][:3])) == 3


def test_an_equal_version_keeps_up_with_a_champion_judged_by_its_error(
    house: House, champions: dict[str, tuple[int, dict[str, Any]]]
) -> None:
    number, before = champions["diabetes-mlp"]
    again, evaluation = evaluated(house, "diabetes-mlp", train(house, "diabetes-mlp", seed=1, hidden=32))
    assert evaluation["champion_version"] == number
    assert evaluation["passed"], evaluation
    assert evaluation["metrics"]["rmse"] == pytest.approx(before["metrics"]["rmse"])
    until(lambda: serves(house, "diabetes-mlp", again), what="the newer version to be served")


def test_a_data_set_shows_its_columns_its_classes_and_some_items(
    house: House, champions: dict[str, tuple[int, dict[str, Any]]]
) -> None:
    shown = house.get("datasets/breast-cancer")
    assert {"breast-cancer", "diabetes"} <= {found["name"] for found in house.get("datasets")["datasets"]}
    profile = shown["facts"]["profile"]
    assert [column["name"] for column in profile["columns"]] == shown["facts"]["schema"]["features"][0]["columns"]
    train = held_in("breast-cancer")
    radius = profile["columns"][0]
    assert (radius["missing"], radius["minimum"], radius["maximum"]) == (0, train[:, 0].min(), train[:, 0].max())
    assert sum(profile["target"]["train"]["classes"].values()) == shown["facts"]["sizes"]["train"] == len(train)
    assert shown["facts"]["preview"][0]["measures"] == train[0].tolist()


def held_in(dataset: str) -> NDArray[Any]:
    declared = library.data_set(dataset)
    features: NDArray[Any] = declared.parts()[Part.TRAIN][declared.schema.features[0].name]
    return features
