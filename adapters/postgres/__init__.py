"""PostgreSQL: the log of one machine and of small sites, its recorder, and the bundled server."""
