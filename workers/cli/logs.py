"""Logs and artifacts: what attempts have said, and what they have left."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import click

from adapters.client import Artifact, Attempt, Client, TurnstileError
from workers.cli import main
from workers.cli.completing import TICKET
from workers.cli.output import Column, as_json, console, one_line, print_json, table
from workers.cli.talking import EXIT_MISSING, EXIT_WRONG, fail, talk
from workers.cli.tickets import must_have

STEP: Final = 64 * 1024
"""Bytes of the end of a log that are looked at first, when so many lines are asked for."""

COMING: Final = 0.5
"""Seconds between two looks for an attempt that has not begun."""

COLUMNS: Final[Sequence[Column]] = (
    ("NAME", lambda row: row.name),
    ("BYTES", lambda row: str(row.size)),
    ("DIGEST", lambda row: row.digest),
)


@main.command()
@click.argument("ticket", type=TICKET)
@click.argument("task", required=False)
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Its N-th; else the newest.")
@click.option("--follow", "-f", is_flag=True, help="Go on until it has ended.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
def log(ticket: str, task: str | None, attempt: int | None, follow: bool, tail: int | None) -> None:
    """Print what an attempt at a TASK has said, byte for byte.

    A ticket of one task needs no TASK. With --follow an attempt that has not begun is waited for.
    """

    async def ask(client: Client) -> None:
        found = await _attempt(client, ticket, task, attempt, wait=follow)
        start = 0 if tail is None else await _beginning(client, found, tail)
        read = client.log(ticket, found.token, start=start, follow=follow)
        async for piece in read:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    talk(ask)


@main.command()
@click.argument("ticket", type=TICKET)
@click.argument("task", required=False)
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Its N-th; else the newest.")
@click.option("--get", "name", metavar="NAME", help="Fetch the one of this name.")
@click.option("--all", "everything", is_flag=True, help="Fetch them all.")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The directory where what is fetched goes; else the present one.",
)
@as_json
def artifacts(
    ticket: str,
    task: str | None,
    attempt: int | None,
    name: str | None,
    everything: bool,
    output: Path,
    in_json: bool,
) -> None:
    """List what an attempt at a TASK has left, or fetch it.

    A ticket of one task needs no TASK.
    """
    if name is not None and everything:
        raise click.UsageError("Fetch --all or --get one.")

    async def ask(client: Client) -> None:
        found = await _attempt(client, ticket, task, attempt)
        left = await client.artifacts(ticket, found.token)
        if name is None and not everything:
            _list(left, in_json=in_json)
            return
        wanted = [one for one in left if everything or one.name == name]
        if not wanted and name is not None:
            fail(EXIT_MISSING, f"there is no artifact {name!r}", "Without --get, they are listed.")
        for one in wanted:
            file = output / _inside(one.name)
            await _fetch(client, one, file)
            if in_json:
                print_json(one)
            else:
                click.echo(str(file))

    talk(ask)


async def _attempt(
    client: Client, ticket: str, task: str | None, number: int | None, *, wait: bool = False
) -> Attempt:
    """The attempt that is meant; where it may *wait*, once it is there."""
    task, is_known = (await _only_task(client, ticket), True) if task is None else (task, False)
    while True:
        attempts = [one async for one in client.attempts(ticket, task=task)]
        wanted = [one for one in attempts if number is None or one.number == number]
        if wanted:
            return wanted[-1]
        if not is_known:
            await must_have(client, ticket, task)
            is_known = True
        if not wait or (await client.ticket(ticket)).has_ended:
            which = "attempt" if number is None else f"attempt {number}"
            then = f"`turnstile show {ticket}` says how far it is."
            fail(EXIT_MISSING, f"there is no {which} at task {task!r} of {ticket!r}", then)
        await asyncio.sleep(COMING)


async def _only_task(client: Client, ticket: str) -> str:
    names = [one.task async for one in client.tasks(ticket)]
    if len(names) != 1:
        some = one_line(", ".join(names), 200)
        fail(EXIT_WRONG, f"{ticket!r} has {len(names)} tasks: name one", f"They are: {some}")
    return names[0]


async def _beginning(client: Client, attempt: Attempt, lines: int) -> int:
    """Where the last lines begin: of the end so much is looked at as it takes."""
    looked, size = STEP, await client.log_size(attempt.ticket, attempt.token)
    while lines:
        begin, end = max(0, size - looked), bytearray()
        async for piece in client.log(attempt.ticket, attempt.token, start=begin):
            end += piece
        at = len(end) - 1 if end.endswith(b"\n") else len(end)
        for _ in range(lines):
            at = end.rfind(b"\n", 0, at)
            if at < 0:
                break
        if at >= 0:
            return begin + at + 1
        if begin == 0:
            return 0
        looked *= 8
    return size


def _list(left: Sequence[Artifact], *, in_json: bool) -> None:
    if in_json:
        for one in left:
            print_json(one)
    elif left:
        console().print(table(COLUMNS, left))
    else:
        console().print("It has left nothing.", style="dim")


def _inside(name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        fail(EXIT_WRONG, f"the artifact {name!r} would lie outside of the directory")
    return Path(path)


async def _fetch(client: Client, artifact: Artifact, file: Path) -> None:
    """Have it as a file. Raises TurnstileError if what comes is not all of it."""
    await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
    size = 0
    with await asyncio.to_thread(file.open, "wb") as opened:
        async for piece in client.artifact(artifact.digest):
            size += len(piece)
            opened.write(piece)
    if size != artifact.size:
        raise TurnstileError(f"of {artifact.name} came {size} bytes of {artifact.size}")
