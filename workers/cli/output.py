"""What is printed: tables and colour for people, a JSON value a line for programs."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from projections.history import duration

T = TypeVar("T")

COLOURS: Final = {
    "passed": "green",
    "failed": "bold red",
    "errored": "bold magenta",
    "timed_out": "bold red",
    "cancelled": "dim",
    "superseded": "dim",
    "skipped": "dim",
    "expired": "bold yellow",
    "running": "cyan",
    "claimed": "cyan",
    "ready": "blue",
    "held": "yellow",
    "available": "green",
    "draining": "yellow",
    "gone": "dim",
}

as_json = click.option("--json", "in_json", is_flag=True, help="A JSON value a line.")

WIDE: Final = 240
"""Columns where there is no terminal, and whoever reads it may cut."""

Column = tuple[str, Callable[[Any], str | Text]]


def console() -> Console:
    """Standard output, as wide as the terminal, or as it takes where there is none."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=WIDE)


def print_json(value: Any) -> None:
    """One value, on a line of its own."""
    click.echo(msgspec.json.encode(value))


async def print_rows(
    rows: AsyncIterator[Any], columns: Sequence[Column], *, limit: int, in_json: bool, none: str
) -> None:
    """The first rows as a table, and whether there are more; or all of those as JSON."""
    if in_json:
        async for row in _first(rows, limit):
            print_json(row)
        return
    found = [row async for row in _first(rows, limit + 1)]
    out = console()
    if not found:
        out.print(Text(none, "dim"))
        return
    out.print(table(columns, found[:limit]))
    if len(found) > limit:
        out.print(Text(f"… and more: --limit {limit * 10} shows them", "dim"))


async def _first(rows: AsyncIterator[T], limit: int) -> AsyncIterator[T]:
    n = 0
    async for row in rows:
        yield row
        n += 1
        if n == limit:
            return


def table(columns: Sequence[Column], rows: Iterable[Any]) -> Table:
    """Rows as a table without lines."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for n, (name, _) in enumerate(columns):
        made.add_column(name, overflow="fold", no_wrap=n == 0)
    for row in rows:
        made.add_row(*(cell(row) for _, cell in columns))
    return made


def state(word: str) -> Text:
    """A state in its colour."""
    return Text(word, COLOURS.get(word, ""))


def ago(then: datetime | None) -> Text:
    """How long ago that was, or how far away it is."""
    if then is None:
        return Text("")
    passed = datetime.now(UTC) - then
    if passed.total_seconds() < 0:
        return Text(f"in {duration(-passed)}", "dim")
    return Text(f"{duration(passed)} ago", "dim")


def one_line(text: str, longest: int = 60) -> str:
    """The first line of a text, and not too much of it."""
    line = text.partition("\n")[0]
    line = "".join(sign if sign.isprintable() else "�" for sign in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
