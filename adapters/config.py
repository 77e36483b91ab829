"""The configuration: read once, from one TOML file and the environment, into one frozen object.

    TURNSTILE_<FIELD>     for every field, as TURNSTILE_PARTITIONS=16; DATABASE_URL as well
    TURNSTILE_CONFIG      the TOML file; its keys are the fields' names

The environment wins over the file.
"""

import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0)]


class ConfigError(Exception):
    """The configuration is wrong; says which setting, and why."""


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
    partitions: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Of the log, for ever. Without a number a new log gets 8."""
    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,64}\Z")] = "here"
    """The name of this process among its like, for people to read."""
    lease: Positive = 6.0
    """Seconds after which an engine that is not heard of loses its partitions. Kafka's brokers
    take 6 at the least, unless configured."""
    batch: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    """Commands that are decided together, at most."""
    linger: Annotated[float, Meta(ge=0, le=1)] = 0.010
    """Seconds to wait for more commands when more than one is there."""
    watchdog: Positive = 30.0
    """Seconds after which a process that neither moves nor stands at the end is ended."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is for people in a terminal, and JSON elsewhere."""

    def shown(self) -> dict[str, Any]:
        """The settings, with secrets hidden."""
        settings = msgspec.structs.asdict(self)
        if self.database_url is not None:
            # Rather too much than too little: a password may hold what should have been escaped.
            url = re.sub(r"(//[^:@/]*):.*@", r"\1:***@", self.database_url)
            settings["database_url"] = re.sub(r"(password=)[^&\s]+", r"\1***", url)
        if self.kafka_password is not None:
            settings["kafka_password"] = "***"
        return settings


def read(environment: Mapping[str, str]) -> Config:
    """The configuration of this process. Raises ConfigError."""
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
        if key.startswith("TURNSTILE_") and name in fields:
            settings[name] = value
    try:
        return msgspec.convert(settings, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("`$.", "`")) from error


def _hostname() -> str:
    return re.sub(r"[^A-Za-z0-9._:-]", "-", socket.gethostname())[:64] or "here"
