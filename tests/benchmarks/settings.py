"""What is measured and how much of it, from the environment."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

MODES: Final = (
    *("bulk", "idle", "large", "takeover", "rebuild", "queries", "memory", "open"),
    *("http", "latency"),
)


class SettingsError(Exception):
    """A setting is wrong; says which, and why."""


class Settings(Struct, frozen=True):
    """`tickets` is how many the modes bulk, rebuild and queries have, `in_flight` how many are
    open at once, `events` how many, about, the modes memory and open put into a partition.

    In the modes http and latency `workers` have so many `slots` each. In the mode http `idlers`
    wait for so many `seconds`, and then a quarter of the tickets comes. The mode latency lasts as
    long, and opens `rate` tickets a second.
    """

    log: str = "postgres"
    mode: str = "all"
    json: str | None = None
    tickets: Annotated[int, Meta(ge=1, le=10_000_000)] = 40_000
    in_flight: Annotated[int, Meta(ge=1, le=100_000)] = 5_000
    events: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 1_000_000
    engines: Annotated[int, Meta(ge=1, le=64)] = 1
    views: bool = True
    workers: Annotated[int, Meta(ge=1, le=1_000)] = 4
    slots: Annotated[int, Meta(ge=1, le=1_000)] = 100
    idlers: Annotated[int, Meta(ge=1, le=10_000)] = 200
    seconds: Annotated[float, Meta(gt=0, le=3_600)] = 20.0
    rate: Annotated[float, Meta(gt=0, le=100_000)] = 100.0

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes to run."""
        return MODES if self.mode == "all" else (self.mode,)


def read(environment: Mapping[str, str]) -> Settings:
    """The settings. Raises SettingsError."""
    found = {
        field: value
        for field in Settings.__struct_fields__
        if (value := environment.get(_variable(field)))
    }
    try:
        settings = msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(re.sub(r"`\$\.(\w+)`", _named, str(error))) from error
    if settings.mode not in ("all", *MODES):
        raise SettingsError(f"MODE={settings.mode}: the modes are {', '.join(MODES)} and all")
    return settings


def _variable(field: str) -> str:
    return field.upper() if field in ("log", "mode") else f"BENCH_{field.upper()}"


def _named(path: re.Match[str]) -> str:
    return _variable(path[1])
