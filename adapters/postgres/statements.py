"""The SQL of this package, looked up by name in its own files."""

import re
from collections.abc import Mapping
from importlib.resources import files


def load(name: str) -> Mapping[str, str]:
    """The statements of `sql/<name>.sql`, by what stands behind their `-- name:`."""
    text = files(__package__).joinpath("sql", f"{name}.sql").read_text()
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def schema(name: str) -> str:
    """What makes the tables of `sql/<name>_tables.sql`."""
    return files(__package__).joinpath("sql", f"{name}_tables.sql").read_text()
