"""What msgspec finds wrong with something given, as a refusal that names the field."""

import re
from typing import Final

from domain.errors import Invalid

_ABOUT_FIELD: Final = re.compile(
    r"Object (missing required|contains unknown) field `([^`]*)`"
).match


def invalid(error: Exception, under: str = "") -> Invalid:
    """The refusal of what is wrong by msgspec's *error*; its field is below that one."""
    reason, _, path = str(error).partition(" - at `")
    field = path.removeprefix("key` in `").rstrip("`").lstrip("$.")
    if about := _ABOUT_FIELD(reason):
        field = f"{field}.{about[2]}" if field else about[2]
        reason = "it is missing" if about[1] == "missing required" else "there is no such field"
    field = ".".join(part for part in (under, field) if part)
    return Invalid(field=field or "body", reason=lowered(reason))


def lowered(sentence: str) -> str:
    """The sentence as it goes on behind a colon; a word in capitals stays."""
    return sentence if sentence[1:2].isupper() else sentence[:1].lower() + sentence[1:]
