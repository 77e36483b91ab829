"""Commands that show what there is and change nothing."""

import json

import click

from domain.ticket.automata import TASK, TICKET
from workers.cli import configuration, main


@main.command()
def config() -> None:
    """Print the configuration in force, with secrets hidden."""
    click.echo(json.dumps(configuration().shown(), indent=2))


@main.command()
@click.argument("automaton", type=click.Choice(["ticket", "task"]))
def diagram(automaton: str) -> None:
    """Print the AUTOMATON as a Mermaid diagram."""
    click.echo({"ticket": TICKET, "task": TASK}[automaton].diagram())
