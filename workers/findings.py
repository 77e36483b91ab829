"""What a doctor says."""

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How bad it is."""

    WELL = "well"
    WATCH = "watch"
    WRONG = "wrong"


class Finding(Struct, frozen=True):
    """Something that was looked at, how it is, and what to do if it is not well."""

    level: Level
    what: str
    advice: str = ""
