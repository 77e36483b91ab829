"""Commands that show what there is and change nothing."""

import json
from typing import Any

import click

from adapters.kafka.asyncapi import document
from domain.automaton import Automaton
from domain.kinds import DECIDERS
from domain.ticket.automata import TASK, TICKET
from domain.worker.automata import WORKER
from workers.cli import configuration, main


@main.command()
def config() -> None:
    """Print the configuration in force, with secrets hidden."""
    click.echo(json.dumps(configuration().shown(), indent=2))


@main.command()
@click.argument("automaton", type=click.Choice(["ticket", "task", "worker"]))
def diagram(automaton: str) -> None:
    """Print the AUTOMATON as a Mermaid diagram."""
    automata: dict[str, Automaton[Any]] = {"ticket": TICKET, "task": TASK, "worker": WORKER}
    click.echo(automata[automaton].diagram(), nl=False)


@main.command()
def asyncapi() -> None:
    """Print what is in the Kafka topics as an AsyncAPI document."""
    click.echo(json.dumps(document(DECIDERS), indent=2))
