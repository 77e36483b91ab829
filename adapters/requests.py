"""Requests: what a foreign CloudEvent asks for, as a command, if its sender may ask for that.

    type       the command's type, `turnstile.ticket.open`
    subject    the stream, `ticket/9`
    data       the command's fields

Extensions, none of them needed: `schemaversion`, `patience` (seconds), `replyto`, `traceparent`,
and `actor`: on whose behalf the producer asks. It stands behind the name that the configuration
gives the producer, as in `forge:alice`, and never in its place.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from adapters import foreign
from adapters.codec import DATA_LIMIT, Codec, Undecodable
from adapters.config import Requests
from adapters.foreign import Foreign, Headers
from domain.decider import Deciders
from domain.envelope import Submitted, check
from domain.errors import Invalid, TooLarge
from domain.event import Command

_NUMBER: Final = re.compile(r"[0-9]{1,9}").fullmatch
_SECONDS: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?").fullmatch
_ADDRESS: Final = re.compile(r"([0-9]{1,4})\.[A-Za-z0-9._-]{1,128}").fullmatch

_CALLED: Final = {"stream": "subject", "reply_to": "replyto", "command": "data"}
"""What our fields are called in a CloudEvent, where that is something else."""


def command_id(source: str, id_: str) -> UUID:
    """The id of the command that a request is, however often and wherever it comes in.

    The uuid5 (RFC 9562) of its `id`, in the name space that is the uuid5 of its `source` in the
    name space of URLs: no two pairs are one.
    """
    return uuid5(uuid5(NAMESPACE_URL, source), id_)


class Desk:
    """Where requests come in, and what each of its topics may ask for."""

    def __init__(
        self, topics: Mapping[str, Requests], codec: Codec, deciders: Deciders, partitions: int
    ) -> None:
        self.topics = topics
        self._codec = codec
        self._deciders = deciders
        self._partitions = partitions
        self._commands: dict[str, type[Command]] = {
            command.topic: command for decider in deciders for command in decider.commands
        }

    def take(self, topic: str, headers: Headers, value: bytes | None) -> Submitted:
        """The command that a record of the topic asks for.

        Raises Invalid, which names the attribute or header at fault and the reason.
        """
        event = foreign.read(headers, value)
        requests = self.topics[topic]
        source, id_ = _given(event, "source"), _given(event, "id")
        type_, subject = _given(event, "type"), _given(event, "subject")
        if type_ not in self._commands:
            raise Invalid(field="type", reason=f"there is no command {type_!r}")
        if type_ not in requests.may:
            raise Invalid(field="type", reason=f"{requests.actor} may not ask for {type_}")
        actor = requests.actor
        if event.actor is not None:
            actor += f":{_given(event, 'actor')}"
        submitted = Submitted(
            id=command_id(source, id_),
            stream=subject,
            command=self._command(event, type_),
            actor=actor,
            patience=_patience(event),
            reply_to=self._reply_to(event),
            traceparent=event.traceparent,
        )
        self._check(submitted)
        return submitted

    def _command(self, event: Foreign, type_: str) -> Command:
        schema, known = _schema(event), self._commands[type_].schema
        if schema > known:
            reason = f"{schema} is newer than {known}, which is what is known here"
            raise Invalid(field="schemaversion", reason=reason)
        try:
            return self._codec.decode_command(type_, schema, event.json)
        except Undecodable as error:
            raise Invalid(field="data", reason=str(error)) from error

    def _reply_to(self, event: Foreign) -> str | None:
        """An answer to an address that nobody can have would go nowhere."""
        if event.replyto is None:
            return None
        address = _ADDRESS(event.replyto)
        if address is None or int(address[1]) >= self._partitions:
            reason = f"it is `P.NAME`, with P below {self._partitions}: a partition of the replies"
            raise Invalid(field="replyto", reason=reason)
        return event.replyto

    def _check(self, submitted: Submitted) -> None:
        """Refuse whatever the log or the engine would not take."""
        try:
            check(submitted)
        except Invalid as refused:
            field = str(refused.field)
            reason = str(refused).removeprefix(f"{field}: ").removesuffix(".")
            raise Invalid(field=_CALLED.get(field, field), reason=reason) from refused
        decider = self._deciders.of(submitted.stream)
        if decider is None or type(submitted.command) not in decider.commands:
            reason = f"{submitted.stream} knows no {submitted.command.topic}"
            raise Invalid(field="subject", reason=reason)
        size = len(self._codec.encode_command(submitted.command))
        if size > DATA_LIMIT:
            raise TooLarge(field="data", size=size, limit=DATA_LIMIT)


def _given(event: Foreign, attribute: str) -> str:
    text: str | None = getattr(event, attribute)
    if not text:
        raise Invalid(field=attribute, reason="it is missing" if text is None else "it is empty")
    return text


def _schema(event: Foreign) -> int:
    given = 1 if event.schemaversion is None else event.schemaversion
    if not _NUMBER(str(given)) or int(given) == 0:
        raise Invalid(field="schemaversion", reason="it is a whole number from 1 on")
    return int(given)


def _patience(event: Foreign) -> float | None:
    if event.patience is None:
        return None
    seconds = float(event.patience) if _SECONDS(str(event.patience)) else 0.0
    if not (isfinite(seconds) and seconds > 0):
        raise Invalid(field="patience", reason="it is a number of seconds, more than 0")
    return seconds
