"""The configuration: read once, from one TOML file and the environment, into one frozen object.

    TURNSTILE_<FIELD>     for every field, as TURNSTILE_PARTITIONS=16; DATABASE_URL as well
    TURNSTILE_CONFIG      the TOML file; its keys are the fields' names

The environment wins over the file. A table is JSON there.
"""

import re
import socket
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from domain.kinds import DECIDERS

OWN_TOPICS: Final = ("commands", "events", "replies", "dead")
"""Of the log: what comes in there is no request."""

_COMMANDS: Final = {command.topic for decider in DECIDERS for command in decider.commands}


_PLACE: Final = (
    r"^[^\s:]+:([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
)
"""`host:port`, up to port 65535."""


class ConfigError(Exception):
    """The configuration is wrong; says which setting, and why."""


class Requests(Struct, frozen=True, forbid_unknown_fields=True):
    """Who writes to a request topic, and what may be asked for there."""

    actor: Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f:]{1,64}\Z")]
    """The producer's name in history; what it says of its own users stands behind a colon."""
    may: Annotated[tuple[str, ...], Meta(min_length=1)]
    """The types of the commands."""


RequestTopic = Annotated[str, Meta(pattern=r"\A(?!__|\.{1,2}\Z)[A-Za-z0-9._-]{1,249}\Z")]


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set, with the defaults of one machine."""

    data: str = ".turnstile"
    """The directory of the bundled PostgreSQL, and of whatever else is kept."""
    database_url: Annotated[str, Meta(pattern=r"\Apostgres(ql)?://")] | None = None
    """A PostgreSQL of one's own; without one the bundled server is started in `data`."""
    schema: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_]{0,30}\Z")] = "turnstile"
    """The PostgreSQL schema of the log, so that several can share a database."""
    kafka: Annotated[str, Meta(pattern=r"\A[^,\s]+:\d+(,[^,\s]+:\d+)*\Z")] | None = None
    """A Kafka cluster that keeps the log, `host:port,…`; without one PostgreSQL keeps it."""
    kafka_topics: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,100}\Z")] = "ticket"
    """What the topics' names begin with, so that several logs can share a cluster."""
    kafka_replication: Annotated[int, Meta(ge=1, le=9)] | None = None
    """Replicas of new topics; all but one must have a record. Without a number 3, or as many as
    there are brokers."""
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_ca: str | None = None
    """PEM file: who may have signed the brokers' certificates. Without one, the system says."""
    kafka_certificate: str | None = None
    """PEM file: our own certificate, where the brokers want one."""
    kafka_key: str | None = None
    """PEM file: its key."""
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How SASL checks the name and password."""
    kafka_username: str | None = None
    kafka_password: str | None = None
    intake: dict[RequestTopic, Requests] = {}
    """The request topics of foreign producers, by name."""
    partitions: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Of the log, for ever. Without a number a new log gets 8."""
    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,64}\Z")] = "here"
    """The name of this process among its like, for people to read."""
    http: Annotated[str, Meta(pattern=_PLACE)] = "127.0.0.1:8080"
    """Where the API listens, `host:port`; port 0 is any that is free."""
    url: Annotated[str, Meta(pattern=r"\Ahttps?://[^\s]+\Z")] | None = None
    """Where the command line finds the API; without one, at `http`."""
    token: Annotated[str, Meta(pattern=r"\A[\x21-\x7e]+\Z")] | None = None
    """With what the command line shows who asks; without one, that of the data directory."""
    reading: Literal["public", "token"] = "public"
    """Whether anybody may read, or who has a token only."""
    secrets: str | None = None
    """TOML file of the secrets that tasks may name, for nobody else to read."""
    streams: Annotated[int, Meta(ge=0, le=100_000)] = 1_000
    """Live streams that one API process has open, at most."""
    store: Annotated[str, Meta(pattern=r"\A(?![a-z0-9]+://)|\As3://[^/\s]+")] = ""
    """Where logs and artifacts are kept: a folder, or `s3://bucket/prefix`, whose endpoint, region
    and keys the usual AWS_… variables say; without one, `objects` in `data`."""
    log_limit: Annotated[int, Meta(ge=0, le=2**40)] = 64 * 1024 * 1024
    """Bytes of an attempt's log, at most, for a task that does not say itself."""
    log_most: Annotated[int, Meta(ge=0, le=2**40)] = 1024 * 1024 * 1024
    """Bytes of an attempt's log that a task can have, whatever it says."""
    artifact_limit: Annotated[int, Meta(ge=0, le=2**43)] = 2 * 1024 * 1024 * 1024
    """Bytes of one artifact, at most."""
    lease: Annotated[float, Meta(gt=0, le=3_600)] = 6.0
    """Seconds after which an engine that is not heard of loses its partitions. Kafka's brokers
    take 6 at the least, unless configured."""
    batch: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    """Commands that are decided together, at most."""
    linger: Annotated[float, Meta(ge=0, le=1)] = 0.010
    """Seconds to wait for more commands when more than one is there."""
    snapshot_every: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 200_000
    """Events of a partition after which a snapshot of it is taken; 0 for none."""
    watchdog: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    """Seconds after which a process that neither moves nor stands at the end is ended."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is for people in a terminal, and JSON elsewhere."""

    def shown(self) -> dict[str, Any]:
        """The settings, with secrets hidden."""
        settings: dict[str, Any] = msgspec.to_builtins(self)
        if self.database_url is not None:
            # Rather too much than too little: a password may hold what should have been escaped.
            url = re.sub(r"(//[^:@/]*):.*@", r"\1:***@", self.database_url)
            settings["database_url"] = re.sub(r"(password=)[^&\s]+", r"\1***", url)
        for secret in ("kafka_password", "token"):
            if settings[secret] is not None:
                settings[secret] = "***"
        return settings


def read(environment: Mapping[str, str], options: Mapping[str, str] | None = None) -> Config:
    """The configuration of this process; *options* win over everything. Raises ConfigError."""
    settings: dict[str, Any] = {"name": _hostname()}
    if file := environment.get("TURNSTILE_CONFIG"):
        try:
            settings |= tomllib.loads(Path(file).read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"TURNSTILE_CONFIG={file}: {error}") from error
    if url := environment.get("DATABASE_URL"):
        settings["database_url"] = url
    fields = Config.__struct_fields__
    for key, value in environment.items():
        name = key.removeprefix("TURNSTILE_").lower()
        if not (key.startswith("TURNSTILE_") and value) or key == "TURNSTILE_CONFIG":
            continue
        if name in fields:
            settings[name] = _table(name, value) if name == "intake" else value
        elif meant := get_close_matches(name, fields, n=1, cutoff=0.85):
            raise ConfigError(f"there is no {key}: is TURNSTILE_{meant[0].upper()} meant?")
    settings |= options or {}
    _check_tables(settings.get("intake"))
    try:
        config = msgspec.convert(settings, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("`$.", "`")) from error
    _check_intake(config)
    _check_sasl(config)
    return config


def _table(name: str, value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"it is JSON in the environment: {error} - at `{name}`") from error


def _check_tables(intake: Any) -> None:
    """Each request topic by itself, so that the error says which one is at fault."""
    for topic, table in intake.items() if isinstance(intake, dict) else ():
        try:
            msgspec.convert(table, Requests)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$")
            raise ConfigError(f'{reason} - at `intake."{topic}"{path.rstrip("`")}`') from error


def _check_intake(config: Config) -> None:
    for topic, requests in config.intake.items():
        if topic in (f"{config.kafka_topics}.{name}" for name in OWN_TOPICS):
            raise ConfigError(f"{topic} is a topic of the log itself - at `intake`")
        for command in requests.may:
            if command not in _COMMANDS:
                raise ConfigError(f'there is no command {command!r} - at `intake."{topic}".may`')


def _check_sasl(config: Config) -> None:
    for name in ("kafka_username", "kafka_password"):
        if config.kafka_security.startswith("SASL") and getattr(config, name) is None:
            raise ConfigError(f"{config.kafka_security} needs it, and it is not set - at `{name}`")


def _hostname() -> str:
    return re.sub(r"[^A-Za-z0-9._:-]", "-", socket.gethostname())[:64] or "here"
