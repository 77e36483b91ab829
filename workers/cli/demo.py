"""`turnstile demo`: the story in a terminal, or as plain lines where there is none."""

import asyncio
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NoReturn

import click
import msgspec
from msgspec.structs import replace

from adapters.config import Config
from projections.history import Row
from workers import logs
from workers.cli import configuration, main, run
from workers.cli.history import row_of
from workers.cli.screen import Screen
from workers.demo import DemoFailed, Outcome, Shown
from workers.demo import demo as show

EXIT_FAILED: Final = 1
"""The exit status of a demonstration that did not show what it must."""

NEXT: Final = (
    ("turnstile up", "a service of your own; Ctrl-C ends it, and its data stays in .turnstile"),
    ("turnstile run -- make lint", "in another terminal: a command of yours, as a ticket"),
    ("turnstile init", "writes a first workflow, with comments; `submit` opens it as a ticket"),
    ("workers/demo/workflow.toml", "the workflow of this ticket"),
    ("workers/demo/story.py", "this story"),
    ("README.md", "workflows, services, runners elsewhere"),
)

END: Final = 8
"""Lines of a log that are shown."""


@main.command()
@click.option("--keep", is_flag=True, help="Leave the data there, and say how to look at it.")
def demo(keep: bool) -> None:
    """Show it at work: a ticket for Turnstile's own commit, while a runner is killed.

    In a clone of Turnstile's repository. Starts a service in a temporary directory, with two
    runners; where TURNSTILE_KAFKA or DATABASE_URL names a server, the log has topics, or a schema,
    of its own there.
    """
    config = configuration()
    logs.configure(msgspec.structs.replace(config, log_level="error"))
    run(_demo(config, keep))


async def _demo(config: Config, keep: bool) -> None:
    screen = Screen()
    screen.plain("A ticket for this repository’s HEAD, and two runners; one of them is killed.\n")
    ended = _end_on_signals()
    try:
        with screen:
            shown = await show(config, screen, keep=keep)
    except DemoFailed as failed:
        _fail(f"the demonstration failed: {failed}", failed.logs)
    except asyncio.CancelledError:
        click.echo("turnstile: stopped; nothing was left running", err=True)
        sys.exit(128 + ended[0] if ended else EXIT_FAILED)
    _tell(screen, shown.outcome)
    screen.title("Checked")
    for check in shown.checks:
        screen.check(check)
    if keep:
        _tell_kept(screen, config, shown)
    if not all(check.holds for check in shown.checks):
        _fail(
            "it is not what it must be; see the crosses", {**shown.logs, **_failed(shown.outcome)}
        )
    screen.title(f"All of it in {screen.seconds:.1f} s. Where to look next")
    for what, why in NEXT:
        screen.plain(f"  {what:<27} {why}")


def _tell(screen: Screen, outcome: Outcome) -> None:
    ticket = outcome.ticket.ticket
    screen.title(f"turnstile history {ticket}")
    rows = [row_of(event) for event in outcome.events]
    screen.tell_history([_shortened(row) for row in rows])
    screen.title(f"turnstile results {ticket}")
    for result in reversed(outcome.results):
        seconds = "" if result.duration is None else f"{result.duration:.1f} s"
        screen.plain(
            f"  {result.testcase:<17} {result.outcome:<7} {seconds:>7}  {result.summary}".rstrip()
        )
    screen.title("Artifacts")
    screen.lines(_artifacts(outcome))
    screen.title(f"turnstile log {ticket} slowest (its end)")
    screen.lines(outcome.log_of("slowest").splitlines()[-END:])


def _shortened(row: Row) -> Row:
    """Without what stands in the workflow, and the ids of requests."""
    what = re.sub(", request [0-9a-f-]{36}", "", row.what)
    return replace(row, what=what, details=() if row.version == 1 else row.details)


def _artifacts(outcome: Outcome) -> Iterator[str]:
    for attempt in outcome.attempts:
        for one in outcome.artifacts.get(attempt.token, ()):
            yield f"{attempt.task}/{one.name:<12}  {one.size:>7} bytes  {one.digest[:23]}…"


def _failed(outcome: Outcome) -> Mapping[str, Sequence[str]]:
    """The ends of the logs of tasks that should have passed."""
    return {
        f"the log of {task.task}": outcome.log_of(task.task).splitlines()[-2 * END :]
        for task in outcome.tasks
        if task.required and task.state != "passed"
    }


def _tell_kept(screen: Screen, config: Config, shown: Shown) -> None:
    settings = [f"TURNSTILE_DATA={shown.config.data}"]
    if config.kafka is not None:
        settings += [
            f"TURNSTILE_KAFKA={config.kafka}",
            f"TURNSTILE_KAFKA_TOPICS={shown.config.kafka_topics}",
        ]
    if config.database_url is not None:
        settings.append(f"TURNSTILE_SCHEMA={shown.config.schema}")
    screen.title("Kept")
    screen.plain(f"  {shown.config.data}: what the processes have said, and all data")
    screen.plain(f"  {' '.join(settings)} turnstile up: serves it again")


def _end_on_signals() -> list[int]:
    """Have the first signal end this task in order; the list says which one it was."""
    ended: list[int] = []
    task = asyncio.current_task()

    def end(number: int) -> None:
        ended.append(number)
        if task is not None and len(ended) == 1:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    return ended


def _fail(reason: str, tails: Mapping[str, Sequence[str]]) -> NoReturn:
    click.echo(f"turnstile: {reason}", err=True)
    for name, tail in tails.items():
        click.echo(f"\nThe end of {name}:", err=True)
        for line in tail:
            click.echo(f"  {line}", err=True)
    sys.exit(EXIT_FAILED)
