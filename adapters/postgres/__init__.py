"""PostgreSQL: the log of one machine and of small sites, its recorder, and the bundled server.

The `eventsourcing` library finds its factory here: `PERSISTENCE_MODULE=adapters.postgres`.
"""

from adapters.postgres.recorder import Factory

__all__ = ["Factory"]
