"""The command line: help, configuration, diagrams, and an engine that comes and goes."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.connection import Address, connect
from domain.automaton import Automaton
from domain.ticket.automata import TASK, TICKET
from tests.journey.command import PATIENCE, turnstile
from tests.journey.serving import playing, serving

EXIT_LOG = 69
EXIT_CONFIG = 78

# ------------------------------------------------------------------------------------------ help


def test_help_names_every_command_with_its_sentence() -> None:
    helped = turnstile("--help")
    assert 0 == helped.returncode
    assert re.search(r"Usage: turnstile .*COMMAND", helped.stdout)
    commands = ("asyncapi", "config", "demo", "diagram", "engine", "intake", "reactor", "reaper")
    for command in commands:
        assert re.search(rf"^  {command} +[A-Z](.|\n {{8,}})*\.$", helped.stdout, re.MULTILINE)
        assert 0 == turnstile(command, "--help").returncode


# --------------------------------------------------------------------------------- configuration


def test_the_configuration_is_shown() -> None:
    shown = json.loads(turnstile("config", TURNSTILE_PARTITIONS=16, TURNSTILE_NAME="here").stdout)
    assert (16, "here", None) == (shown["partitions"], shown["name"], shown["database_url"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:secret@h/db", "postgres://u:***@h/db"),
        ("postgres://u:se:c/r@et@h:5432/db", "postgres://u:***@h:5432/db"),
        ("postgres://h/db?user=u&password=secret&a=b", "postgres://h/db?user=u&password=***&a=b"),
        ("postgres://u@h:5432/db", "postgres://u@h:5432/db"),
        ("postgres://h:5432/db", "postgres://h:5432/db"),
        ("postgres:///db?host=/run/postgresql", "postgres:///db?host=/run/postgresql"),
    ],
)
def test_secrets_are_hidden(url: str, expected: str) -> None:
    printed = turnstile("config", DATABASE_URL=url).stdout
    assert expected == json.loads(printed)["database_url"]


def test_settings_come_from_a_file_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "turnstile.toml"
    file.write_text('partitions = 3\nlease = 7.5\ndatabase_url = "postgres://in-the-file/db"\n')
    shown = json.loads(
        turnstile(
            "config",
            TURNSTILE_CONFIG=file,
            TURNSTILE_LEASE=2,
            DATABASE_URL="postgres://in-the-environment/db",
        ).stdout
    )
    assert (3, 2.0) == (shown["partitions"], shown["lease"])
    assert "postgres://in-the-environment/db" == shown["database_url"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("partitions", "many"),
        ("partitions", "0"),
        ("lease", "-1"),
        ("schema", 'x"; DROP'),
        ("name", "a b"),
        ("log_format", "xml"),
        ("database_url", "mysql://u:secret@h/db"),
    ],
)
def test_a_bad_setting_is_named(setting: str, value: str) -> None:
    refused = turnstile("config", **{f"TURNSTILE_{setting.upper()}": value})
    assert (EXIT_CONFIG, "") == (refused.returncode, refused.stdout)
    (line,) = refused.stderr.splitlines()
    assert line.startswith("turnstile: ")
    assert f"`{setting}`" in line
    assert "secret" not in line


@pytest.mark.parametrize("command", ["engine", "demo"])
def test_no_command_begins_with_a_bad_setting(command: str) -> None:
    refused = turnstile(command, TURNSTILE_LEASE="soon")
    assert (EXIT_CONFIG, "") == (refused.returncode, refused.stdout)
    assert "`lease`" in refused.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("partition = 3\n", "`partition`"),
        ('lease = "long"\n', "`lease`"),
        ("lease = \n", "line 1"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "turnstile.toml"
    file.write_text(text)
    refused = turnstile("config", TURNSTILE_CONFIG=file)
    assert EXIT_CONFIG == refused.returncode
    (line,) = refused.stderr.splitlines()
    assert named in line


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused = turnstile("config", TURNSTILE_CONFIG=tmp_path / "none.toml")
    assert EXIT_CONFIG == refused.returncode
    assert f"turnstile: TURNSTILE_CONFIG={tmp_path / 'none.toml'}: " in refused.stderr


# -------------------------------------------------------------------------------------- diagrams


@pytest.mark.parametrize(("name", "automaton"), [("ticket", TICKET), ("task", TASK)])
def test_an_automaton_is_drawn(name: str, automaton: Automaton[Any]) -> None:
    drawn = turnstile("diagram", name)
    assert (0, automaton.diagram()) == (drawn.returncode, drawn.stdout)
    assert drawn.stdout.startswith("stateDiagram-v2\n")


# ---------------------------------------------------------------------------------------- engine


@pytest.mark.service
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_engine_that_is_told_to_stop_gives_its_partitions_back(
    address: Address, number: signal.Signals
) -> None:
    # With such a lease a successor would have to wait for a minute.
    settings = {
        "DATABASE_URL": address.dsn,
        "TURNSTILE_SCHEMA": address.schema,
        "TURNSTILE_LEASE": 60,
    }
    with serving(**settings) as engine:
        engine.send_signal(number)
        _, errors = engine.communicate(timeout=PATIENCE)
    said = [json.loads(line) for line in errors.splitlines()]
    assert 0 == engine.returncode
    assert {0, 1, 2} == {line["partition"] for line in said if line["event"] == "released"}
    assert "engine_stopped" == said[-1]["event"]
    connection = await connect(address)
    try:
        assert [None] * 3 == [row["owner"] for row in await connection.fetch("TABLE partitions")]
        assert [] == await connection.fetch("TABLE members")
    finally:
        await connection.close()
    with serving(**settings):  # at once
        pass


@pytest.mark.service
@pytest.mark.parametrize("role", ["reactor", "reaper"])
def test_a_reactor_or_reaper_that_is_told_to_stop_does(address: Address, role: str) -> None:
    settings = {"DATABASE_URL": address.dsn, "TURNSTILE_SCHEMA": address.schema}
    with playing(role, **settings) as process:
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
    assert 0 == process.returncode
    assert f"{role}_stopped" == json.loads(errors.splitlines()[-1])["event"]


@pytest.mark.service
def test_an_engine_starts_and_stops_the_bundled_server(reachable: Path) -> None:
    data = reachable / "engine"
    data.mkdir()
    data.chmod(0o711)
    with serving(TURNSTILE_DATA=data) as engine:
        engine.terminate()
        _, errors = engine.communicate(timeout=PATIENCE)
    assert 0 == engine.returncode
    assert "postgres stopped" == json.loads(errors.splitlines()[-1])["event"]


def test_an_engine_whose_directory_is_somebody_elses_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "precious").touch()
    ended = turnstile("engine", TURNSTILE_DATA=tmp_path)
    assert EXIT_LOG == ended.returncode
    (line,) = ended.stderr.splitlines()
    assert "holds other things than a database of ours" in json.loads(line)["error"]


def test_an_engine_without_its_database_ends_with_one_line() -> None:
    ended = turnstile("engine", DATABASE_URL="postgres://u:secret@127.0.0.1:1/db")
    assert EXIT_LOG == ended.returncode
    (line,) = ended.stderr.splitlines()
    said = json.loads(line)
    assert ("engine_failed", "critical") == (said["event"], said["level"])
    assert "refused" in said["error"]
    assert "postgres://u:***@127.0.0.1:1/db" == said["database_url"]
