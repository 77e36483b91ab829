"""What each method of the client asks for, as the API's contract has it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.client import Client, NoAnswer, Refused, Run, Scope, TaskSpec, TurnstileError
from tests.service.contract_api import serving

pytestmark = pytest.mark.service

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCEPTED = {"ticket": "9", "version": 3, "partition": 1, "sequence": 7, "after": "1:7"}
TOKEN = {"id": "t1", "name": "forge", "scopes": ["submit"], "created_at": "2026-03-01T12:00:00Z"}
SECRET = TOKEN | {"token": "open-sesame"}
LETTER = {
    "id": "d1",
    "at": "2026-03-01T12:00:00Z",
    "kind": "command",
    "topic": None,
    "partition": 0,
    "position": 4,
    "stream": "ticket/9",
    "type": None,
    "command": None,
    "actor": None,
    "reason": "it is rubbish",
    "size": 12,
}
SEEN = "1:7"
KEY = UUID("7b1d9a52-4a0c-4a55-9d59-5b8d0d1f3c11")


class Listener:
    """Hears what is asked, and answers what it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Response = JSONResponse({})
        self.url = ""

    async def listen(self, request: Request) -> Response:
        body = await request.body()
        asked = str(request.url).removeprefix(str(request.base_url))
        self.heard.append((request.method, asked, msgspec.json.decode(body) if body else None))
        self.keys.append(request.headers.get("idempotency-key"))
        return self.answer


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    methods = ["GET", "POST", "DELETE"]
    application = Starlette(routes=[Route("/{rest:path}", listener.listen, methods=methods)])
    async with serving(application) as address:
        listener.url = f"http://{address}"
        yield listener


async def _all(rows: Any) -> list[Any]:
    return [row async for row in rows]


Asking = Callable[[Client], Awaitable[Any]]
CHANGES: list[tuple[Asking, str, str, Any, Any]] = [
    (lambda c: c.seal("9"), "POST", "tickets/9/seal", {}, ACCEPTED),
    (
        lambda c: c.add_tasks("9", [TaskSpec("B", Run("shell"))], by_task="A", token=4),
        "POST",
        "tickets/9/tasks",
        {"tasks": [{"name": "B", "run": {"kind": "shell"}}], "by_task": "A", "token": 4},
        ACCEPTED,
    ),
    (lambda c: c.cancel("9"), "POST", "tickets/9/cancel", {}, ACCEPTED),
    (
        lambda c: c.cancel("9", "A", "B", reason="no need"),
        "POST",
        "tickets/9/cancel",
        {"tasks": ["A", "B"], "reason": "no need"},
        ACCEPTED,
    ),
    (lambda c: c.rerun("9"), "POST", "tickets/9/rerun", {"scope": "ticket"}, ACCEPTED),
    (
        lambda c: c.rerun("9", "A"),
        "POST",
        "tickets/9/rerun",
        {"tasks": ["A"], "scope": "tasks"},
        ACCEPTED,
    ),
    (
        lambda c: c.rerun("9", scope=Scope.FAILED),
        "POST",
        "tickets/9/rerun",
        {"scope": "failed"},
        ACCEPTED,
    ),
    (lambda c: c.hold("9", "A"), "POST", "tickets/9/hold", {"tasks": ["A"]}, ACCEPTED),
    (lambda c: c.unhold("9"), "POST", "tickets/9/unhold", {}, ACCEPTED),
    (lambda c: c.prioritise("9", 5), "POST", "tickets/9/priority", {"priority": 5}, ACCEPTED),
    (
        lambda c: c.make_token("forge", ["submit"], days=30),
        "POST",
        "tokens",
        {"name": "forge", "scopes": ["submit"], "days": 30},
        SECRET,
    ),
    (lambda c: c.revoke_token("t1"), "DELETE", "tokens/t1", None, TOKEN),
    (lambda c: c.inject("d1"), "POST", "dead/d1/inject", {}, LETTER),
    (lambda c: c.drop("d1", reason="old"), "POST", "dead/d1/drop", {"reason": "old"}, LETTER),
]


async def test_each_change_is_asked_for_under_a_key_of_its_own(listener: Listener) -> None:
    async with Client(listener.url) as client:
        for asking, method, path, body, answer in CHANGES:
            listener.answer = JSONResponse(answer)
            await asking(client)
            assert (method, f"v1/{path}", body) == listener.heard[-1]
        assert len(CHANGES) == len({UUID(str(key)) for key in listener.keys})
        listener.answer = JSONResponse(ACCEPTED)
        await client.hold("9", key=KEY)
    assert str(KEY) == listener.keys[-1]


async def test_each_question_is_asked_as_the_contract_has_it(listener: Listener) -> None:
    page: dict[str, Any] = {"rows": [], "next": None}
    questions: list[tuple[Asking, str, Any]] = [
        (
            lambda c: _all(
                c.tickets(state="failed", label=["a=b", "c=d"], since=NOON, after="1:7")
            ),
            "tickets?state=failed&label=a%3Db&label=c%3Dd&since=2026-03-01T12%3A00%3A00%2B00%3A00"
            "&after=1%3A7&limit=500",
            page,
        ),
        (lambda c: _all(c.queue(class_="0f")), "queue?class=0f&limit=500", page),
        (lambda c: _all(c.tokens()), "tokens?limit=500", {"rows": [TOKEN]}),
        (lambda c: _all(c.dead_letters()), "dead?limit=500", {"rows": [LETTER]}),
        (
            lambda c: _all(c.dead_letters(settled=True)),
            "dead?settled=true&limit=500",
            {"rows": [LETTER]},
        ),
        (lambda c: c.dead_letter("d1"), "dead/d1", {"letter": LETTER, "content": {}}),
        (lambda c: c.automaton(), "automaton", {}),
        (lambda c: c.partitions(), "partitions", {}),
        (lambda c: c.health(), "health", {}),
        (lambda c: c.ready(), "ready", {}),
    ]
    async with Client(listener.url) as client:
        for asking, path, answer in questions:
            listener.answer = JSONResponse(answer)
            await asking(client)
            assert ("GET", f"v1/{path}", None) == listener.heard[-1]
    assert {None} == set(listener.keys)


async def test_a_token_is_told_once_and_shown_nowhere(listener: Listener) -> None:
    listener.answer = JSONResponse(SECRET, 201)
    async with Client(listener.url, "knock-knock") as client:
        token = await client.make_token("forge", ["submit"])
        assert "knock-knock" not in repr(client)
    assert "open-sesame" == token.token
    assert "open-sesame" not in repr(token)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (Response("<html>", media_type="text/html"), NoAnswer, "no answer of Turnstile's"),
        (Response("<html>", 401), Refused, "answered 401"),
        (Response(status_code=307, headers={"location": "/"}), Refused, "answered 307"),
    ],
)
async def test_what_others_answer_on_the_way_is_taken_for_no_answer_of_ours(
    listener: Listener, answer: Response, error: type[Exception], said: str
) -> None:
    listener.answer = answer
    async with Client(listener.url) as client:
        with pytest.raises(error, match=said):
            await client.cancel("9")
        with pytest.raises(TurnstileError):
            await anext(client.changes())
    assert {"POST", "GET"} == {method for method, _, _ in listener.heard}
    assert 2 == len(listener.heard)
