"""Events and commands as bytes, under their stored names, and back with exactly equal types.

An event of an older form is upcast. One of an unknown name or a newer form means that this
process is older than the log: it must stop (`FutureEvent`). A command like that is put aside
(`Undecodable`): whoever sent it is ahead of the engines.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeVar

import msgspec

from domain.decider import Decider
from domain.errors import Invalid
from domain.event import Command, CommandNoted, Event

T = TypeVar("T", Event, Command)

RECORD_LIMIT: Final = 512 * 1024
"""Bytes of one record, its envelope included. Nothing larger is ever sent or stored."""

ENVELOPE: Final = 4 * 1024
"""Bytes of a record that are kept free for the envelope, at its largest."""

DATA_LIMIT: Final = RECORD_LIMIT - ENVELOPE


class CodecError(Exception):
    """What is stored or was sent cannot be understood."""


class FutureEvent(CodecError):
    """The log has an event that this process is too old to understand."""

    def __init__(self, topic: str, version: int) -> None:
        super().__init__(
            f"event {topic!r} in form {version} is unknown here: "
            "upgrade engines and projectors before what sends"
        )


class Undecodable(CodecError):
    """A command that cannot be understood."""


class Compressor(Protocol):
    """As `eventsourcing.persistence.Compressor`; the module `zlib` is one."""

    def compress(self, data: bytes, /) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class Cipher(Protocol):
    """As `eventsourcing.persistence.Cipher`."""

    def encrypt(self, plaintext: bytes) -> bytes: ...
    def decrypt(self, ciphertext: bytes) -> bytes: ...


class Codec:
    """Knows the events and commands of some deciders by their topics."""

    def __init__(
        self,
        deciders: Iterable[Decider[Any]],
        compressor: Compressor | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        kinds = tuple(deciders)
        self._events: dict[str, type[Event]] = _by_topic(
            (CommandNoted, *(event for d in kinds for event in d.events))
        )
        self._commands: dict[str, type[Command]] = _by_topic(
            command for d in kinds for command in d.commands
        )
        self._event_decoders = {
            topic: msgspec.json.Decoder(kind).decode for topic, kind in self._events.items()
        }
        self._command_decoders = {
            topic: msgspec.json.Decoder(kind).decode for topic, kind in self._commands.items()
        }
        self._encode = msgspec.json.Encoder().encode
        self._compressor = compressor
        self._cipher = cipher
        self.is_plain = compressor is None and cipher is None
        """Whether encoded data is JSON."""
        self.limit = DATA_LIMIT if self.is_plain else DATA_LIMIT * 3 // 4
        """Bytes that an event's data may have: what is no JSON travels as base64."""

    def encode_event(self, event: Event) -> bytes:
        """The event's fields; its topic and class_version are stored beside them."""
        data = self._encode(event)
        if self._compressor is not None:
            data = self._compressor.compress(data)
        if self._cipher is not None:
            data = self._cipher.encrypt(data)
        return data

    def decode_event(self, topic: str, version: int, data: bytes) -> Event:
        """Raises FutureEvent, or CodecError if the data does not fit the topic."""
        try:
            kind = self._events[topic]
        except KeyError:
            raise FutureEvent(topic, version) from None
        if version > kind.class_version:
            raise FutureEvent(topic, version)
        try:
            if self._cipher is not None:
                data = self._cipher.decrypt(data)
            if self._compressor is not None:
                data = self._compressor.decompress(data)
            if version == kind.class_version:
                return self._event_decoders[topic](data)
            return self._upcast(kind, version, data)
        except Exception as error:  # whatever a cipher or an upcaster of old data raises
            raise CodecError(f"event {topic!r} in form {version}: {error!r}") from error

    def decode_newest(self, topic: str, data: bytes) -> Event:
        """An event in the form of this process, as the API tells it. Raises as `decode_event`."""
        kind = self._events.get(topic)
        return self.decode_event(topic, kind.class_version if kind else 0, data)

    @staticmethod
    def _upcast(kind: type[Event], version: int, data: bytes) -> Event:
        state = msgspec.json.decode(data)
        for step in range(version, kind.class_version):
            getattr(kind, f"upcast_v{step}_v{step + 1}")(state)
        return msgspec.convert(state, kind)

    def encode_command(self, command: Command) -> bytes:
        """The command's fields; its topic and schema travel beside them.

        Raises Invalid for what JSON cannot carry.
        """
        try:
            return self._encode(command)
        except (
            msgspec.MsgspecError,
            ValueError,
            TypeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise Invalid(field=command.topic, reason=f"it cannot be sent, {error}") from error

    def decode_command(self, topic: str, schema: int, data: bytes) -> Command:
        """Raises Undecodable, which names the field at fault."""
        try:
            kind = self._commands[topic]
        except KeyError:
            raise Undecodable(f"unknown command {topic!r}") from None
        if schema > kind.schema:
            raise Undecodable(f"{topic}: schema {schema} is newer than {kind.schema}")
        try:
            return self._command_decoders[topic](data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Undecodable(f"{topic}: {error}") from error


def _by_topic(kinds: Iterable[type[T]]) -> dict[str, type[T]]:
    topics: dict[str, type[T]] = {}
    for kind in kinds:
        if "topic" not in vars(kind) or topics.setdefault(kind.topic, kind) is not kind:
            raise TypeError(f"{kind.__name__} has no topic of its own")
    return topics
