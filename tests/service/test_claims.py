"""Claims over HTTP: who gets what, once, and the same again; heartbeats and reports."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from adapters.client import (
    Accepted,
    Artifact,
    Claimed,
    Client,
    Conflict,
    Execution,
    Opening,
    Outcome,
    Rejected,
    Reported,
    Returned,
    Run,
    Started,
    Subject,
    Takes,
    TaskSpec,
    Unauthenticated,
    WorkerClient,
    attempt_of,
)
from adapters.client.working import Claims, Report
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views.view import address_of
from adapters.work import claiming
from tests.journey.running import problem
from tests.service.real_api import RealApi, real

pytestmark = pytest.mark.service

SUBJECT = Subject("commit", project="tower", name="main", revision="c0ffee")


def ticket(id_: str, *tasks: str | TaskSpec, **rest: Any) -> Opening:
    specs = tuple(
        one if isinstance(one, TaskSpec) else TaskSpec(one, Run("noop")) for one in tasks or ("A",)
    )
    return Opening(id=id_, subject=SUBJECT, tasks=specs, **rest)


def started(claimed: Claimed) -> Started:
    return Started(**attempt_of(claimed))


def passed(claimed: Claimed, **more: Any) -> Reported:
    return Reported(**attempt_of(claimed), outcome=Outcome.PASSED, **more)


def names(tasks: Sequence[Claimed]) -> list[tuple[str, str]]:
    return [(one.ticket, one.task) for one in tasks]


class Site:
    """A service, its people and its runners."""

    def __init__(self, api: RealApi) -> None:
        self.url = "http://{}:{}".format(*api.address)
        self.token = api.token
        self.people = Client(self.url, api.token)
        self._runners: list[WorkerClient] = []

    def runner(self, name: str, session: str = "s1", token: str | None = None) -> WorkerClient:
        token = token or self.token
        runner = WorkerClient(self.url, token, worker=name, session=session, patience=15)
        self._runners.append(runner)
        return runner

    async def registered(self, name: str, session: str = "s1", **more: Any) -> WorkerClient:
        runner = self.runner(name, session)
        await runner.register(f"home-{name}", **more)
        return runner

    async def open(self, *openings: Opening) -> None:
        await asyncio.gather(*(self.people.open(one) for one in openings))

    async def close(self) -> None:
        for runner in self._runners:
            await runner.close()
        await self.people.close()


@pytest_asyncio.fixture
async def site(address: Address, tmp_path: Path) -> AsyncIterator[Site]:
    async with real(address, tmp_path) as api:
        site = Site(api)
        yield site
        await site.close()


# ----------------------------------------------------------------------------------- who gets what


async def test_a_worker_gets_what_waits_with_all_that_it_needs_to_know(site: Site) -> None:
    await site.open(ticket("9"))
    runner = await site.registered("w1")
    claims = await runner.claim(wait=10)
    [one] = claims.tasks
    assert ("9", "A", 1, 60.0) == (one.ticket, one.task, one.attempt, one.lease)
    assert (SUBJECT, "noop") == (one.subject, one.spec.run.kind)
    assert one.credential.startswith("turnstile_attempt_")
    assert one.credential not in repr(one)
    [answer] = await runner.report([passed(one)])
    assert isinstance(answer, Accepted)
    found = await site.people.ticket("9", after=answer.after)
    assert "passed" == found.state


async def test_who_waits_gets_what_comes(site: Site) -> None:
    runner = await site.registered("w1")
    waiting = asyncio.create_task(runner.claim(wait=20))
    await asyncio.sleep(0)
    await site.open(ticket("9"))
    assert [("9", "A")] == names((await waiting).tasks)


async def test_who_asks_is_heard_of(site: Site, address: Address) -> None:
    runner = await site.registered("w1")
    connection = await connect(address_of(address, "leases"))
    long_ago = await connection.fetchval(
        "UPDATE heard SET at = at - interval '1 hour' WHERE worker = 'w1' RETURNING at"
    )
    asking = asyncio.create_task(runner.claim(wait=30))
    async with asyncio.timeout(30):
        while long_ago == await connection.fetchval("SELECT at FROM heard WHERE worker = 'w1'"):
            await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.wait({asking})
    await close(connection)


async def test_without_a_wait_nothing_is_an_answer(site: Site) -> None:
    runner = await site.registered("w1")
    claims = await runner.claim()
    assert ((), "available") == (claims.tasks, claims.state)


async def test_several_come_in_the_order_of_the_queue(site: Site) -> None:
    await site.people.open(ticket("later"))
    await site.people.open(ticket("first", priority=5))
    opened = await site.people.open(ticket("last", priority=-5))
    await site.people.ticket("last", after=opened.after)
    runner = await site.registered("w1")
    claims = await runner.claim(tasks=10)
    assert {("first", "A"), ("later", "A"), ("last", "A")} == set(names(claims.tasks))
    runner = await site.registered("w2")
    assert () == (await runner.claim()).tasks


async def test_a_worker_gets_only_what_it_is_capable_of(site: Site) -> None:
    arm = TaskSpec("arm", Run("noop"), requires={"arch": ("arm64",)})
    opened = await site.people.open(ticket("9", arm, "any"))
    await site.people.ticket("9", after=opened.after)
    plain, other = (
        await site.registered("plain"),
        await site.registered("other", capabilities={"arch": ("arm64", "x86")}),
    )
    assert [("9", "any")] == names((await plain.claim(5)).tasks)
    assert [("9", "arm")] == names((await other.claim(5)).tasks)


async def test_who_is_kept_for_some_takes_nothing_else(site: Site) -> None:
    arm = TaskSpec("arm", Run("noop"), requires={"arch": ("arm64",)})
    its = TaskSpec("its", Run("noop"), requires={"worker": ("w1",)})
    opened = await site.people.open(ticket("9", "any", arm, its, priority=7))
    await site.people.ticket("9", after=opened.after)
    has = {"arch": ("arm64",), "worker": ("w1",)}
    runner = await site.registered("w1", capabilities=has)
    assert () == (await runner.claim(5, only=("arch", "worker"))).tasks
    assert [("9", "its")] == names((await runner.claim(5, only=("worker",))).tasks)
    assert [("9", "arm")] == names((await runner.claim(5, only=("arch",))).tasks)
    assert [("9", "any")] == names((await runner.claim(5)).tasks)


async def test_a_class_that_is_new_is_served_at_once(site: Site) -> None:
    runner = await site.registered("w1", capabilities={"arch": ("arm64",)})
    waiting = asyncio.create_task(runner.claim(wait=20))
    arm = TaskSpec("arm", Run("noop"), requires={"arch": ("arm64",)})
    await site.open(ticket("9", arm))
    assert [("9", "arm")] == names((await waiting).tasks)


async def test_a_task_gets_the_artifacts_that_it_takes(site: Site) -> None:
    test = TaskSpec("test", Run("noop"), needs=("build",), takes=(Takes("build", ("dist/*.whl",)),))
    await site.open(ticket("9", "build", test))
    runner = await site.registered("w1")
    [build] = (await runner.claim(wait=10)).tasks
    left = (Artifact("dist/a.whl", "sha256:aa", 3), Artifact("notes.txt", "sha256:bb", 4))
    await runner.report([passed(build, artifacts=left)])
    [test_] = (await runner.claim(wait=10)).tasks
    assert [("build", "dist/a.whl", "sha256:aa", 3)] == [
        (one.task, one.name, one.digest, one.size) for one in test_.inputs
    ]


async def test_a_task_that_may_not_have_its_secret_is_ended_as_wrongly_configured(
    site: Site,
) -> None:
    secret = TaskSpec("A", Run("noop", {"secrets": {"KEY": "signing"}}))
    await site.open(ticket("9", secret))
    runner = await site.registered("w1")
    assert () == (await runner.claim(wait=1)).tasks
    found = await site.people.wait("9", 10)
    [task] = [one async for one in site.people.tasks("9")]
    assert ("errored", "configuration") == (found.state, task.execution)
    assert "'signing'" in task.reason


async def test_a_task_gets_its_secrets_and_nobody_else_does(
    address: Address, tmp_path: Path
) -> None:
    file = tmp_path / "secrets.toml"
    file.touch(0o600)
    file.write_text('[signing]\nvalue = "hush"\nprojects = ["tow*"]\n')
    async with real(address, tmp_path, secrets=str(file)) as api:
        site = Site(api)
        await site.open(ticket("9", TaskSpec("A", Run("noop", {"secrets": {"KEY": "signing"}}))))
        runner = await site.registered("w1")
        [one] = (await runner.claim(wait=10)).tasks
        assert {"KEY": "hush"} == one.secrets
        assert "hush" not in repr(one)
        await site.close()


async def test_what_is_to_begin_later_waits_for_its_time(site: Site) -> None:
    from datetime import UTC, datetime, timedelta

    then = datetime.now(UTC) + timedelta(seconds=1.5)
    opened = await site.people.open(ticket("9", not_before=then))
    await site.people.ticket("9", after=opened.after)
    runner = await site.registered("w1")
    assert () == (await runner.claim()).tasks
    [one] = (await runner.claim(wait=20)).tasks
    assert datetime.now(UTC) >= then
    assert "9" == one.ticket


# ------------------------------------------------------------------------------ once, and the same


async def test_every_task_is_claimed_once_by_many_workers(site: Site) -> None:
    await site.open(*(ticket(f"t{n}", "A", "B") for n in range(60)))
    runners = await asyncio.gather(*(site.registered(f"w{n}") for n in range(12)))
    got: list[tuple[str, str]] = []

    async def work(runner: WorkerClient) -> None:
        while tasks := (await runner.claim(3, wait=1.0)).tasks:
            got.extend(names(tasks))
            await runner.report([passed(one) for one in tasks])

    await asyncio.gather(*map(work, runners))
    assert sorted((f"t{n}", task) for n in range(60) for task in "AB") == sorted(got)


async def test_the_same_request_gets_the_same(site: Site) -> None:
    await site.open(ticket("9", "A", "B", "C"))
    runner, request = await site.registered("w1"), uuid4()
    first = await runner.claim(2, wait=10, request=request)
    assert first == await runner.claim(2, wait=10, request=request)
    assert first.tasks != (await runner.claim(2, wait=10)).tasks


async def test_who_goes_away_while_waiting_leaves_the_task_to_others(site: Site) -> None:
    gone, here = await site.registered("gone"), await site.registered("here")
    waiting = asyncio.create_task(gone.claim(wait=25))
    await asyncio.sleep(0.2)  # it waits before the other comes, which nobody can see from without
    waiting.cancel()
    await asyncio.wait({waiting})
    other = asyncio.create_task(here.claim(wait=20))
    await asyncio.sleep(0.1)
    await site.open(ticket("9"))
    assert [("9", "A")] == names((await other).tasks)


async def test_what_a_worker_could_not_run_is_left_to_another(site: Site) -> None:
    await site.open(ticket("9"))
    runner, other = await site.registered("w1"), await site.registered("w2")
    [one] = (await runner.claim(wait=10)).tasks
    broke = Reported(**attempt_of(one), execution=Execution.INFRASTRUCTURE, reason="no disk")
    [answer] = await runner.report([broke])
    assert isinstance(answer, Accepted)
    await site.people.ticket("9", after=answer.after)
    assert () == (await runner.claim()).tasks
    [again] = (await other.claim(wait=10)).tasks
    assert 2 == again.attempt


async def test_a_worker_that_is_alone_gets_back_what_it_could_not_run(site: Site) -> None:
    await site.open(ticket("9"))
    runner = await site.registered("w1")
    [one] = (await runner.claim(wait=10)).tasks
    await runner.report([Returned(**attempt_of(one), reason="no room")])
    [again] = (await runner.claim(wait=10)).tasks
    assert (2, one.task) == (again.attempt, again.task)


# ------------------------------------------------------------------------------------ who may ask


async def test_who_has_not_registered_is_told_to(site: Site) -> None:
    with pytest.raises(Conflict, match="register") as refused:
        await site.runner("nobody").claim()
    assert refused.value.problem.type.endswith(":not-registered")


async def test_who_has_left_is_told_to_register(site: Site) -> None:
    runner = await site.registered("w1")
    await runner.leave()
    with pytest.raises(Conflict, match="gone"):
        await runner.claim(wait=5)


async def test_a_new_session_takes_over_and_what_the_old_one_had_is_lost(site: Site) -> None:
    await site.open(ticket("9"))
    old = await site.registered("w1", "s1")
    [one] = (await old.claim(wait=10)).tasks
    new = await site.registered("w1", "s2")
    for asking in (old.claim(wait=5), old.beat([("9", one.token)])):
        with pytest.raises(Conflict) as refused:
            await asking
        assert refused.value.problem.type.endswith(":superseded-session")
    [answer] = await old.report([passed(one)])
    assert isinstance(answer, Rejected)
    assert answer.problem.type.endswith(":stale-token")
    [again] = (await new.claim(wait=10)).tasks
    assert 2 == again.attempt
    [lost] = [a async for a in site.people.attempts("9") if a.number == 1]
    assert ("lease_lost", "its runner was started anew") == (lost.ended, lost.reason)


async def test_one_that_waits_hears_that_it_is_superseded(site: Site) -> None:
    old = await site.registered("w1", "s1")
    waiting = asyncio.create_task(old.claim(wait=25))
    await asyncio.sleep(0.1)
    await site.registered("w1", "s2")
    with pytest.raises(Conflict, match="newer process"):
        await waiting


async def test_a_draining_worker_gets_nothing_and_hears_why(site: Site) -> None:
    runner = await site.registered("w1")
    waiting = asyncio.create_task(runner.claim(wait=25))
    await asyncio.sleep(0.1)
    await site.people.drain("w1", reason="new disks")
    assert ((), "draining") == ((await waiting).tasks, (await waiting).state)
    await site.open(ticket("9"))
    assert ((), "draining") == ((await runner.claim(wait=1)).tasks, (await runner.beat()).state)
    resumed = await site.people.resume("w1")
    await site.people.worker("w1", after=resumed.after)
    assert [("9", "A")] == names((await runner.claim(wait=10)).tasks)


async def test_one_that_waits_hears_that_its_token_was_revoked(site: Site) -> None:
    token, waiting = await waiting_with_a_token(site)
    await site.people.revoke_token(token)
    async with asyncio.timeout(5):
        with pytest.raises(Unauthenticated):
            await waiting


async def test_whose_token_was_revoked_gets_no_task_while_it_still_waits(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, waiting = await waiting_with_a_token(site)
    monkeypatch.setattr(claiming, "LOOK", 3600)  # it is not looked at but for the task
    await site.people.revoke_token(token)
    await site.open(ticket("9"))
    with pytest.raises(Unauthenticated):
        await waiting
    other = await site.registered("other")
    [one] = (await other.claim(wait=10)).tasks
    assert ("9", 1) == (one.ticket, one.attempt)


async def waiting_with_a_token(site: Site) -> tuple[str, "asyncio.Task[Claims]"]:
    """The id of a token, and a claim with it that waits."""
    made = await site.people.make_token("rack", ["work"])
    runner = site.runner("w1", token=made.token)
    await runner.register("home-w1")
    waiting = asyncio.create_task(runner.claim(wait=25))
    await asyncio.sleep(0.2)  # it waits, which nobody can see from without
    return made.id, waiting


# ---------------------------------------------------------------------------- heartbeats, reports


async def test_a_heartbeat_tells_what_is_held_and_what_is_lost(site: Site) -> None:
    await site.open(ticket("9", "A", "B"))
    runner = await site.registered("w1")
    one, two = (await runner.claim(2, wait=10)).tasks
    beat = await runner.beat([(one.ticket, one.token), (two.ticket, two.token)])
    assert ((), {one.token, two.token}) == (beat.lost, {held.token for held in beat.held})
    cancelled = await site.people.cancel("9", one.task, reason="no need")
    await site.people.ticket("9", after=cancelled.after)
    async with asyncio.timeout(10):
        while not (beat := await runner.beat([(one.ticket, one.token)])).lost:
            await asyncio.sleep(0.02)
    assert [(one.token, "tasks_cancelled: no need")] == [
        (lost.token, lost.reason) for lost in beat.lost
    ]
    assert [two.token] == [held.token for held in beat.held]


async def test_reports_are_answered_each_in_its_place_and_the_same_twice(site: Site) -> None:
    await site.open(ticket("9", "A", "B"))
    runner = await site.registered("w1")
    one, two = (await runner.claim(2, wait=10)).tasks
    stranger = Started(ticket="none", task="A", token=3)
    reports: list[Report] = [started(one), stranger, passed(one)]
    reports += [Returned(**attempt_of(two)), passed(two)]
    answers = await runner.report(reports)
    kinds = [type(answer) for answer in answers]
    assert [Accepted, Rejected, Accepted, Accepted, Rejected] == kinds
    assert answers[1].problem.type.endswith(":unknown-ticket")  # type: ignore[union-attr]
    assert answers[4].problem.type.endswith(":stale-token")  # type: ignore[union-attr]
    again = await runner.report(reports)
    assert [a.version for a in answers if isinstance(a, Accepted)] == [
        a.version for a in again if isinstance(a, Accepted)
    ]


async def test_more_reports_than_a_request_takes_are_sent_in_parts(site: Site) -> None:
    await site.open(ticket("9", *(f"t{n}" for n in range(90))))
    runner = await site.registered("w1")
    tasks: list[Claimed] = []
    while len(tasks) < 90:
        tasks += (await runner.claim(100, wait=10)).tasks
    answers = await runner.report([say(one) for one in tasks for say in (started, passed)])
    assert 180 == sum(isinstance(answer, Accepted) for answer in answers)


async def test_a_task_may_do_what_is_its_own_with_its_credential(site: Site) -> None:
    await site.open(ticket("9"), ticket("other"))
    runner = await site.registered("w1")
    tasks = {one.ticket: one for one in (await runner.claim(2, wait=10)).tasks}
    if len(tasks) < 2:
        tasks |= {one.ticket: one for one in (await runner.claim(1, wait=10)).tasks}
    one = tasks["9"]
    headers = {"Authorization": f"Bearer {one.credential}"}
    own = f"/v1/tickets/9/attempts/{one.token}"
    async with httpx.AsyncClient(base_url=site.url, headers=headers) as task:
        assert 200 == (await task.post(f"{own}/start")).status_code
        added = await task.post("/v1/tickets/9/tasks", json={"tasks": [_more("B")]})
        assert 200 == added.status_code, added.text
        stolen = await task.post("/v1/tickets/other/tasks", json={"tasks": [_more("B")]})
        assert 403 == stolen.status_code
        secret = {"kind": "shell", "parameters": {"command": "true", "secrets": {"KEY": "signing"}}}
        asking = await task.post(
            "/v1/tickets/9/tasks", json={"tasks": [_more("C"), _more("D") | {"run": secret}]}
        )
        assert (403, "forbidden", "tasks[1].run.parameters.secrets") == problem(asking)
        assert 403 == (await task.post("/v1/tickets/9/attempts/99/start")).status_code
        told = await task.post(f"{own}/report", json={"outcome": "passed"})
        assert 200 == told.status_code
        assert told.json() == (await task.post(f"{own}/report", json={"outcome": "passed"})).json()
        late = await task.post(f"{own}/return", json={"reason": "too late"})
        assert (409, "stale-token") == (late.status_code, late.json()["type"].rpartition(":")[2])
    assert {"A", "B"} == {
        row.task async for row in site.people.tasks("9", after=told.json()["after"])
    }


def _more(name: str) -> dict[str, Any]:
    return {"name": name, "run": {"kind": "noop"}}


async def test_an_operator_takes_a_task_from_its_worker(site: Site) -> None:
    await site.open(ticket("9"))
    runner = await site.registered("w1")
    [one] = (await runner.claim(wait=10)).tasks
    headers = {"Authorization": f"Bearer {site.token}"}
    async with httpx.AsyncClient(base_url=site.url, headers=headers) as operator:
        path = f"/v1/tickets/9/attempts/{one.token}/revoke"
        async with asyncio.timeout(10):
            while (revoked := await operator.post(path, json={"reason": "hot"})).status_code == 404:
                await asyncio.sleep(0.02)
        assert 200 == revoked.status_code, revoked.text
        for token in ("77", str(2**31), "9" * 20, "x"):
            unknown = await operator.post(f"/v1/tickets/9/attempts/{token}/revoke")
            assert (404, "unknown-attempt", "token") == problem(unknown)
    [answer] = await runner.report([passed(one)])
    assert isinstance(answer, Rejected)


# ---------------------------------------------------------------------------------- when it stops


async def test_who_waits_is_answered_when_the_api_stops(address: Address, tmp_path: Path) -> None:
    async with real(address, tmp_path) as api:
        site = Site(api)
        runner = await site.registered("w1")
        waiting = asyncio.create_task(runner.claim(wait=25))
        await asyncio.sleep(0.2)
    assert () == (await waiting).tasks
    await site.close()
