"""What the demonstration has come to: all that can be asked of the service, while it is there."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from adapters.client import Artifact, Attempt, Client, Event, Result, Task, Ticket


class Outcome(Struct, frozen=True):
    """A ticket that has ended, and what there is of it.

    `artifacts` and `logs` are by the tokens of attempts, `contents` by the artifacts' digests.
    """

    ticket: Ticket
    tasks: Sequence[Task]
    attempts: Sequence[Attempt]
    events: Sequence[Event]
    results: Sequence[Result]
    artifacts: Mapping[int, Sequence[Artifact]]
    contents: Mapping[str, bytes]
    logs: Mapping[int, bytes]

    def attempts_at(self, task: str) -> list[Attempt]:
        """The attempts at this task, in their order."""
        return [attempt for attempt in self.attempts if attempt.task == task]

    def log_of(self, task: str) -> str:
        """What the last attempt at this task has said."""
        attempts = self.attempts_at(task)
        return self.logs.get(attempts[-1].token, b"").decode() if attempts else ""


class Aftermath(Struct, frozen=True):
    """What is known when all is over.

    `killed` is the name of the runner that was killed, `refused` how often the git server was
    busy, `statuses` how the processes ended that were stopped, `left` what should have ended.
    """

    killed: str
    refused: int
    statuses: Mapping[str, int]
    left: Sequence[str]


async def outcome(client: Client, ticket: str) -> Outcome:
    """Ask for all of it. Raises Refused, Unanswered."""
    attempts = [one async for one in client.attempts(ticket)]
    attempts.sort(key=lambda one: one.token)
    artifacts = {one.token: await client.artifacts(ticket, one.token) for one in attempts}
    digests = {one.digest for some in artifacts.values() for one in some}
    return Outcome(
        ticket=await client.ticket(ticket),
        tasks=[one async for one in client.tasks(ticket)],
        attempts=attempts,
        events=[one async for one in client.events(ticket)],
        results=[one async for one in client.results(ticket=ticket)],
        artifacts=artifacts,
        contents={one: await _whole(client, one) for one in digests},
        logs={
            one.token: b"".join([piece async for piece in client.log(ticket, one.token)])
            for one in attempts
        },
    )


async def _whole(client: Client, digest: str) -> bytes:
    return b"".join([piece async for piece in client.artifact(digest)])
