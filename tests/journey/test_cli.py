"""The command line, through the real process, on each log: submit, look, steer, replay."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from adapters.asking import asking
from adapters.config import Config
from adapters.config import read as read_config
from adapters.postgres.connection import Address, connect
from adapters.postgres.views.view import address_of
from domain.envelope import Submitted
from domain.ticket.commands import Cancel
from tests.journey.command import PATIENCE, TURNSTILE, environment, turnstile
from tests.journey.running import Site, opening, running
from workers.compose import assemble

pytestmark = pytest.mark.service

Run = Callable[..., str]


@pytest.fixture
def run(site: Site) -> Run:
    """Runs a command that must do what it says; what it prints."""

    def done(*arguments: str) -> str:
        ended = turnstile(*arguments, **site.settings())
        assert (0, "") == (ended.returncode, ended.stderr), ended
        return ended.stdout

    return done


@pytest.fixture
def fails(on_postgres: Site) -> Callable[..., tuple[int, str]]:
    """Runs a command that must fail; its status and what it says."""

    def failed(*arguments: str, **settings: str) -> tuple[int, str]:
        ended = turnstile(*arguments, **{**on_postgres.settings(), **settings})
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stderr

    return failed


def rows(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def file(tmp_path: Path, ticket: str, *tasks: str, **fields: Any) -> str:
    path = tmp_path / f"{ticket}.json"
    path.write_text(json.dumps(opening(ticket, *tasks, **fields)))
    return str(path)


def test_the_first_workflow_is_written_checked_and_submitted(
    site: Site, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "ticket.toml"
    assert f"{path} is written" in run("init", str(path))
    assert "4 tasks" in run("submit", str(path), "--check")
    [opened] = rows(run("submit", str(path), "--json"))
    assert opened["ticket"].startswith(f"{Path.cwd().name}-")
    again = turnstile("init", str(path), **site.settings())
    assert (73, f"turnstile: {path} is there already\n  --force overwrites it.\n") == (
        again.returncode,
        again.stderr,
    )


def test_a_ticket_is_submitted_listed_and_shown(
    site: Site, run: Run, tmp_path: Path, ticket: str
) -> None:
    labels = {"test": ticket}
    run("submit", file(tmp_path, ticket, "build", "unit", labels=labels))
    site.seen(ticket, 1)
    assert ticket in run("tickets", "--label", f"test={ticket}", "--state", "queued")
    [row] = rows(run("tickets", "--json", "--label", f"test={ticket}", "--since", "1h"))
    assert (ticket, 2) == (row["ticket"], row["tasks"])
    shown = run("show", ticket)
    assert "commit main of tower at c0ffee" in shown
    assert "needs build" in shown
    assert [ticket] == [
        one["ticket"]
        for one in rows(run("queue", "--json", "--limit", "100000"))
        if one["ticket"] == ticket
    ]
    assert "There is no such result." in run("results", ticket)


def test_optional_tasks_are_marked_and_what_is_long_is_told_where_there_is_room(
    site: Site, run: Run, ticket: str
) -> None:
    long = " ".join(f"{n}" for n in range(50))
    task = {"name": "lint", "run": {"kind": "shell"}, "required": False}
    site.open(ticket, tasks=[task])
    run("cancel", ticket, "lint", "--reason", long)
    site.seen(ticket, 4)
    [row] = [line for line in run("show", ticket).splitlines() if line.startswith("lint")]
    assert "cancelled, optional" in row
    assert long in row


def test_thousands_are_submitted_from_a_directory_and_from_stdin(
    site: Site, tmp_path: Path, ticket: str
) -> None:
    lines = "\n".join(json.dumps(opening(f"{ticket}-{n}", "build")) for n in range(1_500))
    (tmp_path / "many.ndjson").write_text(lines)
    for argument, given in ((str(tmp_path), None), ("-", lines)):
        ended = subprocess.run(
            [TURNSTILE, "submit", "--json", argument],
            input=given,
            env=environment(**site.settings()),
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        assert [f"{ticket}-{n}" for n in range(1_500)] == [
            row["ticket"] for row in rows(ended.stdout)
        ]


def test_a_ticket_is_steered_and_its_history_tells_who_and_why(
    site: Site, run: Run, ticket: str
) -> None:
    site.open(ticket, "build", "unit")
    assert f"{ticket}: held\n" == run("hold", ticket, "build", "--reason", "the mirror is away")
    assert f"{ticket}: released\n" == run("hold", ticket, "--release")
    assert f"{ticket}: has priority -5\n" == run("priority", ticket, "-5")
    assert f"{ticket}: cancelled\n" == run("cancel", ticket, "--reason", "no need")
    run("rerun", ticket)
    told = run("history", ticket)
    for part in ("local", "held: build: the mirror is away", "no need", "(UTC)", "+"):
        assert part in told
    versions = [event["version"] for event in rows(run("history", ticket, "--json"))]
    assert list(range(1, len(versions) + 1)) == versions


def test_to_cancel_what_has_ended_otherwise_changes_nothing_and_says_so(
    site: Site, run: Run, ticket: str
) -> None:
    site.open(ticket, "build")
    run("cancel", ticket)
    assert f"{ticket}: cancelled\n" == run("cancel", ticket)
    newer = f"{ticket}-newer"
    for order, id_ in enumerate((f"{ticket}-older", newer)):
        site.open(id_, "build", supersedes={"key": ticket, "order": order})
    older = site.seen(f"{ticket}-older", 4)
    assert "superseded" == older["state"]
    said = f"{ticket}-older: has ended as superseded; nothing is changed\n"
    assert said == run("cancel", f"{ticket}-older")
    assert older["state"] == site.seen(f"{ticket}-older", 4)["state"]


def test_a_ticket_is_replayed_to_any_moment(site: Site, run: Run, ticket: str) -> None:
    site.open(ticket, "build")
    site.seen(ticket, 2)
    run("hold", ticket)
    run("cancel", ticket)
    events = rows(run("history", ticket, "--json"))
    whole = run("replay", ticket)
    assert f"{ticket} is cancelled then, at version {len(events)}" in whole
    assert "task build.state  ready → held" in whole
    for arguments in (
        ("--version", "2"),
        ("--at", events[1]["time"]),
        ("--until-event", events[1]["id"]),
    ):
        assert f"{ticket} is queued then, at version 2" in run("replay", ticket, *arguments)
    changes = rows(run("replay", ticket, "--diff", "2", "3", "--json"))
    assert ("task build", "state", "ready", "held") in [
        (one["row"], one["column"], one["before"], one["after"]) for one in changes
    ]
    steps = rows(run("replay", ticket, "--json"))
    assert [event["id"] for event in events] == [step["event"]["id"] for step in steps]


def test_a_ticket_is_shown_as_it_was(site: Site, run: Run, ticket: str) -> None:
    site.open(ticket, "build")
    run("cancel", ticket)
    site.seen(ticket, 3)
    [now], [then] = (
        rows(run("show", ticket, "--json", *more)) for more in ((), ("--version", "2"))
    )
    assert ("cancelled", "queued") == (now["ticket"]["state"], then["ticket"]["state"])
    assert ["ready"] == [task["state"] for task in then["tasks"]]


def test_a_ticket_is_watched_until_it_has_ended(site: Site, ticket: str) -> None:
    site.open(ticket, "build")
    site.seen(ticket, 2)
    with subprocess.Popen(
        [TURNSTILE, "watch", ticket],
        env=environment(**site.settings()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert f"{ticket} queued: 1 waiting\n" == watching.stdout.readline()
        site.owner.post(f"/v1/tickets/{ticket}/hold")
        assert "held: build" in watching.stdout.readline()
        site.owner.post(f"/v1/tickets/{ticket}/cancel")
        said, errors = watching.communicate(timeout=PATIENCE)
    assert (1, "") == (watching.returncode, errors)
    assert f"{ticket} cancelled: 1 dropped\n" == said.splitlines(keepends=True)[-1]


def test_a_token_is_made_used_and_revoked(site: Site, run: Run, ticket: str) -> None:
    made = turnstile(
        "token", "make", "carol", "--scope", "submit", "--days", "1", **site.settings()
    )
    token = made.stdout.strip()
    assert "carol's, for submit" in made.stderr
    site.open(ticket, "build")
    refused = turnstile("cancel", ticket, **site.settings(), TURNSTILE_TOKEN=token)
    assert 77 == refused.returncode
    assert "needs the scope 'operate'" in refused.stderr
    listed = rows(run("token", "list", "--json"))
    [id_] = [row["id"] for row in listed if row["name"] == "carol"]
    assert token not in json.dumps(listed)
    assert f"{id_}: revoked\n" == run("token", "revoke", id_)
    assert 77 == turnstile("tickets", **site.settings(), TURNSTILE_TOKEN=token).returncode


def test_who_has_the_database_makes_a_token_without_one(on_postgres: Site) -> None:
    made = turnstile(
        "token", "make", "dave", "--scope", "admin", "--direct", **on_postgres.configured()
    )
    assert 0 == made.returncode, made.stderr
    with on_postgres.client(made.stdout.strip()) as dave:
        assert 200 == dave.get("/v1/tokens").status_code


def test_errors_have_a_status_and_say_what_to_do(
    on_postgres: Site, fails: Callable[..., tuple[int, str]], tmp_path: Path, ticket: str
) -> None:
    on_postgres.open(ticket, "build")
    for status, said, arguments, settings in (
        (66, "`turnstile tickets` lists", ("show", "none"), {}),
        (65, "needs[0]: there is no task 'x'", ("submit", wrong(tmp_path)), {}),
        (66, "No such file", ("submit", "nowhere.toml"), {}),
        (73, "exists already with another body", ("submit", file(tmp_path, ticket, "x")), {}),
        (
            69,
            "`turnstile up` starts it here",
            ("tickets",),
            {"TURNSTILE_URL": "http://127.0.0.1:1"},
        ),
        (77, "Set TURNSTILE_TOKEN", ("cancel", ticket), {"TURNSTILE_DATA": str(tmp_path)}),
        (78, "at `url`", ("tickets",), {"TURNSTILE_URL": "nowhere"}),
        (2, "Name a TICKET, or a --testcase", ("results",), {}),
        (2, "is neither an instant", ("tickets", "--since", "soon"), {}),
        (
            66,
            "has no event",
            ("replay", ticket, "--until-event", str(uuid4())),
            {},
        ),
        (66, "has come to version", ("replay", ticket, "--diff", "1", "99"), {}),
    ):
        found = fails(*arguments, **settings)
        assert status == found[0], (arguments, found)
        assert said in found[1], (arguments, found)


def test_another_program_in_the_place_of_the_service_is_found_out(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        url = f"http://127.0.0.1:{other.server_port}"
        Thread(target=other.serve_forever, daemon=True).start()
        asked = turnstile("tickets", TURNSTILE_URL=url, TURNSTILE_DATA=tmp_path)
        other.shutdown()
    assert 69 == asked.returncode
    said, then = asked.stderr.splitlines()
    assert (
        f"turnstile: {url} does not answer as Turnstile does: it answered 501 Unsupported" in said
    )
    assert "Is another program there? TURNSTILE_HTTP or TURNSTILE_URL says" in then


def wrong(tmp_path: Path) -> str:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        json.dumps(
            opening("w") | {"tasks": [{"name": "a", "run": {"kind": "shell"}, "needs": ["x"]}]}
        )
    )
    return str(path)


def test_a_pipe_that_is_closed_early_is_no_error(on_postgres: Site, ticket: str) -> None:
    on_postgres.open(ticket, *(f"t{n}" for n in range(2_000)))
    on_postgres.seen(ticket, 1)
    piped = subprocess.run(
        f"{TURNSTILE} show {ticket} | head -1",
        shell=True,
        env=environment(**on_postgres.settings()),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert ticket in piped.stdout
    assert "" == piped.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    printed = turnstile("completion", shell)
    assert (0, "") == (printed.returncode, printed.stderr)
    assert "_TURNSTILE_COMPLETE" in printed.stdout


def test_shells_complete_tickets(on_postgres: Site, ticket: str) -> None:
    on_postgres.open(ticket, "build")
    on_postgres.seen(ticket, 1)
    completed = turnstile(
        **on_postgres.settings(),
        _TURNSTILE_COMPLETE="bash_complete",
        COMP_WORDS=f"turnstile show {ticket[:5]}",
        COMP_CWORD="2",
    )
    assert f"plain,{ticket}" in completed.stdout


def test_every_command_is_in_the_help_with_a_sentence() -> None:
    from workers.cli import SECTIONS, main

    for section in SECTIONS.values():
        for name in section:
            command = main.get_command(None, name)  # type: ignore[arg-type] # it asks no context
            assert command is not None, name
            assert command.get_short_help_str().endswith("."), name
    assert set(main.commands) == {name for section in SECTIONS.values() for name in section}


def test_the_doctor_finds_nothing_wrong_where_everything_runs(site: Site) -> None:
    examined = turnstile("doctor", **site.configured(), TURNSTILE_URL=site.url)
    assert (0, "") == (examined.returncode, examined.stderr), examined.stdout
    for part in ("engine: ", "tickets: ", "reactor: ", f"the API at {site.url} answers"):
        assert part in examined.stdout
    levels = {finding["level"] for finding in rows(_json_of_doctor(site))}
    assert "wrong" not in levels


def _json_of_doctor(site: Site) -> str:
    return turnstile("doctor", "--json", **site.configured(), TURNSTILE_URL=site.url).stdout


def test_the_doctor_says_what_is_wrong_and_what_to_do(
    on_postgres: Site, postgres_dsn: str, tmp_path: Path
) -> None:
    schema = f"t_{uuid4().hex[:12]}"
    alone = {"DATABASE_URL": postgres_dsn, "TURNSTILE_SCHEMA": schema}
    with running(tmp_path / "data", **alone) as site:
        site.open("1", "build")
        site.process.terminate()
        assert 0 == site.process.wait(PATIENCE)
    # What is asked now lies in the inbox, and nobody decides.
    asyncio.run(_send(Config(database_url=postgres_dsn, schema=schema)))
    examined = turnstile("doctor", **alone, TURNSTILE_URL="http://127.0.0.1:1")
    assert 1 == examined.returncode, examined.stdout
    assert "✗ engine: partition" in examined.stdout
    assert "`turnstile engine` running" in examined.stdout
    assert "`turnstile api` starts one" in examined.stdout
    nowhere = turnstile("doctor", TURNSTILE_DATA=tmp_path / "nothing")
    assert 69 == nowhere.returncode
    assert "`turnstile up` makes it" in nowhere.stderr


def test_the_doctor_tells_of_what_no_worker_can_take(postgres_dsn: str, tmp_path: Path) -> None:
    alone = {"DATABASE_URL": postgres_dsn, "TURNSTILE_SCHEMA": f"t_{uuid4().hex[:12]}"}
    tasks = [{"name": "unit", "run": {"kind": "shell"}, "requires": {"gpu": ["h100"]}}]
    with running(tmp_path / "data", **alone) as site:
        site.open("1", tasks=tasks)
        site.seen("1", 2)
        assert "no worker" not in turnstile("doctor", **site.configured()).stdout
        asyncio.run(_let_pass(postgres_dsn, alone["TURNSTILE_SCHEMA"]))
        none = turnstile("doctor", **site.configured())
        site.owner.put("/v1/workers/w1", json={"session": "s1", "home": "here"})
        other = turnstile("doctor", **site.configured())
    assert (0, 0) == (none.returncode, other.returncode), none.stdout
    assert "! 1 tasks have waited for over 1 min 0 s, and no worker is available" in none.stdout
    assert "no available worker has what they require: 1 require gpu=h100" in other.stdout
    assert "    start a runner with `--capability gpu=h100`" in other.stdout


async def _let_pass(dsn: str, schema: str) -> None:
    """Have everything wait for two minutes more, as the views have it."""
    connection = await connect(address_of(Address(dsn, schema), "tickets"))
    try:
        await connection.execute("UPDATE tasks SET since = since - interval '2 minutes'")
    finally:
        await connection.close()


async def _send(config: Config) -> None:
    async with assemble(config) as service:
        command = Cancel()
        await service.log.send(
            [Submitted(id=uuid4(), stream="ticket/1", command=command, actor="a test")]
        )


def test_a_dead_letter_is_shown_injected_and_dropped(site: Site, run: Run, ticket: str) -> None:
    asyncio.run(_put_aside(site, ticket))
    [*letters] = [
        one
        for one in rows(run("dead", "--json", "--limit", "1000"))
        if one["stream"] == f"odd/{ticket}"
    ]
    assert 2 == len(letters)
    first, second = (letter["id"] for letter in letters)
    assert letters[0]["reason"] in run("dead", "show", first)
    assert f"{first}: dropped\n" == run("dead", "drop", first, "--reason", "a mistake")
    assert f"{second}: injected\n" == run("dead", "inject", second)
    settled = {
        one["id"]: one for one in rows(run("dead", "--settled", "--json", "--limit", "1000"))
    }
    assert ("dropped", "local", "a mistake") == tuple(
        settled[first]["settled"][name] for name in ("how", "by", "why")
    )
    assert "injected" == settled[second]["settled"]["how"]


async def _put_aside(site: Site, ticket: str) -> None:
    """Send two commands to a stream of a kind that nobody knows, and wait for the answers."""
    config = read_config({name: str(value) for name, value in site.configured().items()})
    async with assemble(config) as service, asking(service.log) as asker:
        for _ in range(2):
            answer = await asker.ask(
                Submitted(id=uuid4(), stream=f"odd/{ticket}", command=Cancel(), actor="a test")
            )
            assert answer.refusal is not None
            assert "unfit" == answer.refusal.type


def test_a_view_is_rebuilt_while_the_service_runs(site: Site, ticket: str) -> None:
    site.open(ticket, "build")
    rebuilt = turnstile("rebuild", "tickets", **site.configured())
    assert 0 == rebuilt.returncode, rebuilt.stderr
    assert "tickets is folded anew" in rebuilt.stdout
    assert ticket == site.seen(ticket, 1)["ticket"]
    dropped = turnstile("rebuild", "tickets", "--drop-old", **site.configured())
    assert "The old view is dropped.\n" == dropped.stdout
