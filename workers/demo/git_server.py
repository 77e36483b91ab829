"""A git server on this machine: real repositories over HTTP, for reading only.

async with serving(Path("repositories"), refusals=1) as server:
    ...  # git clone {server.url}/tower.git: the first request is answered with 503

It speaks git's smart protocol by way of git's own `upload-pack`, so nobody can write.
"""

import asyncio
import gzip
import os
import re
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

MOST: Final = 16 * 1024 * 1024
"""Bytes of a request."""

PART: Final = 1 << 16
"""Bytes of an answer that are sent together."""


class GitServer:
    """What is served, and what has been asked for so far.

    Attributes:
        url: where the repositories are: below it, by their names in the root.
        requests: requests of all kinds.
        fetches: how often objects were sent.
        refused: requests that were answered with 503, as was wanted.
    """

    def __init__(self, root: Path, refusals: int = 0) -> None:
        self.root = root.resolve()
        self.url = ""
        self.requests = 0
        self.fetches = 0
        self.refused = 0
        self._refusals = refusals
        self._refusals_of: dict[str, int] = {}
        self._lock = threading.Lock()

    def refuse(self, requests: int, repository: str | None = None) -> None:
        """Answer the next ones with 503: all, or those for one repository."""
        with self._lock:
            if repository is None:
                self._refusals = requests
            else:
                self._refusals_of[repository] = requests

    def comes_through(self, repository: str) -> bool:
        """Count a request, and say whether it is to be answered."""
        with self._lock:
            self.requests += 1
            if self._refusals > 0:
                self._refusals -= 1
            elif (left := self._refusals_of.get(repository, 0)) > 0:
                self._refusals_of[repository] = left - 1
            else:
                return True
            self.refused += 1
            return False

    def count_fetch(self) -> None:
        """Objects are sent."""
        with self._lock:
            self.fetches += 1

    def repository(self, name: str) -> Path | None:
        """The repository of this name, if there is one."""
        place = (self.root / name).resolve()
        is_there = place.is_relative_to(self.root) and place.is_dir()
        return place if is_there else None


class _Answering(BaseHTTPRequestHandler):
    """One request: what can be had of a repository, or objects of it."""

    protocol_version = "HTTP/1.1"
    server_version = "turnstile-demo"
    git: GitServer

    def do_GET(self) -> None:
        """Say what can be had."""
        url = urlsplit(self.path)
        match = re.fullmatch(r"/(.+)/info/refs", unquote(url.path))
        service = parse_qs(url.query).get("service")
        if (place := self._place(match)) is None:
            return
        if service != ["git-upload-pack"]:
            self._refuse(403)
            return
        is_newest = "version=2" in self.headers.get("Git-Protocol", "")
        first = b"" if is_newest else b"001e# service=git-upload-pack\n0000"
        self._answer(place, ["--advertise-refs"], b"", "advertisement", first)

    def do_POST(self) -> None:
        """Send objects."""
        body = self._body()
        match = re.fullmatch(r"/(.+)/git-upload-pack", unquote(urlsplit(self.path).path))
        if (place := self._place(match)) is None:
            return
        # Version 2 asks for names in the same way.
        if b"command=ls-refs" not in body[:100]:
            self.git.count_fetch()
        self._answer(place, [], body, "result", b"")

    def log_message(self, *_: object) -> None:
        """Say nothing: whoever looks has the counters."""

    def _place(self, match: re.Match[str] | None) -> Path | None:
        if not self.git.comes_through(match[1] if match else ""):
            self._refuse(503)
            return None
        place = self.git.repository(match[1]) if match else None
        if place is None:
            self._refuse(404)
        return place

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(min(size, MOST)))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MOST))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(
        self, place: Path, options: list[str], body: bytes, kind: str, first: bytes
    ) -> None:
        # Its length is not known before: it ends where the connection does.
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", f"application/x-git-upload-pack-{kind}")
        self.send_header("cache-control", "no-cache")
        self.send_header("connection", "close")
        self.end_headers()
        command = ["git", *_ANY, "upload-pack", "--stateless-rpc", *options, str(place)]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(
            command, env=environment, stderr=subprocess.DEVNULL, **pipes
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(body)
                    process.stdin.close()
                self.wfile.write(first)
                while part := process.stdout.read(PART):
                    self.wfile.write(part)
            except OSError:  # whoever asked is gone
                process.kill()


_ANY: Final = (
    *("-c", "safe.directory=*"),
    # As forges have it: a commit can be asked for although no branch ends with it.
    *("-c", "uploadpack.allowAnySHA1InWant=true"),
)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Somebody has hung up: that is nobody's affair."""


@asynccontextmanager
async def serving(root: Path, *, refusals: int = 0, port: int = 0) -> AsyncIterator[GitServer]:
    """Serve the repositories below a directory on loopback; the first requests are refused."""
    git = GitServer(root, refusals)
    answering = type("_AnsweringThese", (_Answering,), {"git": git})
    server = _Server(("127.0.0.1", port), answering)
    git.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield git
    finally:
        await asyncio.to_thread(server.shutdown)
        await asyncio.to_thread(server.server_close)
        await asyncio.to_thread(thread.join)
