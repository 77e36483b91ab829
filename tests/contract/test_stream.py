"""What the live stream promises on every log: each change once, in order, and visible."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any
from uuid import uuid4

import pytest
import structlog.testing

from adapters.asking import asking
from adapters.http.live.cursor import Cursors
from adapters.postgres.connection import Address, connect
from domain.envelope import Submitted
from domain.ticket import commands as c
from tests.contract.live_site import CODEC, Heard, Site, site
from tests.contract.places import Place
from tests.contract.test_projector import ask, engine_on, live
from tests.unit.given import opening

pytestmark = pytest.mark.service


def places(heard: Sequence[Heard]) -> list[tuple[int, int]]:
    return [(one.data["partition"], one.data["sequence"]) for one in heard]


async def everything(here: Site) -> set[tuple[int, int]]:
    """The places of all events of the log."""
    ends = [await here.log.end(n) for n in range(here.log.partitions)]
    return {(n, sequence) for n, end in enumerate(ends) for sequence in range(1, end + 1)}


def each_once_and_in_order(heard: Sequence[Heard]) -> None:
    assert not [place for place, n in Counter(places(heard)).items() if n > 1]
    by_ticket = sorted(heard, key=lambda one: str(one.data["ticket"]))
    for _, changes in groupby(by_ticket, key=lambda one: str(one.data["ticket"])):
        versions = [change.data["version"] for change in changes]
        assert list(range(versions[0], versions[0] + len(versions))) == versions


async def test_a_change_is_told_and_can_be_seen_by_who_hears_of_it(
    place: Place, address: Address
) -> None:
    async with site(place, address) as here, here.api() as api, api.listening() as stream:
        await stream.begun()
        await live(here.asker, "9")
        for heard in await stream.take(4):
            ticket = (await api.client.get("/v1/tickets/9")).json()
            assert heard.data["version"] <= ticket["version"]
        events = (await api.client.get("/v1/tickets/9/events")).json()["rows"]
        begin = str(Cursors(await ids(here)).at([0, 0, 0]))
        async with api.listening(begin) as again:
            told = [one.data for one in await again.take(len(events))]
    same = ("version", "type", "time", "actor", "what", "details", "id", "command", "sequence")
    assert [{name: row[name] for name in (*same, "data")} for row in events] == [
        {name: one[name] for name in (*same, "data")} for one in told
    ]
    assert {("9", "tower")} == {(one["ticket"], one["project"]) for one in told}


async def ids(here: Site) -> list[Any]:
    return [(await here.log.genesis(n)).id for n in range(here.log.partitions)]


async def test_a_client_hears_of_everything_once_while_the_api_is_started_again_and_again(
    place: Place, address: Address
) -> None:
    """Two at first, as behind a balancer; each time the stream goes on at another one."""
    heard: list[Heard] = []
    async with site(place, address) as here:

        async def work() -> None:
            for n in range(0, 60, 6):
                await asyncio.gather(*(live(here.asker, str(n + m)) for m in range(6)))

        async with here.api() as first, here.api() as second:
            async with first.listening() as stream:
                await stream.begun()
                working = asyncio.create_task(work())
                heard += await stream.take(20)
            async with second.listening(stream.id) as stream:
                heard += await stream.take(20)
        last = stream.id
        while len(heard) < 240:
            async with here.api() as api, api.listening(last) as stream:
                heard += await stream.take(20)
                api.api.stop()
                heard += await stream.rest()
                assert "this server stops" in stream.comments[-1]
                last = stream.id
        await working
        wanted = await everything(here)
        assert 300 == len(wanted)
        async with here.api() as api, api.listening(last) as stream:
            heard += await stream.take(len(wanted) - len(heard))
        async with here.api() as api, api.listening(stream.id) as stream:
            await ask(here.asker, "last", opening("A"))
            assert "last" == (await stream.next()).data["ticket"]
        assert wanted == set(places(heard))
        each_once_and_in_order(heard)


async def test_a_stream_has_what_was_asked_for_and_moves_on_all_the_same(
    place: Place, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.http.live.response.KEPT", 0.1)
    async with site(place, address) as here, here.api() as api:
        started, tickets = "turnstile.ticket.task_started", ["1", "3"]
        async with (
            api.listening(ticket=tickets, type=started) as stream,
            api.listening(project="tower") as of_project,
            api.listening(project="another") as of_another,
        ):
            await of_another.begun()
            await asyncio.gather(*(live(here.asker, str(n)) for n in range(4)))
            found = await stream.take(2)
            assert {("1", started), ("3", started)} == {
                (one.data["ticket"], one.type) for one in found
            }
            wanted = await everything(here)
            assert wanted == set(places(await of_project.take(len(wanted))))
            last = ""
            async with asyncio.timeout(10):
                while last != of_project.id:
                    last = await of_another.begun()


async def test_two_hundred_streams_hear_the_same(place: Place, address: Address) -> None:
    async with site(place, address) as here, here.api() as api:

        async def hear() -> list[bytes]:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=2**20)
            writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            found: list[bytes] = []
            while len(found) < 50:
                line = await reader.readline()
                if line.startswith((b"id: ", b"data: ")):
                    found.append(line)
            writer.close()
            await writer.wait_closed()
            return found

        hearing = [asyncio.create_task(hear()) for _ in range(200)]
        async with asyncio.timeout(30):
            while api.live.hub.listeners < 200:
                await asyncio.sleep(0.01)
            await asyncio.gather(*(live(here.asker, str(n)) for n in range(10)))
            first, *others = await asyncio.gather(*hearing)
        assert [first] * 199 == others


async def test_what_is_wrong_with_a_stream_is_refused_with_its_field(
    on_postgres: Place, address: Address
) -> None:
    async with site(on_postgres, address) as here, here.api() as api:
        log = await ids(here)

        async def field(last: str = "", **query: Any) -> str:
            headers = [(b"Last-Event-ID", last.encode())] if last else []
            response = await api.client.get("/v1/stream", params=query, headers=headers)
            assert 422 == response.status_code
            return str(response.json()["field"])

        assert "tickets" == await field(tickets="9")
        assert "ticket[0]" == await field(ticket="a b")
        assert "type[1]" == await field(type=["turnstile.ticket.opened", "turnstile.ticket.odd"])
        whole = str(Cursors(log).at([0, 0, 0]))
        for cursor in (
            *("odd", "=", "é", "a" * 20_000, whole[:-2], f"{whole}A", f"{whole}=="),
            str(Cursors(log).at([0, 1, 0])),  # ahead of the log
            str(Cursors(log[::-1]).at([0, 0, 0])),
            str(Cursors(log).at([0, 0])),
        ):
            assert "Last-Event-ID" == await field(cursor), cursor


async def test_there_are_only_so_many_streams(on_postgres: Place, address: Address) -> None:
    async with site(on_postgres, address) as here, here.api(streams=2) as api:
        async with api.listening() as one, api.listening() as other:
            await one.begun()
            await other.begun()
            refused = await api.client.get("/v1/stream")
            assert (429, "5") == (refused.status_code, refused.headers["retry-after"])
            assert refused.json()["type"].endswith(":too-many")
        async with asyncio.timeout(10):
            while api.live.hub.streams:
                await asyncio.sleep(0.01)
        async with api.listening() as again:
            await again.begun()


async def test_a_slow_reader_is_cut_off_and_goes_on_behind_what_it_had(
    on_postgres: Place, address: Address
) -> None:
    bound = 64 * 1024
    async with site(on_postgres, address) as here, here.api(bound=bound) as api:
        slow, begun = await _slow(api.port)
        opened = opening("A", labels={f"label{m}": "x" * 200 for m in range(30)})
        async with api.listening() as quick:
            await quick.begun()
            heard: list[Heard] = []
            n = 0
            while not api.live.hub.dropped:
                for _ in range(50):
                    n += 1
                    await ask(here.asker, str(n), opened)
                    assert api.live.hub.waiting < 4 * bound
                heard += await quick.take(n * 2 - len(heard))
            text = begun + await asyncio.to_thread(_all_of, slow)
            assert "too slow: come again with the Last-Event-ID" in text
            told = text.count("\ndata: ")
            last = re.findall("^id: (.*)$", text, re.MULTILINE)[-1]
            async with api.listening(last) as again:
                rest = await again.take(len(heard) - told)
        assert 0 < told < len(heard)
        assert set(places(heard)[told:]) == set(places(rest))


async def _slow(port: int) -> tuple[socket.socket, str]:
    """A reader that has heard where it begins, and then takes nothing."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(one.connect, ("127.0.0.1", port))
    one.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    begun = b""
    while b"\n\nid: " not in begun or not begun.endswith(b"\n\n\r\n"):
        begun += await asyncio.to_thread(one.recv, 4096)
    return one, begun.decode()


def _all_of(one: socket.socket) -> str:
    found = bytearray()
    with one, suppress(ConnectionError):
        while part := one.recv(65536):
            found += part
    return found.decode()


async def test_streams_end_at_once_when_the_api_stops(on_postgres: Place, address: Address) -> None:
    async with site(on_postgres, address) as here, here.api() as api, api.listening() as stream:
        await stream.begun()
        began = asyncio.get_running_loop().time()
        api.api.stop()
        assert [] == await stream.rest()
        assert asyncio.get_running_loop().time() - began < 2
        assert "this server stops" in stream.comments[-1]


async def test_an_answer_waits_for_what_its_reader_has_done(place: Place, address: Address) -> None:
    async with site(place, address) as here, here.api() as api:
        for n in range(10):
            answer = await here.asker.ask(submitted(str(n)))
            after = f"{answer.partition}:{answer.sequence}"
            found = await api.client.get(f"/v1/tickets/{n}", params={"after": after})
            assert 200 == found.status_code, found.text
            events = await api.client.get(f"/v1/tickets/{n}/events", params={"after": after})
            assert 1 <= len(events.json()["rows"])


def submitted(ticket: str) -> Any:
    return Submitted(
        id=uuid4(), stream=f"ticket/{ticket}", actor="a test", command=opening("A", "B")
    )


async def test_a_place_that_is_none_is_refused(on_postgres: Place, address: Address) -> None:
    async with site(on_postgres, address) as here, here.api() as api:
        for after in ("1", "a:b", "9:1", "0:99999999999999999999", "-1:1", "0:-1", ":", "0:1\n"):
            refused = await api.client.get("/v1/queue", params={"after": after})
            assert (422, "after") == (refused.status_code, refused.json()["field"])


async def test_views_that_do_not_come_are_not_waited_for_for_ever(
    on_postgres: Place, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.http.after.PATIENCE", 0.1)
    async with site(on_postgres, address) as here, here.api() as api:
        late = await api.client.get("/v1/queue", params={"after": "0:1"})
        assert (504, "after") == (late.status_code, late.json()["field"])
        assert late.json()["type"].endswith(":view-behind")


async def test_an_attempt_has_the_number_that_its_history_gives_it(
    on_postgres: Place, address: Address
) -> None:
    async with site(on_postgres, address, 1) as here, here.api() as api:
        async with api.listening() as stream:
            await stream.begun()
            await ask(here.asker, "9", opening("A"))
            for n in range(3):
                claim = c.Claim(task="A", worker=f"w{n}", request=f"r{n}")
                token = await ask(here.asker, "9", claim)
                await ask(here.asker, "9", c.Start(task="A", token=token))
                await ask(here.asker, "9", c.ReturnClaim(task="A", token=token))
            heard = await stream.take(11)
        events = (await api.client.get("/v1/tickets/9/events")).json()["rows"]
        assert [row["what"] for row in events] == [one.data["what"] for one in heard]
        assert "attempt 3 (w2" in heard[-1].data["what"]


async def test_an_event_that_this_process_is_too_old_for_is_not_passed_over(
    on_postgres: Place, address: Address
) -> None:
    """A projector may be newer than this API; streams end until the API is upgraded, too."""
    async with on_postgres.open(1, codec=CODEC) as log, asking(log) as asker:
        here = Site(log, asker, address, on_postgres)
        async with engine_on(log), here.projecting():
            await live(asker, "1")
            async with asyncio.timeout(20), here.api() as api:
                await api.live.positions.reached(0, 5)
        async with here.api() as api, api.listening() as stream:
            last = await stream.begun()
            await on_postgres.put_event(0, "turnstile.ticket.new_fangled", 1)
            connection = await connect(here.views)
            await connection.execute("UPDATE partitions SET sequence = 6")
            await connection.close()
            with structlog.testing.capture_logs() as said:
                assert [] == await stream.rest()
            assert "the log cannot be read on: see the log of this server" in stream.comments
            [broken, *_] = [line for line in said if line["event"] == "stream_broken"]
            assert "FutureEvent" == broken["kind"]
            refused = await api.client.get("/v1/stream", headers={"Last-Event-ID": last})
            assert 503 == refused.status_code


async def test_a_reader_that_is_ahead_of_the_views_waits_and_hears_nothing_twice(
    on_postgres: Place, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes from a process that was quicker, or the views are being folded anew."""
    monkeypatch.setattr("adapters.http.live.response.KEPT", 0.05)
    async with (
        on_postgres.open(3, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
    ):
        here = Site(log, asker, address, on_postgres)
        await asyncio.gather(*(live(asker, str(n)) for n in range(6)))
        ends = [await log.end(n) for n in range(3)]
        cursor = str(Cursors(await ids(here)).at(ends))
        async with here.api() as api, api.listening(cursor) as stream:
            assert cursor == await stream.begun()
            hearing = asyncio.create_task(stream.next())
            async with asyncio.timeout(10):
                while "waiting for the views" not in stream.comments:
                    await asyncio.sleep(0.01)
            async with here.projecting():
                await asyncio.gather(
                    *(api.live.positions.reached(n, end) for n, end in enumerate(ends))
                )
                await ask(asker, "new", opening("A"))
                heard = [await hearing, await stream.next()]
                assert ["new", "new"] == [one.data["ticket"] for one in heard]
                async with api.listening(heard[0].id) as again:
                    assert heard[1].data == (await again.next()).data
