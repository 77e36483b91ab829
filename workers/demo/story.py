"""What happens: a ticket tests this repository, and a runner is killed in the middle of it.

A service starts, and two runners. The ticket has two tasks side by side, one that takes what
another has left, one whose git server is busy, and one that fails and may. As soon as the tests of
the domain run, their runner is killed: nobody hears of it any more, its lease runs out, and another
attempt passes elsewhere.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Protocol

from adapters.client import Change, Client
from adapters.config import Config
from adapters.token_file import kept
from workers.demo.cast import Cast
from workers.demo.git_server import GitServer
from workers.demo.outcome import Outcome, outcome
from workers.demo.repository import Head
from workers.demo.workflow import opening

RUNNERS: Final = ("runner-1", "runner-2")

VICTIM: Final = "domain"
"""The task in the middle of which its runner is killed."""

SIGN: Final = b"%]"
"""What its log has in it when some of its tests have run."""

ENDS: Final = ("passed", "failed", "errored", "cancelled", "superseded", "expired")


class Stage(Protocol):
    """Where the story is shown."""

    def tell(self, who: str, what: str) -> None:
        """Somebody did something just now."""
        ...

    def wait(self, what: str) -> None:
        """Nothing can be seen for a while, because of this."""
        ...


class Story:
    """Told once.

    Attributes:
        ticket: the ticket's id.
    """

    def __init__(
        self, config: Config, cast: Cast, git: GitServer, head: Head, stage: Stage
    ) -> None:
        self.ticket = f"turnstile-{head.revision[:8]}"
        self._config = config
        self._cast = cast
        self._git = git
        self._head = head
        self._stage = stage
        self._tell = stage.tell
        self._states: dict[str, str] = {}
        self._attempts: Counter[str] = Counter()
        self._claimed: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    async def tell(self) -> Outcome:
        """From the beginning to the end of the ticket. Raises TurnstileError, OSError."""
        self._stage.wait("the service starts")
        url = await self._cast.serve()
        self._tell("service", f"`turnstile up` listens at {url}")
        async with Client(url, kept(self._config.data)) as client:
            await client.ready()
            await self._hire(client, url)
            async with client.changes(ticket=self.ticket) as changes:
                await changes.opened()
                head = self._head
                await client.open(
                    opening(self.ticket, git=self._git.url, revision=head.revision, name=head.name)
                )
                killing = asyncio.create_task(self._kill(client))
                try:
                    async for change in changes:
                        self._show(change)
                        if change.type.rpartition(".")[2] in ENDS:
                            break
                        if killing.done():
                            killing.result()
                finally:
                    killing.cancel()
                    await asyncio.gather(killing, return_exceptions=True)
            await client.ticket(self.ticket, after=change.after)
            return await outcome(client, self.ticket)

    async def _hire(self, client: Client, url: str) -> None:
        """Two runners, with a token that is good for nothing but their work."""
        token = await client.make_token("runners", ["work"])
        assert token.token is not None
        for name in RUNNERS:
            pid = await self._cast.work(name, url, token.token)
            self._tell(name, f"`turnstile runner` starts (process {pid})")

    async def _kill(self, client: Client) -> None:
        """When tests of the domain have run, kill the runner that runs them."""
        worker, token = await self._claimed
        said = b""
        async for piece in client.log(self.ticket, token, follow=True):
            said += piece
            if SIGN in said:
                break
        pid = await self._cast.kill(worker)
        self._tell("kill -9", f"… and in the middle of {VICTIM} {worker} is gone (process {pid})")

    # ---------------------------------------------------------------------------- what one sees

    def _show(self, change: Change) -> None:
        word, data = change.type.rpartition(".")[2], change.data
        task = data.get("task", "")
        if word == "task_claimed":
            if task == VICTIM and not self._claimed.done():
                self._claimed.set_result((data["worker"], change.version))
            self._states[task] = f"on {data['worker']}"
            self._attempts[task] += 1
        elif task:
            self._states[task] = _STATES.get(word, "")
        if sentence := _sentence(word, data, self._head, self._attempts[task]):
            self._tell(_who(word, change), sentence)
        under_way = (f"{name} {state}" for name, state in self._states.items() if state)
        self._stage.wait(", ".join(under_way) or "no task is under way")


_STATES: Final = {"lease_lost": "waits", "task_retried": "waits"}


def _who(word: str, change: Change) -> str:
    if word == "task_claimed":
        return str(change.data["worker"])
    if word == "opened":
        return "author"
    if word in ("tasks_ready", "lease_lost") or word in ENDS:
        return "ticket"
    return change.actor.rpartition("/")[2]


def _sentence(word: str, data: Mapping[str, Any], head: Head, attempt: int) -> str:
    """What one sees of an event; nothing of what goes without saying."""
    task, reason = data.get("task"), data.get("reason", "")
    match word:
        case "opened":
            names = ", ".join(one["name"] for one in data["tasks"])
            return f"opens the ticket for {head.revision[:8]}: {names}"
        case "task_claimed":
            return f"takes {task}" if attempt == 1 else f"takes {task}: attempt {attempt}"
        case "task_passed":
            return f"{task} passed"
        case "task_failed":
            optional = " (it is optional)" if task == "short" else ""
            return f"{task} failed{optional}: {reason}"
        case "task_retried":
            return f"has no sources for {task}, which is tried again: …{reason[-23:]}"
        case "lease_lost":
            return f"{task} waits again: {reason}"
        case "tasks_ready":
            return f"ready: {', '.join(data['tasks'])}"
        case "task_errored" | "task_timed_out" | "claim_returned":
            return f"{task}: {word.rpartition('_')[2]}: {reason}"
    return f"the ticket {word}" if word in ENDS else ""
