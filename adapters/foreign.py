"""CloudEvents that others have written, as they come through Kafka: structured or binary.

After the Kafka Protocol Binding 1.0.2 and the JSON Event Format 1.0.2 of CloudEvents. Names of
headers are compared as they are, media types without regard to case. What says nothing of its
type and is a JSON object with a `specversion` is taken for structured.
"""

from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from domain.errors import Invalid

CONTENT_TYPE: Final = "content-type"
PREFIX: Final = "ce_"
STRUCTURED: Final = "application/cloudevents"
JSON_EVENT: Final = "application/cloudevents+json"
UTF8: Final = ("utf-8", "utf8", "us-ascii")

Headers = Sequence[tuple[str, bytes | None]]


class Foreign(Struct, frozen=True):
    """A CloudEvent with the attributes that a request may have; others are of no concern.

    Numbers may come as text: binary mode has nothing else, and CloudEvents has no fractions.
    """

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    datacontenttype: str | None = None
    schemaversion: int | str | None = None
    patience: int | float | str | None = None
    replyto: str | None = None
    traceparent: str | None = None
    actor: str | None = None
    data: Raw | UnsetType = UNSET
    data_base64: bytes | None = None

    @property
    def json(self) -> bytes:
        """Its data, an empty object where there is none."""
        if self.data_base64 is not None:
            return self.data_base64
        return b"{}" if self.data is UNSET else bytes(self.data)


_ATTRIBUTES: Final = frozenset(Foreign.__struct_fields__) - {"data", "data_base64"}
_decode: Final = msgspec.json.Decoder(Foreign).decode


def read(headers: Headers, value: bytes | None) -> Foreign:
    """The CloudEvent in a record. Raises Invalid, which names the attribute or header at fault."""
    content_type = _content_type(headers)
    if content_type is not None and content_type.lower().startswith(STRUCTURED):
        _check_media(CONTENT_TYPE, content_type, is_event=True)
        event = _structured(value)
    elif any(name == f"{PREFIX}specversion" for name, _ in headers):
        event = _binary(headers, content_type, value)
    elif content_type is None and value is not None:
        event = _structured(value)
    else:
        _refuse(CONTENT_TYPE, f"it is neither {JSON_EVENT} nor is there a {PREFIX}specversion")
    if event.specversion != "1.0":
        _refuse("specversion", f"it is {event.specversion!r}, and 1.0 is what is known here")
    if event.datacontenttype is not None:
        _check_media("datacontenttype", event.datacontenttype, is_event=False)
    return event


def _structured(value: bytes | None) -> Foreign:
    if not value:
        _refuse("value", "it is empty, and should be a CloudEvent")
    try:
        event = _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        reason, _, path = str(error).partition(" - at `$.")
        _refuse(path.rstrip("`") or "value", f"no CloudEvent in JSON: {reason}")
    if event.data is not UNSET and event.data_base64 is not None:
        _refuse("data", "there is a data_base64 as well")
    return event


def _binary(headers: Headers, content_type: str | None, value: bytes | None) -> Foreign:
    attributes: dict[str, str] = {}
    for name, raw in headers:
        attribute = name.removeprefix(PREFIX)
        if attribute == name or attribute not in _ATTRIBUTES:
            continue
        if attribute in attributes:
            _refuse(name, "it is there twice")
        attributes[attribute] = _text(name, raw)
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    return Foreign(**attributes, data=Raw(value) if value else UNSET)  # type: ignore[arg-type]


def _content_type(headers: Headers) -> str | None:
    found = [raw for name, raw in headers if name == CONTENT_TYPE]
    if len(found) > 1:
        _refuse(CONTENT_TYPE, "it is there twice")
    return _text(CONTENT_TYPE, found[0]) if found else None


def _text(name: str, raw: bytes | None) -> str:
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError as error:
        _refuse(name, f"it is no UTF-8, {error.reason} at byte {error.start}")


def _check_media(field: str, given: str, *, is_event: bool) -> None:
    """Refuse what is not a CloudEvent in JSON, or as data no JSON; and any charset but UTF-8."""
    media, *parameters = (part.strip().lower() for part in given.split(";"))
    is_known = media == JSON_EVENT if is_event else media.endswith(("/json", "+json"))
    if not is_known:
        _refuse(field, f"{given!r} is not understood here, {JSON_EVENT if is_event else 'JSON'} is")
    for parameter in parameters:
        name, _, charset = parameter.partition("=")
        if name.strip() == "charset" and charset.strip(' "') not in UTF8:
            _refuse(field, f"{given!r} is not understood here, UTF-8 is")


def _refuse(field: str, reason: str) -> NoReturn:
    raise Invalid(field=field, reason=reason) from None
