"""The ticket that is opened: workflow.toml, filled in."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

import msgspec

from adapters.client import Opening


def opening(ticket: str, **known: str) -> Opening:
    """The workflow under this id. Raises KeyError for a placeholder that is not *known*."""
    content = tomllib.loads(files(__package__).joinpath("workflow.toml").read_text())
    return msgspec.convert({"id": ticket, **_filled(content, known)}, Opening)


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    match value:
        case str():
            return Template(value).substitute(known)
        case dict():
            return {key: _filled(each, known) for key, each in value.items()}
        case list():
            return [_filled(each, known) for each in value]
    return value
