"""The views in PostgreSQL: folded from the log, and nothing but a cache of it."""
