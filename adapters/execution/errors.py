"""Why commands cannot be run. A class's docstring is its message.

ExecutionError
├── ProviderRefused       before anything of the task was run
└── RoomBroken            while the task had the room
"""

from inspect import cleandoc


class ExecutionError(Exception):
    """The place of an attempt failed, which is no fault of what is tested there."""

    def __init__(self, **facts: object) -> None:
        """Fill the *facts* into the docstring."""
        super().__init__(cleandoc(self.__doc__ or type(self).__name__).format(**facts))


class ProviderRefused(ExecutionError):
    """The provider {provider!r} refuses: {reason}."""


class RoomBroken(ExecutionError):
    """The room of {attempt} takes no more: {reason}."""
