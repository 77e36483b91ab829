"""What a source may be told, by its kind, where a `shell` task has it and our runner fetches it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from domain.errors import Invalid
from domain.faults import invalid

TRIES: Final = 3
"""How often an attempt asks for a source whose parameters do not say it."""


class Placed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every kind of source may be told.

    Attributes:
        path: where it goes, below the work directory.
        tries: how often one attempt asks for it; what comes then is the ticket's decision.
    """

    path: str = "."
    tries: Annotated[int, Meta(ge=1, le=100)] = TRIES


class Git(Placed, frozen=True, kw_only=True):
    """What a git source may ask for, besides its place.

    Attributes:
        merge: another revision, merged into the source's. A conflict is the workflow's mistake.
        depth: commits of history, at the least; without it there is all of it.
        submodules: whether the repositories in the repository are fetched too.
        ref: what to fetch where a server does not give a commit that one asks for.
    """

    merge: str | None = None
    depth: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    submodules: bool = False
    ref: str | None = None


class Archive(Placed, frozen=True, kw_only=True):
    """What an archive may ask for: how many leading folders of its names are left out."""

    strip: Annotated[int, Meta(ge=0, le=100)] = 0


FORMS: Final[Mapping[str, type[Placed]]] = {"archive": Archive, "directory": Placed, "git": Git}
"""The parameters of each kind."""


def check_source(kind: str, parameters: Mapping[str, Any], field: str) -> None:
    """Refuse a source, which is in that *field*, of which our runner could make nothing.

    Raises:
        Invalid: an unknown kind, an unknown parameter or one of another type.
    """
    form = FORMS.get(kind)
    if form is None:
        known = ", ".join(sorted(FORMS))
        raise Invalid(field=f"{field}.kind", reason=f"{kind!r} is none that there is: {known}")
    try:
        msgspec.convert(parameters, form)
    except msgspec.ValidationError as error:
        raise invalid(error, under=f"{field}.parameters") from error
