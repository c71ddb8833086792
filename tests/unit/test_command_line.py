"""What the command line makes of its arguments, and what it prints; without a platform."""

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import typer
from aimass import errors
from aimass.cli import exits, main, output, predicting, profiles, tasks, training

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
URL = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of its own, and an environment that says nothing."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in (profiles.URL, profiles.KEY, profiles.PROFILE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "aimass"


def test_settings_are_json_or_text() -> None:
    given = ["epochs=5", "rate=1e-3", "name=plain text", 'list=["a"]', "flag=true", "deep.er=1", "deep.est=x=y", "e="]
    assert training.config_of(given) == {
        "epochs": 5,
        "rate": 0.001,
        "name": "plain text",
        "list": ["a"],
        "flag": True,
        "deep": {"er": 1, "est": "x=y"},
        "e": "",
    }


@pytest.mark.parametrize("given", [["epochs"], ["=5"], ["a..b=1"], [".a=1"], ["a=1", "a.b=2"]])
def test_what_is_no_setting_is_refused(given: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        training.config_of(given)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("You have WON\n", ["You have WON"]),
        ('{"items": [1, {"a": 2}]}', [1, {"a": 2}]),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', [{"a": 1}]),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
    ],
)
def test_items_are_read_from_what_people_send(text: str, items: list[Any]) -> None:
    assert predicting._items(text) == items


def test_broken_json_is_told_before_anything_is_sent() -> None:
    with pytest.raises(typer.BadParameter, match="begins like JSON"):
        predicting._item('{"a": ')


@pytest.mark.parametrize(
    "url", ["", "nowhere", "ftp://a", "http://", "http://[", "http://a b", "http://ä", "http://a:x"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    assert "no address" in str(profiles.problem_of(profiles.Profile(url, "aim_x")))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://host.example/below", "http://[::1]:80"])
def test_addresses_and_keys_are_let_through(url: str) -> None:
    assert profiles.problem_of(profiles.Profile(url, "aim_x")) is None
    assert "no API key" in str(profiles.problem_of(profiles.Profile(url, "aim_ä")))
    assert "no API key" in str(profiles.problem_of(profiles.Profile(url, "two words")))


def test_a_broken_file_of_keys_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profiles.keep("default", profiles.Profile(URL, "aim_kept"))
    (config / "profiles.json").write_text('["aim_kept"')
    with pytest.raises(typer.Exit), exits.told():
        profiles.chosen("default")
    said = capsys.readouterr().err
    assert "profiles.json" in said and "log in again" in said and "aim_kept" not in said


def test_keys_are_kept_for_their_owner_alone(config: Path) -> None:
    path = profiles.keep("default", profiles.Profile(URL, "aim_secret"))
    assert path.parent == config
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(config.stat().st_mode)) == (0o600, 0o700)
    profiles.keep("other", profiles.Profile("https://elsewhere", "aim_other"))
    assert profiles.chosen("default") == profiles.Profile(URL, "aim_secret")
    assert (profiles.forget("default"), profiles.forget("default")) == (True, False)
    assert list(profiles.read()) == ["other"]
    assert [file.name for file in config.iterdir()] == ["profiles.json"]


def test_the_environment_counts_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.keep("default", profiles.Profile(URL, "aim_kept"))
    monkeypatch.setenv(profiles.KEY, "aim_given")
    assert profiles.chosen("default") == profiles.Profile(URL, "aim_given")
    monkeypatch.setenv(profiles.URL, "https://elsewhere")
    assert profiles.chosen("default") == profiles.Profile("https://elsewhere", "aim_given")


def test_a_key_goes_to_no_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.keep("default", profiles.Profile(URL, "aim_kept"))
    monkeypatch.setenv(profiles.URL, f"{URL}/")
    assert profiles.chosen("default").key == "aim_kept"
    monkeypatch.setenv(profiles.URL, "https://elsewhere")
    with pytest.raises(profiles.NoProfile, match="elsewhere"):
        profiles.chosen("default")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            errors.Invalid(422, "must be a number", field="config.epochs"),
            exits.USAGE,
            "config.epochs: must be a number",
        ),
        (errors.NotFound(404, "there is no model 'x'"), exits.NOT_FOUND, "there is no model 'x'"),
        (errors.Unauthenticated(401, "unknown"), exits.NOT_ALLOWED, "aimass login"),
        (errors.Forbidden(403, "this needs 'a:b'"), exits.NOT_ALLOWED, "administrator"),
        (errors.Unavailable(0, "not reachable"), exits.UNREACHABLE, "whether it runs"),
        (errors.Unavailable(503, "busy"), exits.UNREACHABLE, "busy: try again"),
        (errors.Conflict(409, "it changed"), exits.CONFLICT, "it changed"),
        (errors.ApiError(500, "broken"), exits.OTHER, "broken"),
        (KeyboardInterrupt(), exits.INTERRUPTED, "interrupted"),
        (TimeoutError("not yet"), exits.UNREACHABLE, "not yet"),
        (FileNotFoundError(2, "No such file", "rows.csv"), exits.USAGE, "rows.csv cannot be used: No such file"),
    ],
)
def test_each_failure_has_its_code_and_a_sentence(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left, exits.told():
        raise error
    said = capsys.readouterr()
    assert (left.value.exit_code, said.out, said.err.count("\n")) == (code, "", 1)
    assert said.err.startswith("aimass: ") and words in said.err


def test_what_somebody_logs_cannot_change_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.line("\x1b[31mred\x07 \tté")
    assert capsys.readouterr().out == "�[31mred� \tté\n"


def test_other_programs_get_columns_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    columns: output.Columns = {"A": lambda row: row["a"], "B": lambda row: row["b"]}
    output.rows([{"a": "x\ty", "b": None}, {"a": 0.123456, "b": [1, 2]}], columns, as_json=False)
    assert capsys.readouterr().out == "A\tB\nx y\t\n0.1235\t1, 2\n"


def test_json_is_what_the_platform_said(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([{"a": "ä"}], {}, as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"a": "ä"}]


def test_curves_fit_their_room() -> None:
    assert tasks.sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert tasks.sparkline([2.0, 2.0]) == "▁▁"
    long = tasks.sparkline([float(number) for number in range(1000)])
    assert len(long) == tasks.WIDTH and long == "".join(sorted(long))


def test_ids_stay_in_one_piece_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    name, words = "train-" + "0" * 36, "words " * 20
    output._table(["TASK", "NAME", "NOTE"], [[name, "x" * 30, words]])
    lines = capsys.readouterr().out.splitlines()
    assert name in lines[1] and "x" * 30 in lines[1] and len(lines) > 3


def test_the_page_shows_every_command_and_no_other() -> None:
    shown = set(re.findall(r"aimass ([a-z]+)", PAGE.read_text().replace("--profile NAME ", "")))
    assert {command.__name__ for command in main.COMMANDS} <= shown
    for group in main.GROUPS:
        grouped = {str(command.name or command.callback.__name__) for command in group.registered_commands}  # type: ignore[union-attr]
        assert grouped <= set(re.findall(rf"aimass {group.info.name} ([a-z]+)", PAGE.read_text()))
    typed = set(re.findall(r"^    \$ aimass ([a-z-]+)", PAGE.read_text(), re.MULTILINE))
    assert typed <= {command.__name__ for command in main.COMMANDS} | {str(group.info.name) for group in main.GROUPS}
