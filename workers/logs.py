"""How the processes log: one structured line for each unit of work, on standard error."""

import logging
import sys

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
        processors=[*common, structlog.dev.ConsoleRenderer()]
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
    """Makes a line of ours of a line of a library's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it."""
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().warning(
            "library",
            logger=record.name,
            message=record.getMessage(),
            **({"error": repr(error)} if error else {}),
        )
