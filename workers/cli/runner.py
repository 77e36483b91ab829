"""A runner of this machine."""

import structlog

log = structlog.get_logger()
