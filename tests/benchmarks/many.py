"""A million tickets in the real tables, without a million lives.

A few patterns are decided and folded by the real rules. The server then makes the rows of all
tickets from those of the patterns: with ids, times, projects, names, labels, workers and test
cases of their own. One ticket in `ARCHIVED` has its events in the archive too.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from adapters.codec import Codec
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views import rows
from domain.event import Event
from domain.ticket import commands as c
from domain.ticket.words import Outcome, Result
from projections.rows import Attempt, Task, Ticket
from projections.rows import Result as ResultRow
from projections.tickets import Changes, Views
from tests.unit.given import Given, claim, errored, lose, opening, report, task, working

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

ARCHIVED: Final = 20
WAITING: Final = 6_000
"""Tickets that are open, the newest ones; all others have ended."""

MINUTE: Final = timedelta(minutes=1)
TABLES: Final[Mapping[str, type[Struct]]] = {
    "tickets": Ticket,
    "tasks": Task,
    "attempts": Attempt,
    "results": ResultRow,
}


class Pattern(Struct, frozen=True):
    """A life, and how many of a thousand tickets have it: of those that have ended, or not."""

    share: int
    is_open: bool
    facts: Sequence[Any]


ARM: Final = {"arch": ("arm64",)}
PAIR: Final = opening(task("build"), task("unit", "build"), task("login", "build", requires=ARM))
SAID: Final = tuple(Result(name, Outcome.PASSED) for name in ("boot", "login", "upgrade"))
BAD: Final = (*SAID[:2], Result("upgrade", Outcome.FAILED, "exit status 1"))


def _passes(name: str) -> Iterable[Any]:
    return (MINUTE, *working(name), MINUTE, report(name, Outcome.PASSED, results=SAID))


PATTERNS: Final = (
    Pattern(850, False, (PAIR, *_passes("build"), *_passes("unit"), *_passes("login"))),
    Pattern(
        100,
        False,
        (
            *(PAIR, *_passes("build"), claim("unit"), lose("unit"), *_passes("login"), MINUTE),
            *(*working("unit"), report("unit", Outcome.FAILED, results=BAD)),
        ),
    ),
    Pattern(28, False, (PAIR, *_passes("build"), MINUTE, c.Cancel(reason="not wanted"))),
    Pattern(15, False, (PAIR, MINUTE, c.Supersede(by="1"))),
    Pattern(6, False, (PAIR, *errored("build"))),
    Pattern(1, False, (PAIR, timedelta(days=365), c.Expire())),
    Pattern(600, True, (PAIR,)),
    Pattern(200, True, (PAIR, MINUTE, *working("build"))),
    Pattern(150, True, (PAIR, *_passes("build"), MINUTE, *working("unit"))),
    Pattern(50, True, (opening(task("build", held=True)),)),
)

CHOSEN: Final = f"""
CREATE UNLOGGED TABLE chosen AS
SELECT n, n::text AS ticket, p.pattern,
       make_interval(secs => (n - $1) * 5.0) AS shift,
       CASE WHEN h % 1000 < 600 THEN 'pull_request' WHEN h % 1000 < 950 THEN 'commit'
            WHEN h % 10000 <> 9999 THEN 'package' ELSE 'build' END AS kind,
       'project-' || floor(300 * power((h % 4099) / 4099.0, 3))::int AS project,
       CASE WHEN h % 1000 < 600 THEN '#' || n WHEN h % 3 < 2 THEN 'main'
            ELSE 'release-' || h % 97 END AS name,
       md5(n::text) || '00000000' AS revision,
       CASE WHEN h % 7 = 0 THEN '{{}}'::jsonb
            ELSE jsonb_build_object('team', 'team-' || h % 10)
                 || CASE WHEN h % 20 = 3 THEN '{{"nightly": "yes"}}' ELSE '{{}}' END::jsonb
                 || CASE WHEN h % 9973 = 5 THEN '{{"bisect": "yes"}}' ELSE '{{}}' END::jsonb
       END AS labels,
       h
FROM (SELECT n, hashint8extended(n, 1) & 2147483647 AS h FROM generate_series(1, $1::int) n) AS one
JOIN shares AS p ON p.is_open = (n > $1 - {WAITING}) AND p.place = (h / 13) % 1000
"""

OWN: Final[Mapping[str, str]] = {
    "ticket": "t.ticket",
    "kind": "t.kind",
    "project": "t.project",
    "name": "t.name",
    "revision": "t.revision",
    "labels": "t.labels",
    "worker": "CASE WHEN p.worker IS NOT NULL THEN 'worker-' || t.h % 500 END",
    "rank": "p.rank + extract(epoch FROM t.shift)",
    "sequence": "t.n * 100 + p.sequence",
    "testcase": "CASE p.testcase WHEN 'boot' THEN 'boot'"
    " ELSE p.testcase || '-' || (t.h + p.token) % 5000 END",
}
"""What a row has of its own; times are shifted, and all else is its pattern's."""


async def fill(views: Address, archive: Address, tickets: int, partitions: int) -> None:
    """Make so many, with the indexes that the tables have."""
    connection = await connect(views, transaction_timeout="0", maintenance_work_mem="512MB")
    lives = [Given(*pattern.facts, stream="ticket/1") for pattern in PATTERNS]
    try:
        await connection.execute(
            "CREATE UNLOGGED TABLE shares (is_open bool, place int, pattern int)"
        )
        await connection.copy_records_to_table("shares", records=_places())
        await connection.execute(CHOSEN.replace("$1", str(tickets)), timeout=600)
        folded = [_folded(life) for life in lives]
        for table, kind in TABLES.items():
            await _make(
                connection,
                table,
                kind,
                [getattr(one, f"new_{table}", one.results) for one in folded],
            )
        await _archive(connection, archive.schema, lives, partitions)
        await connection.execute("DROP TABLE shares, chosen")
        for table in (*TABLES, f'"{archive.schema}".events'):
            await connection.execute(f"VACUUM (ANALYZE) {table}", timeout=600)
    finally:
        await close(connection)


def _places() -> Iterable[tuple[bool, int, int]]:
    """Of a thousand places which pattern has which."""
    behind = {True: 0, False: 0}
    for number, pattern in enumerate(PATTERNS):
        for _ in range(pattern.share):
            yield pattern.is_open, behind[pattern.is_open], number
            behind[pattern.is_open] += 1


def _folded(life: Given) -> Changes:
    """Its rows."""
    views = Views(0)
    for sequence, recorded in enumerate(life.history, start=1):
        views.fold(replace(recorded, sequence=sequence))
    return views.changes()


async def _make(
    connection: "Connection", table: str, kind: type[Struct], patterns: Sequence[Sequence[Struct]]
) -> None:
    columns = rows.columns(kind)
    statement = await connection.prepare(f"SELECT * FROM {table}")
    times = {one.name for one in statement.get_attributes() if one.type.name == "timestamptz"}
    await connection.execute(f"CREATE UNLOGGED TABLE patterns (pattern int, LIKE {table})")
    await connection.copy_records_to_table(
        "patterns",
        records=[(n, *row) for n, of in enumerate(patterns) for row in rows.written(of)],
        columns=["pattern", *columns],
    )
    values = ", ".join(
        OWN.get(name) or (f"p.{name} + t.shift" if name in times else f"p.{name}")
        for name in columns
    )
    await _inserted(
        connection,
        table,
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"
        " FROM chosen AS t JOIN patterns AS p USING (pattern) ORDER BY t.n",
    )
    await connection.execute("DROP TABLE patterns")


async def _inserted(connection: "Connection", table: str, statement: str) -> None:
    """Insert without the indexes that are not constraints, and make those again as they were."""
    indexes = await connection.fetch(
        "SELECT c.oid::regclass::text AS name, pg_get_indexdef(c.oid) AS made FROM pg_index AS i"
        " JOIN pg_class AS c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = $1::regclass AND NOT i.indisunique",
        table,
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    await connection.execute(statement, timeout=600)
    for index in indexes:
        await connection.execute(index["made"], timeout=600)


async def _archive(
    connection: "Connection", schema: str, lives: Sequence[Given], partitions: int
) -> None:
    """The events of some; what they say inside is what their pattern's say."""
    codec, encoded = Codec(()), []
    for n, life in enumerate(lives):
        for one in life.history:
            event: Event = one.event
            encoded.append(
                (
                    *(n, one.originator_version, event.topic, event.class_version, one.time),
                    *(one.actor, one.causationid, codec.encode_event(event)),
                )
            )
    await connection.execute(
        "CREATE UNLOGGED TABLE patterns (pattern int, version int, topic text, form smallint,"
        " time timestamptz, actor text, cause uuid, state bytea)"
    )
    await connection.copy_records_to_table("patterns", records=encoded)
    await connection.execute(
        f'INSERT INTO "{schema}".events (partition, sequence, originator_id, originator_version,'
        " topic, schemaversion, id, causationid, time, actor, upto, state)"
        f" SELECT t.n % {partitions}, t.n * 100 + p.version, 'ticket/' || t.ticket, p.version,"
        " p.topic, p.form, gen_random_uuid(), p.cause, p.time + t.shift, p.actor, 0, p.state"
        f" FROM chosen AS t JOIN patterns AS p USING (pattern) WHERE t.n % {ARCHIVED} = 0",
        timeout=600,
    )
    await connection.execute("DROP TABLE patterns")
