"""The command line, `turnstile`."""

import atexit
import gc
import os
import sys
from collections.abc import Coroutine, Mapping
from importlib import import_module
from typing import Any, Final

import click
import msgspec
import uvloop

from adapters.config import Config, ConfigError, read
from workers.logs import configure

EXIT_CONFIG = 78
"""The exit status for a configuration that is wrong (EX_CONFIG)."""


SECTIONS: Final = {
    "The service": {
        "up": "roles",
        "engine": "roles",
        "projector": "roles",
        "api": "roles",
        "intake": "roles",
        "reactor": "roles",
        "reaper": "roles",
        "runner": "runner",
    },
    "Tickets": {
        "run": "run",
        "init": "init",
        "submit": "submit",
        "tickets": "tickets",
        "show": "tickets",
        "watch": "watching",
        "queue": "tickets",
        "results": "tickets",
        "log": "logs",
        "artifacts": "logs",
        "history": "history",
        "replay": "history",
        "cancel": "steering",
        "rerun": "steering",
        "hold": "steering",
        "priority": "steering",
        "revoke": "steering",
    },
    "Operation": {
        "doctor": "doctor",
        "worker": "worker",
        "dead": "dead",
        "rebuild": "views",
        "token": "token",
        "config": "show",
    },
    "More": {
        "demo": "demo",
        "diagram": "show",
        "schema": "submit",
        "asyncapi": "show",
        "completion": "completing",
    },
}
"""In which module of this package each command is. Only that one is imported, as some are slow."""


class Sections(click.Group):
    """Commands in sections, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of them all."""
        return [name for section in SECTIONS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from its module."""
        for section in SECTIONS.values():
            if cmd_name in section:
                import_module(f"{__name__}.{section[cmd_name]}")
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A list for each section."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                commands = ((name, self.get_command(ctx, name)) for name in section)
                formatter.write_dl(
                    [(name, one.get_short_help_str(90)) for name, one in commands if one]
                )


EXITS: Final = """\b
Exit status: 0 done, 1 the ticket did not pass, 2 wrong usage, 65 what was given
is wrong, 66 there is no such ticket, worker or file, 69 the service or its log
is away, 73 the state does not permit it, 75 nobody answered in time (the same
again is safe), 77 the token is missing or not for this, 78 the configuration is
wrong.
"""


@click.group(cls=Sections, epilog=EXITS)
@click.version_option(package_name="turnstile-server", prog_name="turnstile")
def main() -> None:
    """Run the tests of a large project as tickets."""
    # The interpreter looks for garbage once more when it ends, and now and then falls over what
    # msgspec has of types (its issue 717): an exit status would be lost. Now it looks at nothing.
    atexit.register(gc.freeze)


def configuration(options: Mapping[str, str] | None = None, *, quiet: bool = False) -> Config:
    """The configuration of this process; logging begins with it, of warnings only if *quiet*.

    What was given as *options* wins over everything.
    """
    try:
        config = read(os.environ, options)
    except ConfigError as error:
        click.echo(f"turnstile: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    configure(msgspec.structs.replace(config, log_level="warning") if quiet else config)
    return config


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a role until it ends."""
    uvloop.run(main)
