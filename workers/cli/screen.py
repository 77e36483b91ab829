"""Where the demonstration is shown: a terminal, or plain lines where there is none."""

import sys
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from projections import history
from workers.demo import Check

COLOURS: Final = {
    "PostgreSQL": "blue",
    "Kafka": "blue",
    "author": "magenta",
    "service": "green",
    "ticket": "bold",
    "kill -9": "bold red",
    "reaper": "yellow",
}


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
        line.add_row(Text(time, "dim"), Text(who, COLOURS.get(who, "cyan")), Text(what))
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
                Text(row.actor, COLOURS.get(row.actor, "cyan")),
                what,
            )
        self.console.print(table)

    def lines(self, lines: Iterable[str]) -> None:
        """Some lines of somebody else's."""
        for line in lines:
            self.plain(f"  {line}")
