"""The topics as an AsyncAPI 3.0 document, for those who read or write them from other languages.

It is made of the types and of the topics' settings. `asyncapi.json` beside this file is what
`turnstile asyncapi` prints.
"""

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any, Final

from adapters import requests
from adapters.config import Config
from adapters.kafka import asyncapi_messages as messages
from adapters.kafka import request_topics
from adapters.kafka.asyncapi_messages import BINDING, Named
from adapters.kafka.asyncapi_schemas import schemas
from adapters.kafka.records import FORMAT
from adapters.kafka.topics import TOPICS
from domain.decider import Deciders
from domain.event import CommandNoted

PARTITIONER: Final = "murmur2_random"
"""librdkafka's name for what Java's clients do by default, and we."""

_ABOUT: Final = f"""
The log of Turnstile in Apache Kafka, and how to ask for something beside it.

`send` and `receive` are said from the side of a program that is not Turnstile: it sends requests,
and receives events, answers and dead letters. Nobody but Turnstile writes to the log's topics.

All topics of a log have the same number of partitions, for ever. A stream lives in the partition
that Java's default partitioner gives its id (`partitioner={PARTITIONER}` in librdkafka).
"""
_COMMANDS: Final = """
Internal: commands on their way to the engines. To ask for one, write to a request topic.
"""
_EVENTS: Final = """
What has happened, for ever. Read with `isolation.level=read_committed`.

The first record of each partition is its genesis. `sequence` has no gaps in the partition from 1
on, `version` none in the stream, `causationid` is the id of the command, `upto` the position in
the commands up to which was decided. An attribute that has its default is left out. Types and
forms that are not here may come with later versions.
"""
_REPLIES: Final = """
Answers to commands that have a `replyto`, which is `P.NAME`: a partition of this topic, and a name
that the asker has chosen, which is the key. One asker's may be among many in the partition. They
are sent behind the commit and may be lost: send the command again, and it is answered again.
"""
_DEAD: Final = """
What could not be taken, as it came, with headers that say why and where it was. A command's own
headers stand behind ours, a request's before them.

A record whose first header is `settles`, and whose last is none of a request's, is no letter: it
says what became of the one at that offset of the same partition. The first that says so counts.
"""
_REQUESTS: Final = f"""
Where foreign producers ask. Each topic is one producer's, or of several that are trusted alike; the
configuration names it, and who asks there for which commands. Any partition will do, and any key.

{cleandoc(requests.__doc__ or "")}

A command whose fields may all be left out needs no data. `source` and `id` name the request: sent
again, it is the same command. What cannot be taken becomes a dead letter.
"""


def document(deciders: Deciders) -> dict[str, Any]:
    """All topics, their messages, and the schemas of what is in them."""
    channels = {
        "commands": _of_the_log("commands", _COMMANDS, _commands(deciders)),
        "events": _of_the_log("events", _EVENTS, _events(deciders)),
        "replies": _of_the_log("replies", _REPLIES, [messages.answers()]),
        "dead": _of_the_log("dead", _DEAD, messages.dead()),
        "requests": _requested(deciders),
    }
    components = {
        "schemas": schemas(
            (kind for decider in deciders for kind in decider.events),
            (kind for decider in deciders for kind in decider.commands),
        ),
        "messages": {
            f"{channel}.{name}": message
            for channel, declared in channels.items()
            for name, message in declared["messages"].items()
        },
    }
    for channel, declared in channels.items():
        declared["messages"] = {
            name: {"$ref": f"#/components/messages/{channel}.{name}"}
            for name in declared["messages"]
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Turnstile on Kafka",
            "version": f"{FORMAT}.0.0",
            "description": _ABOUT.strip(),
        },
        "defaultContentType": messages.JSON,
        "channels": channels,
        "operations": _operations(),
        "components": components,
    }


def _commands(deciders: Deciders) -> Iterable[Named]:
    for decider in deciders:
        for kind in decider.commands:
            yield messages.command(kind, decider.kind)


def _events(deciders: Deciders) -> Iterable[Named]:
    yield messages.genesis()
    yield from messages.events(CommandNoted, None)
    for decider in deciders:
        for kind in decider.events:
            yield from messages.events(kind, decider.kind)
    yield messages.others()


def _requested(deciders: Deciders) -> dict[str, Any]:
    named = {
        name: message
        for decider in deciders
        for kind in decider.commands
        for name, message in messages.requests(kind, decider.kind)
    }
    topic = {"description": "A key of the setting `intake`.", "examples": ["forge.requests"]}
    return {
        "address": "{requests}",
        "description": _REQUESTS.strip(),
        "parameters": {"requests": topic},
        "messages": named,
        "bindings": _binding(request_topics.SETTINGS),
    }


def _of_the_log(name: str, about: str, named: Iterable[Named]) -> dict[str, Any]:
    topics = {
        "description": "What the topics' names begin with (`TURNSTILE_KAFKA_TOPICS`).",
        "default": Config().kafka_topics,
    }
    return {
        "address": f"{{topics}}.{name}",
        "description": about.strip(),
        "parameters": {"topics": topics},
        "messages": dict(named),
        "bindings": _binding(TOPICS[name]),
    }


def _binding(settings: Mapping[str, str]) -> dict[str, Any]:
    typed: dict[str, Any] = {
        name: int(value) if value.removeprefix("-").isdecimal() else value
        for name, value in settings.items()
    }
    typed["cleanup.policy"] = settings["cleanup.policy"].split(",")
    kafka = {"topicConfiguration": typed, "x-partitioner": PARTITIONER, "bindingVersion": BINDING}
    return {"kafka": kafka}


def _operations() -> dict[str, Any]:
    return {
        "sendRequests": _operation("send", "requests", "Ask for a command.")
        | {"reply": {"channel": _channel("replies")}},
        "receiveEvents": _operation("receive", "events", "Follow what happens."),
        "receiveAnswers": _operation("receive", "replies", "Hear what became of one's commands."),
        "receiveDeadLetters": _operation(
            "receive", "dead", "See what could not be taken, and why."
        ),
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": _channel(channel), "summary": summary}


def _channel(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{name}"}
