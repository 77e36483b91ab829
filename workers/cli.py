"""The command line, `turnstile`."""

import click


@click.group()
@click.version_option(package_name="turnstile-server", prog_name="turnstile")
def main() -> None:
    """Run the tests of a large project as tickets."""
