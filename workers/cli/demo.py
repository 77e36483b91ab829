"""`turnstile demo`: the story in a terminal, or as plain lines where there is none."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from time import monotonic
from typing import NoReturn

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.config import Config
from projections import history
from workers import logs
from workers.cli import configuration, main, run
from workers.demo import TICKET, Check, DemoFailed
from workers.demo import demo as show

EXIT_FAILED = 1
"""The exit status of a demonstration that did not show what it must."""

_COLOURS = {
    "PostgreSQL": "blue",
    "Kafka": "blue",
    "author": "magenta",
    "engine-a": "green",
    "engine-b": "green",
    "kill -9": "bold red",
    "nobody": "bold red",
    "reaper": "yellow",
}

_NEXT = (
    ("turnstile diagram ticket", "what may follow what, drawn (or: diagram task)"),
    ("turnstile engine", "an engine of your own; as many as you like share the work"),
    ("domain/ticket/decide.py", "the rules: what follows from a command"),
    ("workers/demo/story.py", "this story"),
    ("make test", "the same with three engines, killed and paused at random"),
)


class Screen:
    """Where the story is shown: a line at a time, as it happens."""

    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # an old terminal shows `?` for an arrow
        self.console = Console(highlight=False)
        self.seconds = 0.0
        self._began = monotonic()
        self._status = self.console.status("", spinner="dots")

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = monotonic() - self._began
        self._status.stop()

    def tell(self, who: str, what: str) -> None:
        """Somebody did something just now."""
        time = f"{monotonic() - self._began:6.1f} s"
        if not self.console.is_terminal:
            self.plain(f"{time}  {who:<10}  {what}")
            return
        line = Table.grid(padding=(0, 2))
        line.add_column(width=8)
        line.add_column(width=10)
        line.add_column()
        line.add_row(Text(time, "dim"), Text(who, _COLOURS.get(who, "cyan")), Text(what))
        self.console.print(line)
        self.wait("")

    def wait(self, what: str) -> None:
        """Nothing can be seen for a while, because of this."""
        self._status.update(Text(what, "dim"))

    def plain(self, line: str = "") -> None:
        """A line as it is."""
        self.console.print(Text(line), soft_wrap=True)

    def title(self, text: str) -> None:
        """What comes now."""
        self.plain()
        self.console.print(Text(text, "bold"))

    def check(self, check: Check) -> None:
        """Something that was checked."""
        mark, colour = ("✓", "green") if check.holds else ("✗", "bold red")
        self.console.print(Text.assemble((mark, colour), f" {check.sentence}"), soft_wrap=True)

    def tell_history(self, rows: Sequence[history.Row]) -> None:
        """A ticket's history."""
        if not self.console.is_terminal:
            for line in history.lines(rows):
                self.plain(line)
            return
        table = Table.grid(padding=(0, 2))
        for justify in ("left", "right", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        table.add_column()
        date = ""
        for row in rows:
            if date != (date := history.day(row.time)):
                table.add_row(Text(date, "dim"))
            what = Text(row.what)
            for detail in row.details:
                what.append(f"\n{detail}", "dim")
            table.add_row(
                Text(history.clock(row.time), "dim"),
                Text(f"+{history.duration(row.since)}" if row.since is not None else "", "dim"),
                Text(str(row.version), "bold"),
                Text(row.actor, _COLOURS.get(row.actor, "cyan")),
                what,
            )
        self.console.print(table)


@main.command()
@click.option("--keep", is_flag=True, help="Leave files and schema there, and say where.")
def demo(keep: bool) -> None:
    """Show it at work: a ticket's life goes on while its engine is killed.

    Starts the bundled PostgreSQL in a temporary directory; where TURNSTILE_KAFKA or DATABASE_URL
    names a server, the demonstration has topics, or a schema, of its own there.
    """
    config = configuration()
    logs.configure(msgspec.structs.replace(config, log_level="error"))
    run(_demo(config, keep))


async def _demo(config: Config, keep: bool) -> None:
    screen = Screen()
    screen.plain("One ticket, three workers, two engines; one of them will be killed.\n")
    ended = _end_on_signals()
    try:
        with screen:
            shown = await show(config, screen, keep=keep)
    except DemoFailed as failed:
        _fail(failed)
    except asyncio.CancelledError:
        click.echo("turnstile: stopped; nothing was left running", err=True)
        sys.exit(128 + ended[0] if ended else EXIT_FAILED)
    screen.title(f"The history of {TICKET}, folded from its events")
    screen.tell_history(shown.history)
    screen.title("Checked in the log")
    for check in shown.checks:
        screen.check(check)
    if not all(check.holds for check in shown.checks):
        click.echo("turnstile: the log is not what it must be; see the crosses", err=True)
        sys.exit(EXIT_FAILED)
    screen.title(f"All of it in {screen.seconds:.1f} s. Where to look next")
    for what, why in _NEXT:
        screen.plain(f"  {what:<25}  {why}")
    if keep:
        if config.kafka is not None:
            settings = f"TURNSTILE_KAFKA_TOPICS={shown.config.kafka_topics}"
        elif config.database_url is not None:
            settings = f"TURNSTILE_SCHEMA={shown.config.schema}"
        else:
            settings = f"TURNSTILE_DATA={shown.config.data}"
        screen.title("Kept")
        screen.plain(f"  {shown.config.data}: what the engines said")
        screen.plain(f"  {settings} turnstile engine: serves this very log")


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


def _fail(failed: DemoFailed) -> NoReturn:
    click.echo(f"turnstile: the demonstration failed: {failed}", err=True)
    for name, tail in failed.logs.items():
        click.echo(f"\nThe end of {name}:", err=True)
        for line in tail:
            click.echo(f"  {line}", err=True)
    sys.exit(EXIT_FAILED)
