"""The kinds of stream that there are."""

from typing import Final

from domain.decider import Deciders
from domain.ticket import TICKETS
from domain.worker import WORKERS

DECIDERS: Final = Deciders([TICKETS, WORKERS])
