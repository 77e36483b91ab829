"""The bundled PostgreSQL: a supervised child of this process, with a directory of its own.

    async with bundled(Path("data/postgres")) as server:
        connection = await asyncpg.connect(server.dsn)

    child.py      a program that ends with its parent    programs.py   where the programs are
    cluster.py    the directory: whose it is, first use, what a killed server left
    running.py    start, watch, restart, stop: START READING HERE

The directory belongs to the server alone:

    cluster/      PostgreSQL's own files, and the socket; a finished one, or none at all
    cluster.*/    one that was being made when the process was killed; the next start removes it
    server.log    what the programs say; server.log.1 is the one before
    lock          held by the process whose child the server is

For root the programs run as the directory's owner, or as uid 65534 where that is root or, at the
first start, has no name (initdb wants one). Nobody but that user and root can reach the socket, and
nothing listens on the network.
"""

from adapters.postgres.server.errors import (
    AlreadyRunning,
    ForeignDirectory,
    ForeignOwner,
    NoPlaceForSocket,
    ProgramsMissing,
    ServerError,
    StartFailed,
    Unreachable,
    UnsafeCache,
    WrongVersion,
)
from adapters.postgres.server.running import Server, bundled, shared

__all__ = [
    "AlreadyRunning",
    "ForeignDirectory",
    "ForeignOwner",
    "NoPlaceForSocket",
    "ProgramsMissing",
    "Server",
    "ServerError",
    "StartFailed",
    "Unreachable",
    "UnsafeCache",
    "WrongVersion",
    "bundled",
    "shared",
]
