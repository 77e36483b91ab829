"""A runner of this machine."""

import os
import platform
import signal
import sys
from asyncio import get_running_loop
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

import click
import structlog

from adapters.client import errors
from adapters.client.attempt import AttemptClient
from adapters.client.work import WorkerClient
from adapters.config import Config
from adapters.execution import PROVIDERS, adopt, sweep
from adapters.token_file import kept
from workers.cli import configuration, main, run
from workers.cli.talking import EXIT_AWAY, EXIT_CONFLICT, EXIT_FORBIDDEN, fail
from workers.runner.attempt import Tools, execute
from workers.runner.delivery import Delivery, Kept, Reports, deliver_left
from workers.runner.home import Home, HomeTaken, home
from workers.runner.runner import Runner, Superseded

log = structlog.get_logger()
