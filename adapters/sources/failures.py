"""How fetching fails.

NotFetched     the attempt cannot begin; says whether the infrastructure or the workflow is at fault
Away           not now, but perhaps if one asks again
"""

from domain.ticket.words import Execution


class NotFetched(Exception):
    """A source is not there. `execution` is INFRASTRUCTURE or CONFIGURATION."""

    def __init__(self, execution: Execution, reason: str) -> None:
        super().__init__(reason)
        self.execution = execution
        self.reason = reason


class Away(Exception):
    """It did not work this time, and asking again may help."""


def mistaken(reason: str) -> NotFetched:
    """The workflow asks for what cannot be: nobody needs to try again."""
    return NotFetched(Execution.CONFIGURATION, reason)


def unavailable(reason: str) -> NotFetched:
    """The infrastructure does not give it; another runner may get it."""
    return NotFetched(Execution.INFRASTRUCTURE, reason)
