"""Which source goes where in the work directory."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from adapters.sources.failures import mistaken
from domain.sources import TRIES, Placed
from domain.workflow import Source

P = TypeVar("P", bound=Placed)


def parameters(source: Source, form: type[P]) -> P:
    """The source's parameters in the form that its kind wants. Raises NotFetched."""
    try:
        return msgspec.convert(source.parameters, form)
    except msgspec.ValidationError as error:
        reason = str(error).replace("`$.", "`parameters.").replace("`$`", "`parameters`")
        raise mistaken(reason) from error


def placed(sources: Sequence[Source]) -> list[tuple[Source, PurePosixPath]]:
    """The sources and their places, what is inside another behind it. Raises NotFetched."""
    places: dict[PurePosixPath, Source] = {}
    for source in sources:
        path = _path(source.parameters.get("path", "."))
        if path in places:
            raise mistaken(
                f"two sources go to {str(path)!r}: each needs a `path` of its own in its parameters"
            )
        places[path] = source
    order = sorted(places.items(), key=lambda one: len(one[0].parts))
    return [(source, path) for path, source in order]


def tries(source: Source) -> int:
    """How often the source is asked for. What is no number is refused by its kind."""
    given = source.parameters.get("tries", TRIES)
    return given if isinstance(given, int) else 1


def _path(given: Any) -> PurePosixPath:
    if not isinstance(given, str) or not given or "\0" in given:
        raise mistaken("`path` is a text")
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts:
        raise mistaken(f"`path` {given!r} leads out of the work directory")
    if any(part.lower() == ".git" for part in path.parts):
        raise mistaken(f"`path` {given!r} leads into what git keeps")
    return path


def made(directory: Path, path: PurePosixPath) -> Path:
    """An empty directory for one source. Raises NotFetched where there is something."""
    place = directory
    for part in path.parts:
        place = place / part
        # A source that was here before may have left a link that leads anywhere.
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise mistaken(f"`path` {str(path)!r}: another source has something else there")
    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise mistaken(f"`path` {str(path)!r}: something is there already")
    return place
