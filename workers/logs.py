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
