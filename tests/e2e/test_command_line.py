"""The command line against a whole stack: what people type, what comes out, and with which code it ends."""

import asyncio
import io
import json
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
import pytest
from PIL import Image, ImageDraw

from deploy.embedded.ports import free_port
from deploy.embedded.servers import ROOT
from shared.names import new_id
from tests.e2e.commands import Shell
from tests.house import House, until

LONG = ("train", "digits-cnn", "--set", "epochs=10000")


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Shell:
    """As one works in a pipeline: address and key in the environment."""
    return Shell(tmp_path, {"AIMASS_URL": house.stack.info["gateway"], "AIMASS_API_KEY": house.key})


@pytest.fixture
def person(tmp_path: Path) -> Shell:
    """As one sits down for the first time."""
    return Shell(tmp_path)


def drawn() -> bytes:
    picture = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(picture).line((32, 8, 32, 56), fill=255, width=10)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def poison(house: House) -> None:
    """An event that registry cannot read."""

    async def publish() -> None:
        connection = await nats.connect(house.stack.info["nats"])
        headers = {"ce-type": "aimass.training.v1.TrainingCompleted", "ce-source": "trainer", "ce-id": new_id()}
        subject = "evt.default.training.v1.training_completed"
        await connection.jetstream(timeout=60).publish(subject, b'{"metrics": 1}', headers=headers)
        await connection.close()

    asyncio.run(publish())


def test_what_a_service_gave_up_on_is_decided_about(house: House, shell: Shell) -> None:
    poison(house)

    def waiting() -> list[str]:
        found = shell.json("letters", "list", "--service", "registry", "--state", "waiting")
        return [letter["id"] for letter in found]

    (letter,) = until(waiting, what="the dead letter")
    assert "metrics" in shell.run("letters", "show", letter).stdout
    assert shell.run("letters", "replay", letter).stdout
    (again,) = until(waiting, what="the letter that failed again")
    assert again != letter
    shell.run("letters", "discard", again, "--reason", "a test's")
    shell.run("letters", "discard", again, "--reason", "once more", code=6)
    assert shell.run("letters", "replay", code=2).stderr

    def decided() -> bool:
        kinds = [entry["type"].rpartition(".")[2] for entry in shell.json("audit", "list", "--limit", "2")]
        return kinds == ["DeadLetterDiscarded", "DeadLetterReplayed"]

    until(decided, what="the decisions to be in the audit")
    assert shell.run("audit", "verify").stdout.startswith("intact: ")


def test_a_key_is_kept_for_later_and_forgotten(house: House, person: Shell) -> None:
    url = house.stack.info["gateway"]
    assert "aimass login" in person.run("tasks", code=4).stderr
    assert "unknown" in person.run("login", url, code=4, given="aim_wrong\n").stderr
    assert "stdin" in person.run("login", url, code=2).stderr
    assert "no address" in person.run("login", "nowhere", code=2).stderr
    assert list(person.home.rglob("profiles.json")) == []
    person.run("login", url, given=f"{house.key}\n")
    (file,) = person.home.rglob("profiles.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    me = person.json("whoami")
    assert (me["url"], me["kind"], me["project"]) == (url, "key", "default")
    assert "keys:manage" in me["permissions"]
    assert house.key not in person.said
    person.run("--profile", "other", "whoami", code=4)
    person.run("logout")
    person.run("logout", code=3)
    person.run("whoami", code=4)


def test_a_user_logs_in_with_a_password_and_may_do_what_the_roles_say(house: House, person: Shell) -> None:
    user = house.http.post("/api/v1/users", json={"name": "typist", "roles": ["viewer"]}).json()
    login = ("login", house.stack.info["gateway"], "--user", "typist")
    assert "wrong" in person.run(*login, code=4, given="wrong\n").stderr
    assert "until" in person.run(*login, given=f"{user['password']}\n").stderr
    me = person.json("whoami")
    assert (me["kind"], me["user"], me["id"]) == ("user", "typist", user["id"])
    assert me["expires_at"] is not None
    refused = person.run("train", "digits-cnn", code=4)
    assert "tasks:write" in refused.stderr and refused.stderr.count("\n") == 1
    (file,) = person.home.rglob("profiles.json")
    kept = json.loads(file.read_text())
    file.write_text(
        json.dumps({"default": kept["default"] | {"expires_at": "2020-01-01T00:00:00+00:00"} | {"refresh": ""}})
    )
    assert "session of typist is over" in person.run("whoami", code=4).stderr
    assert user["password"] not in person.said


def test_a_training_is_followed_to_its_version(shell: Shell, champion: int) -> None:
    lines = shell.lines("train", "digits-cnn", "--set", "epochs=2", "--no-promote", "--follow")
    assert [lines[0]["event"], *(line["event"] for line in lines[-2:])] == ["accepted", "ended", "registered"]
    task, version = lines[-2]["task"], lines[-1]["version"]
    assert (task["state"], task["parameters"]["epochs"]) == ("succeeded", 2)
    assert (version["model"], version["task_id"]) == ("digits-cnn", task["id"])
    logged = [line["line"] for line in lines if line["event"] == "log"]
    assert any(line.startswith("epoch 2 of 2") for line in logged)
    assert shell.run("logs", task["id"]).stdout.splitlines() == logged
    assert shell.run("logs", "-f", task["id"]).stdout.splitlines() == logged
    assert shell.json("tasks", task["id"])["result"] == task["result"]
    points = shell.json("metrics", task["id"])
    assert {point["epoch"] for point in points} == {1, 2}
    header, first, second = shell.run("metrics", task["id"]).stdout.splitlines()
    assert "validation_loss" in header.split("\t") and first.startswith("1\t") and second.startswith("2\t")
    curves = {curve["name"]: curve["values"] for curve in shell.json("curves", task["id"])}
    assert len(curves["validation_loss"]) == 2
    chain = [event["type"].rpartition(".")[2] for event in shell.json("events", "--chain", task["correlation_id"])]
    assert "TrainingCompleted" in chain and "VersionRegistered" in chain


def test_at_a_terminal_there_are_a_bar_and_tables_and_the_same_key_is_the_same_task(
    shell: Shell, champion: int
) -> None:
    keyed = ("train", "digits-cnn", "--set", "epochs=2", "--no-promote", "--key", "typed-once")
    shown = shell.seen(*keyed, "-f")
    assert "━" in shown and "epoch 2 of 2" in shown and "digits-cnn version" in shown
    table = shell.seen("tasks", "--kind", "train", "--limit", "1")
    assert "\x1b[1m" in table and "\t" not in table and "digits-cnn" in table
    newest = shell.json("tasks", "--kind", "train", "--limit", "1")[0]["id"]
    assert shell.json(*keyed)["id"] == newest
    assert "other" in shell.run("train", "digits-cnn", "--key", "typed-once", code=6).stderr


def test_stopping_to_follow_leaves_the_task_and_cancelling_ends_it(house: House, shell: Shell, champion: int) -> None:
    with shell.begin(*LONG, "--follow", "--json") as process:
        assert process.stdout and process.stderr
        task_id = json.loads(process.stdout.readline())["task"]["id"]
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert f"aimass logs -f {task_id}" in process.stderr.read()
    assert house.task(task_id)["state"] in ("queued", "running")
    with shell.begin("logs", "--follow", task_id) as follower:
        assert follower.stdout and follower.stdout.readline()
        assert shell.json("cancel", task_id)[0]["id"] == task_id
        assert follower.wait(60) == 1
    assert house.wait_task(task_id)["state"] == "cancelled"
    listed = shell.json("tasks", "--kind", "train", "--state", "cancelled", "--model", "digits-cnn", "--limit", "1000")
    assert task_id in [task["id"] for task in listed]


def test_a_version_is_deployed_and_asked(shell: Shell, champion: int, tmp_path: Path) -> None:
    deployed = shell.json("deploy", "digits-cnn", champion, "--instances", "1:2")
    assert (deployed["version"], deployed["state"], deployed["ready"]) == (champion, "serving", True)
    assert [found["version"] for found in shell.json("deployments", "digits-cnn") if found["ready"]]
    assert shell.json("models", "digits-cnn")["aliases"]["champion"] == champion
    assert shell.json("versions", "digits-cnn", champion)["evaluation_passed"] is True
    assert champion in [found["version"] for found in shell.json("versions", "digits-cnn", "--limit", "1000")]
    picture = tmp_path / "one.png"
    picture.write_bytes(drawn())
    answers = shell.json("predict", "digits-cnn", "--file", picture, "--top", "3")
    assert (answers["version"], len(answers["predictions"][0]["scores"])) == (champion, 3)
    row = shell.run("predict", "digits-cnn", "--file", picture, "--top", "1").stdout.splitlines()[1].split("\t")
    assert row[:2] == ["0", answers["predictions"][0]["label"]]


def test_items_come_from_arguments_files_and_stdin(shell: Shell, champion: int, tmp_path: Path) -> None:
    item = {"image": [[[0.0] * 8] * 8]}
    text = json.dumps(item)
    file = tmp_path / "items.jsonl"
    file.write_text(f"{text}\n{text}\n")
    labels: list[Any] = [
        [answer["label"] for answer in shell.json("predict", "digits-cnn", *given, given=typed)["predictions"]]
        for given, typed in (((text, text), ""), (("--file", file), ""), (("-",), json.dumps({"items": [item, item]})))
    ]
    assert labels[0] == labels[1] == labels[2] and len(labels[0]) == 2


def test_an_alias_moves_only_from_where_it_is(shell: Shell, champion: int) -> None:
    assert "champion" in shell.json("promote", "digits-cnn", champion)["aliases"]
    moved = shell.json("promote", "digits-cnn", champion, "--alias", "typed")
    assert "typed" in moved["aliases"]
    shell.run("promote", "digits-cnn", champion, "--alias", "typed", "--expected", champion + 1000, code=6)
    shell.run("promote", "digits-cnn", 1_000_000, code=3)


def test_events_are_followed(shell: Shell, champion: int) -> None:
    since = shell.json("versions", "digits-cnn", champion)["created_at"]
    with shell.begin("events", "-f", "--json", "--about", "models/digits-cnn", "--since", since) as process:
        assert process.stdout
        event = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert event["subject"] == "models/digits-cnn"


def test_the_log_is_read_explained_and_shown_as_of_a_time(shell: Shell, champion: int) -> None:
    version = shell.json("versions", "digits-cnn", champion)
    (registered,) = [
        event
        for event in shell.json("events", "--type", "VersionRegistered", "--about", "models/digits-cnn")
        if event["data"]["version"] == champion
    ]
    forwards = shell.json("events", "--after", registered["position"] - 1, "--limit", "1")
    assert [event["id"] for event in forwards] == [registered["id"]]
    found = shell.json("trace", f"digits-cnn/{champion}")["nodes"]
    assert {"TrainingCompleted", "VersionRegistered", "EvaluationCompleted"} <= {node["name"] for node in found}
    assert [node["id"] for node in found if node["asked"]] == [f"digits-cnn/{champion}"]
    printed = shell.run("trace", version["task_id"]).stdout
    assert "[task] train digits-cnn" in printed and "└─ " in printed and "◀" in printed
    shell.run("trace", new_id(), code=3)
    at = version["created_at"]
    assert "digits-cnn" in [model["name"] for model in shell.json("models", "--as-of", at)]
    then = shell.json("tasks", version["task_id"], "--as-of", at)
    assert then["state"] in ("running", "succeeded")
    assert champion not in [found["version"] for found in shell.json("deployments", "digits-cnn", "--as-of", at)]
    assert "is not kept" in shell.run("deployments", "--as-of", "2020-01-01T00:00:00Z", code=2).stderr


def test_projections_are_rebuilt_while_the_stack_runs(house: House) -> None:
    command = [sys.executable, "-m", "deploy.embedded.replay", "--home", str(house.stack.home.path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.splitlines()
    assert [line.split()[0] for line in told[:2]] == ["timeline", "task_list"]
    assert all(line.endswith("the same") for line in told[:2]), told
    assert "left as they are:" in told


def test_the_library_says_what_can_be_set(shell: Shell) -> None:
    assert "digits-cnn" in [member["name"] for member in shell.json("library")]
    shown = shell.run("library", "digits-cnn").stdout
    assert "epochs\tinteger\t20\t1\t10000" in shown and "CC BY 4.0" in shown


def test_each_refusal_has_its_code_and_one_sentence(shell: Shell, tmp_path: Path) -> None:
    wrong = {
        2: [("train", "digits-cnn", "--set", "epochs=0"), ("predict", "digits-cnn", "--file", tmp_path / "none.png")],
        3: [("train", "no-such-model"), ("models", "no-such-model"), ("deploy", "no-such-model")],
    }
    for code, commands in wrong.items():
        for command in commands:
            refused = shell.run(*command, code=code)
            assert (refused.stdout, refused.stderr.count("\n")) == ("", 1), refused
            assert refused.stderr.startswith("aimass: ")
    assert "config.epochs" in shell.said
    shell.run("tasks", "--limit", "0", code=2)
    shell.run("events", "--type", "NoSuchEvent", code=2)
    nobody = Shell(tmp_path, {"AIMASS_URL": f"http://127.0.0.1:{free_port()}", "AIMASS_API_KEY": "aim_x"})
    assert "whether it runs" in nobody.run("tasks", code=5).stderr


def test_tasks_are_paused_resumed_and_cloned(house: House, shell: Shell, champion: int) -> None:
    task_id = shell.json(*LONG)["id"]
    until(lambda: house.task(task_id)["state"] == "running", what="the task to run")
    shell.json("pause", task_id)
    until(lambda: house.task(task_id)["state"] == "paused", what="the task to pause")
    assert shell.json("resume", task_id)[0]["state"] in ("queued", "running")
    shell.json("cancel", task_id)
    house.wait_task(task_id)
    lines = shell.lines("clone", task_id, "--set", "epochs=1", "--follow")
    assert lines[-2]["task"]["parameters"]["epochs"] == 1
    shell.run("resume", task_id, code=6)


def test_tasks_have_an_order_and_words_to_find_them_by(house: House, shell: Shell, champion: int) -> None:
    first = shell.json(*LONG, "--priority", "5", "--tag", "typed", "--need", "cores=0.5")["id"]
    second = shell.json("train", "digits-cnn", "--set", "epochs=1", "--after", first, "--tag", "typed")["id"]
    assert shell.json("tasks", second)["waits_for"] == [first]
    found = shell.json("tasks", first)
    assert (found["priority"], found["resources"]["cores"]) == (5, 0.5)
    noted = shell.json("note", first, "--priority", "7", "--tag", "typed", "--tag", "again", "--remark", "look at it")
    assert (noted["priority"], sorted(noted["tags"]), noted["remark"]) == (7, ["again", "typed"], "look at it")
    until(lambda: {task["id"] for task in shell.json("tasks", "--tag", "typed")} == {first, second}, what="both")
    shell.json("cancel", second, first)


def test_two_workers_train_one_model(shell: Shell) -> None:
    asked = ("train", "digits-cnn", "--set", "epochs=2", "--workers", "2", "--need", "cores=0.5", "--no-promote")
    ended = shell.lines(*asked, "--follow")
    (task,) = [line["task"] for line in ended if line["event"] == "ended"]
    assert (task["state"], task["parameters"]["training"]) == ("succeeded", {"workers": 2})
    assert task["resources"]["cores"] == 1
    assert "training.workers" in shell.run("train", "digits-cnn", "--workers", "65", code=2).stderr


def test_trainings_are_scheduled(shell: Shell) -> None:
    made = shell.json("schedule", "weekly", "digits-cnn", "--cron", "30 3 * * MON", "--set", "epochs=2")
    assert (made["cron"], made["task"]["config"], made["enabled"]) == ("30 3 * * MON", {"epochs": 2}, True)
    shell.run("schedule", "on-data", "digits-cnn", "--on", "dataset_registered", "--where", "name=x", "--disabled")
    assert [found["name"] for found in shell.json("schedules")] == ["on-data", "weekly"]
    assert shell.json("schedules", "on-data")["on"] == {"event": "dataset_registered", "where": {"name": "x"}}
    assert "weekly\tdigits-cnn\t30 3 * * MON\tyes\t" in shell.run("schedules").stdout
    shell.run("schedule", "both", "digits-cnn", "--cron", "* * * * *", "--on", "version_promoted", code=2)
    assert "cron" in shell.run("schedule", "wrong", "digits-cnn", "--cron", "99 * * * *", code=2).stderr
    for name in ("weekly", "on-data"):
        shell.run("unschedule", name)
    shell.run("unschedule", "weekly", code=3)
