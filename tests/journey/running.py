"""`turnstile up`, as somebody starts it, and what it is asked over HTTP."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import httpx
import msgspec

from tests.journey.command import PATIENCE, TURNSTILE, environment


class Site:
    """A service that runs, and clients of it."""

    def __init__(
        self,
        process: "subprocess.Popen[str]",
        url: str,
        given: Mapping[str, object],
        said: list[str],
    ) -> None:
        self.process = process
        self.said = said
        """What it has logged until now."""
        self.url = url
        self.given = given
        self.data = data = Path(str(given["TURNSTILE_DATA"]))
        self.token = (data / "token").read_text().strip()
        self.anybody = httpx.Client(base_url=url, timeout=PATIENCE)
        self.owner = self.client(self.token)

    def client(self, token: str) -> httpx.Client:
        """A client that shows a token."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE)

    def settings(self) -> dict[str, str]:
        """What the command line needs to find it."""
        return {"TURNSTILE_URL": self.url, "TURNSTILE_DATA": str(self.data)}

    def configured(self) -> dict[str, object]:
        """The settings of its processes."""
        return dict(self.given)

    def open(self, ticket: str, *tasks: str, **fields: Any) -> Any:
        """Open a ticket of tasks, each of which needs the one before; what is answered."""
        response = self.owner.post("/v1/tickets", json=opening(ticket, *tasks, **fields))
        assert 201 == response.status_code, response.text
        return response.json()

    def seen(self, ticket: str, version: int) -> Any:
        """The ticket, once the views have come to this version of it."""
        deadline = monotonic() + PATIENCE
        while monotonic() < deadline:
            shown = self.anybody.get(f"/v1/tickets/{ticket}").json()
            if shown.get("version", 0) >= version:
                return shown
            sleep(0.01)
        raise AssertionError(f"the views have not come to version {version} of {ticket}")

    def close(self) -> None:
        """Let the clients go."""
        self.anybody.close()
        self.owner.close()


def opening(ticket: str, *tasks: str, **fields: Any) -> dict[str, Any]:
    """What opens a ticket of tasks, each of which needs the one before."""
    subject = {"kind": "commit", "project": "tower", "name": "main", "revision": "c0ffee"}
    needs: list[str] = []
    specs = []
    for name in tasks:
        specs.append({"name": name, "run": {"kind": "shell"}, "needs": needs})
        needs = [name]
    return {"id": ticket, "subject": subject, "tasks": specs} | fields


@contextmanager
def running(data: Path, **settings: object) -> Iterator[Site]:
    """Everything in one process; killed in the end."""
    given = {"TURNSTILE_HTTP": "127.0.0.1:0", "TURNSTILE_DATA": data, **settings}
    with subprocess.Popen(
        [TURNSTILE, "up"],
        env=environment(**given),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said: list[str] = []
            site = Site(process, _listens(process, said), given, said)
            try:
                yield site
            finally:
                site.close()
        finally:
            process.kill()


def _listens(process: "subprocess.Popen[str]", said: list[str]) -> str:
    """Where it says that it listens; what it *said* is kept, whatever it says later too."""
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if told["event"] == "api_listens":
            Thread(target=said.extend, args=(process.stderr,), daemon=True).start()
            return f"http://{told['address']}"
    raise AssertionError("".join(said))


def problem(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, type and field of a refusal."""
    assert "application/problem+json" == response.headers["content-type"], response.text
    told = msgspec.json.decode(response.content)
    assert response.status_code == told["status"]
    return told["status"], told["type"].rpartition(":")[2], told.get("field")
