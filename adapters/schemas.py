"""JSON Schemas made from types, as everybody can read them."""

from inspect import cleandoc
from typing import Any


def spelled(part: Any) -> Any:
    """The same with patterns as ECMA 262 has them, and texts without the code's indentation."""
    match part:
        case dict():
            return {name: _said(name, each) for name, each in part.items()}
        case list():
            return [spelled(each) for each in part]
        case _:
            return part


def _said(name: str, part: Any) -> Any:
    match name, part:
        case "pattern", str():
            return part.replace(r"\A", "^").replace(r"\Z", "$")
        case "description", str():
            return cleandoc(part)
        case _:
            return spelled(part)
