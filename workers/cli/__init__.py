"""The command line, `turnstile`."""

import os
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

import click
import msgspec
import uvloop

from adapters.config import Config, ConfigError, read
from workers.logs import configure

EXIT_CONFIG = 78
"""The exit status for a configuration that is wrong (EX_CONFIG)."""


@click.group()
@click.version_option(package_name="turnstile-server", prog_name="turnstile")
def main() -> None:
    """Run the tests of a large project as tickets."""


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


from workers.cli import demo, roles, show, views  # noqa: E402 - they add their commands to `main`

__all__ = ["demo", "main", "roles", "show", "views"]
