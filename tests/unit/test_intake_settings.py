"""The table of request topics: where it is read from, and what is wrong with a bad one."""

import json
from pathlib import Path

import msgspec
import pytest

from adapters.config import OWN_TOPICS, Config, ConfigError, Requests, read
from adapters.kafka.topics import TOPICS
from workers.child import _environment

TOML = """
[intake."forge.requests"]
actor = "forge"
may = ["turnstile.ticket.open", "turnstile.ticket.cancel"]
"""
TABLE = {"forge.requests": {"actor": "forge", "may": ["turnstile.ticket.open"]}}


def configured(table: object) -> Config:
    return read({"TURNSTILE_INTAKE": json.dumps(table)})


def test_request_topics_are_a_table_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "turnstile.toml"
    file.write_text(TOML)
    requests = read({"TURNSTILE_CONFIG": str(file)}).intake["forge.requests"]
    assert ("forge", ("turnstile.ticket.open", "turnstile.ticket.cancel")) == (
        requests.actor,
        requests.may,
    )


def test_request_topics_are_json_in_the_environment_and_are_shown() -> None:
    config = configured(TABLE)
    assert {"forge.requests": Requests("forge", ("turnstile.ticket.open",))} == config.intake
    assert TABLE == json.loads(json.dumps(config.shown()["intake"]))
    assert {} == read({}).intake


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("forge", "Expected `object`, got `str` - at `intake`"),
        ({"a b": TABLE["forge.requests"]}, "`intake`"),
        ({"..": TABLE["forge.requests"]}, "`intake`"),
        ({"__consumer_offsets": TABLE["forge.requests"]}, "`intake`"),
        ({"ticket.dead": TABLE["forge.requests"]}, "ticket.dead is a topic of the log itself"),
        ({"a": {"actor": "forge"}}, 'missing required field `may` - at `intake."a"`'),
        ({"a": {"actor": "forge", "may": []}}, 'length >= 1 - at `intake."a".may`'),
        (
            {"a": {"actor": "forge", "may": ["turnstile.ticket.opn"]}},
            "no command 'turnstile.ticket.opn'",
        ),
        ({"a": {"actor": "", "may": ["x"]}}, 'at `intake."a".actor`'),
        ({"a": {"actor": "forge:alice", "may": ["x"]}}, 'at `intake."a".actor`'),
        (
            {"a": {"actor": "forge", "may": ["x"], "might": 1}},
            'unknown field `might` - at `intake."a"`',
        ),
    ],
)
def test_a_bad_table_is_refused_by_name(table: object, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(table)
    assert reason in str(refused.value)
    assert "`intake" in str(refused.value)


@pytest.mark.parametrize("text", ["{", "\udcff"])
def test_what_is_no_json_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="`intake`"):
        read({"TURNSTILE_INTAKE": text})


def test_the_topics_of_the_log_are_known_to_the_configuration() -> None:
    assert set(OWN_TOPICS) == set(TOPICS)


def test_a_child_gets_the_same_configuration() -> None:
    config = msgspec.structs.replace(configured(TABLE), lease=2.5, kafka="a:1")
    theirs = {k: v for k, v in _environment(config).items() if k.startswith("TURNSTILE_")}
    assert config == read(theirs)


def test_what_is_empty_is_not_set() -> None:
    assert Config(name="x").kafka == read({"TURNSTILE_KAFKA": "", "TURNSTILE_NAME": "x"}).kafka


def test_a_misspelt_setting_is_refused_and_not_ignored() -> None:
    with pytest.raises(ConfigError, match="no TURNSTILE_PARTITION: is TURNSTILE_PARTITIONS meant"):
        read({"TURNSTILE_PARTITION": "3"})


def test_settings_of_others_are_left_alone() -> None:
    read({"TURNSTILE_TEST_KAFKA": "h:1", "TURNSTILE_OF_THE_STADIUM": "west"})


@pytest.mark.parametrize("lease", ["inf", "nan", "1e9", "0"])
def test_a_lease_has_bounds(lease: str) -> None:
    with pytest.raises(ConfigError, match="`lease`"):
        read({"TURNSTILE_LEASE": lease})
