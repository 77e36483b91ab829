"""What of this machine sources may be taken from, where tasks must not see the rest of it.

Sources are fetched by the runner, which may read more than a sandbox shows. So a runner of
sandboxes is told which directories are for sources; without any, nothing of its machine is.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from adapters.sources.failures import mistaken
from adapters.sources.urls import Location


class Local(Struct, frozen=True):
    """The directories below which local sources may be, and what is `hidden` even there.

    Where a repository in there leads on (a worktree, alternates), its owner means it to.
    """

    allowed: Sequence[Path] = ()
    hidden: Sequence[Path] = ()

    def admitted(self, location: Location) -> Location:
        """The location, if it is elsewhere or allowed; as it really is, so no link leads on.

        Raises NotFetched.
        """
        if location.path is None:
            return location
        try:
            path = location.path.resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle, or no path at all
            raise _refused(location) from None
        if not _is_below(path, self.allowed) or _is_below(path, self.hidden):
            raise _refused(location)
        return Location(str(path))

    def hides_in(self, directory: Path) -> bool:
        """Whether something in there is hidden, and must not be copied with the rest."""
        there = directory.resolve()
        return any(one.resolve().is_relative_to(there) for one in self.hidden)


def _is_below(path: Path, directories: Sequence[Path]) -> bool:
    return any(path.is_relative_to(one.resolve()) for one in directories)


def _refused(location: Location) -> Exception:
    return mistaken(
        f"{location.shown} is on the runner's machine, and not below what is for sources there: "
        "`turnstile runner --local DIR` says what is"
    )
