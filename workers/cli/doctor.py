"""What is wrong with a service, and what to do about it."""

import sys
from pathlib import Path

from rich.text import Text

from adapters.config import Config
from adapters.log import LogError
from workers.cli import configuration, main, run
from workers.cli.output import as_json, console, print_json
from workers.cli.talking import EXIT_AWAY, EXIT_FAILED, fail
from workers.compose import REACTOR, assemble, examining, views_of
from workers.doctor import examine
from workers.findings import Finding, Level

MARKS = {Level.WELL: ("✓", "green"), Level.WATCH: ("!", "yellow"), Level.WRONG: ("✗", "bold red")}


@main.command()
@as_json
def doctor(in_json: bool) -> None:
    """Look for what is wrong: partitions, owners, leases, workers, dead letters, clocks, disk.

    Ends with 0 if nothing is wrong, with 1 if something is, with 69 if the log is away.
    """
    config = configuration(quiet=True)
    if config.database_url is None and not _is_there(config):
        hint = "`turnstile up` makes it; DATABASE_URL or TURNSTILE_DATA may name another."
        fail(EXIT_AWAY, f"there is no service in {config.data}", hint)
    worst: list[Level] = []
    try:
        run(_examine(config, worst, in_json=in_json))
    except (LogError, OSError) as error:
        hint = "Is it running, and is the address right? `turnstile config` shows what is in force."
        fail(EXIT_AWAY, str(error), hint)
    sys.exit(EXIT_FAILED if Level.WRONG in worst else 0)


def _is_there(config: Config) -> bool:
    try:
        return (Path(config.data) / "postgres").exists()
    except OSError as error:
        fail(EXIT_AWAY, str(error), "It is another user's; TURNSTILE_DATA may name another.")


async def _examine(config: Config, found: list[Level], *, in_json: bool) -> None:
    async with (
        assemble(config, views=(*views_of(config), REACTOR)) as service,
        examining(service) as looked,
    ):
        async for finding in examine(config, service.progress(), *looked):
            found.append(finding.level)
            _tell(finding, in_json=in_json)


def _tell(finding: Finding, *, in_json: bool) -> None:
    if in_json:
        print_json(finding)
        return
    mark, colour = MARKS[finding.level]
    out = console()
    out.print(Text.assemble((mark, colour), f" {finding.what}"))
    if finding.advice:
        out.print(Text(f"    {finding.advice}", "yellow"))
