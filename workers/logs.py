"""How the processes log: one structured line for each unit of work, on standard error."""

import logging
import sys
from collections import Counter
from typing import Final

import orjson
import structlog

from adapters.config import Config


def configure(config: Config) -> None:
    """Colour for a person in a terminal, JSON lines for everything else."""
    people = config.log_format == "console" or (config.log_format == "auto" and sys.stderr.isatty())
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        # Plain: others show what is in the variables, and some of that is secret.
        processors=[
            *common,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
        if people
        else [
            *common,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.log_level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if people
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    # What libraries say by the standard library's way. aiokafka warns of what it mends by itself.
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)


class _Forward(logging.Handler):
    """Makes a line of ours of a line of a library's: each once in so many seconds.

    While a broker is away, aiokafka says the same hundreds of times a second.
    """

    QUIET: Final = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}
        self._repeated: Counter[tuple[str, str]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Log it, and how often it was said since it was logged last."""
        line = record.name, record.getMessage()
        if record.created - self._said.get(line, -self.QUIET) < self.QUIET:
            self._repeated[line] += 1
            return
        if len(self._said) > 1_000:
            self._said.clear()
        self._said[line] = record.created
        error = record.exc_info[1] if record.exc_info else None
        repeated = self._repeated.pop(line, 0)
        structlog.get_logger().warning(
            "library",
            logger=record.name,
            message=line[1],
            **({"repeated": repeated} if repeated else {}),
            **({"error": repr(error)} if error else {}),
        )
