#!/usr/bin/env python3
"""Apache Kafka without a container: one node, or a cluster of three, on loopback.

    docker/kafka/broker.py                           one node on port 9092, until Ctrl-C
    docker/kafka/broker.py --nodes 3 --port 0        three nodes on any free ports
    docker/kafka/broker.py --data DIRECTORY          keeps what it stores there
    docker/kafka/broker.py -- COMMAND ARGUMENT...    as long as the command runs, which is told
                                                     where the broker is by TURNSTILE_KAFKA

It needs Java 17 or newer and Maven, which `fetch` beside it installs where it may. Each node is a
child of this process, takes about 170 MB of memory, and ends with it.
"""

import argparse
import asyncio
import ctypes
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

HERE: Final = Path(__file__).resolve().parent
CLUSTER_ID: Final = "turnstile-of-loopback0"
JVM: Final = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
READY: Final = 60.0
"""Seconds that a node may take to serve; on two busy cores it takes some."""

_PR_SET_PDEATHSIG: Final = 1

SETTINGS: Final = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",  # 6000 by itself: a long time to wait in front of
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
    # An abandoned transaction holds readers back until somebody looks for it.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "group.coordinator.threads": "1",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


class BrokerError(Exception):
    """A node did not start; says what it said last."""


class Node:
    """One node: broker and controller in one process.

    Attributes:
        address: `host:port`, the same over a restart.
        addresses: those of all its listeners, by name.
        log: the file with what it says.
    """

    def __init__(
        self, number: int, ports: Mapping[str, int], folder: Path, settings: Mapping[str, str]
    ) -> None:
        self.number = number
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        self.address = self.addresses["PLAINTEXT"]
        self.log = folder / f"node-{number}.log"
        self._folder = folder
        self._settings = {
            "node.id": str(number),
            "listeners": ",".join(f"{name}://{at}" for name, at in self.addresses.items()),
            "log.dirs": str(folder / f"node-{number}"),
            **settings,
        }
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    async def start(self) -> None:
        """Start it, on what it has stored if anything; return when it serves."""
        properties = self._folder / f"node-{self.number}.properties"
        properties.write_text(
            "".join(f"{name}={value}\n" for name, value in self._settings.items())
        )
        if not (self._folder / f"node-{self.number}" / "meta.properties").exists():
            format_ = ("format", "--cluster-id", CLUSTER_ID, "--config", str(properties))
            formatting = await self._java("kafka.tools.StorageTool", *format_)
            if await formatting.wait():
                raise BrokerError(self._said())
        before = self.log.stat().st_size
        self._process = await self._java("kafka.Kafka", str(properties))
        try:
            async with asyncio.timeout(READY):
                while "Kafka Server started" not in self._said(before):
                    if self._process.returncode is not None:
                        raise BrokerError(self._said(before))
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.kill()
            raise BrokerError(self._said(before)) from None

    async def _java(self, program: str, *arguments: str) -> Process:
        with self.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", __file__, "--become", str(os.getpid())),
                *("java", *JVM, f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"),
                *("-cp", str(HERE / "target" / "jars" / "*"), program, *arguments),
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours to handle
            )

    def _said(self, behind: int = 0) -> str:
        return self.log.read_bytes()[behind:].decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, as SIGSTOP and SIGCONT, if it is there."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> None:
        """Wait until it is no more."""
        if self._process is not None:
            await self._process.wait()

    async def kill(self) -> None:
        """Kill it: no clean-up, no last word."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """Have it end in order, or by force if that takes longer than ten seconds."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self._process is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await self._process.wait()
        await self.kill()


class Cluster:
    """Some nodes that know one another."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.bootstrap = ",".join(node.address for node in nodes)

    async def start(self) -> None:
        """Start all of them; return when all serve. Raises BrokerError."""
        await asyncio.gather(*(node.start() for node in self.nodes))

    async def kill(self) -> None:
        """Kill all of them."""
        await asyncio.gather(*(node.kill() for node in self.nodes))


@asynccontextmanager
async def cluster(
    folder: Path,
    nodes: int = 1,
    *,
    port: int = 0,
    listeners: Sequence[str] = (),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Cluster]:
    """So many nodes as long as the context lasts, on ports from *port* on or any that are free.

    *listeners* are the names of more than the one that speaks PLAINTEXT. *settings* are Kafka's own
    and win over ours. At the end the nodes are killed: what the last transactions wrote is in the
    files all the same.

    Raises BrokerError.
    """
    fetching = await asyncio.create_subprocess_exec(HERE / "fetch")
    if await fetching.wait():
        raise BrokerError("docker/kafka/fetch has failed")
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    numbers = range(1, nodes + 1)
    controllers = dict(zip(numbers, _free_ports(nodes), strict=True))
    ports = [port + n for n in range(nodes)] if port else _free_ports(nodes)
    replicas = str(min(nodes, 3))
    in_sync = str(max(1, min(nodes, 3) - 1))
    common = {
        **SETTINGS,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "controller.quorum.voters": ",".join(
            f"{number}@127.0.0.1:{controllers[number]}" for number in numbers
        ),
        **settings,
    }
    found = Cluster(
        [
            Node(
                number,
                {
                    "PLAINTEXT": at,
                    "CONTROLLER": controllers[number],
                    **dict(zip(listeners, _free_ports(len(listeners)), strict=True)),
                },
                folder,
                common,
            )
            for number, at in zip(numbers, ports, strict=True)
        ]
    )
    try:
        await found.start()
        yield found
    finally:
        await found.kill()


def version() -> str:
    """Which Kafka this is."""
    jars = (HERE / "target" / "jars").glob("kafka_*.jar")
    return next((jar.stem.rpartition("-")[2] for jar in jars), "none")


def _free_ports(count: int) -> list[int]:
    """Ports that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _become(parent: int, command: Sequence[str]) -> None:
    """Tie this process to its parent, and become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        if os.getppid() != parent:  # it ended before we could be told
            sys.exit(1)
    os.execvp(command[0], list(command))


async def _main(nodes: int, port: int, data: Path, command: Sequence[str]) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with cluster(data, nodes, port=port) as started:
        if not command:
            print(f"Kafka serves at {started.bootstrap}; Ctrl-C ends it", flush=True)
            _, pending = await asyncio.wait(
                {asyncio.create_task(node.ended()) for node in started.nodes},
                return_when=asyncio.FIRST_COMPLETED,
            )
            for waiting in pending:
                waiting.cancel()
            raise BrokerError("a node has ended by itself")
        child = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "TURNSTILE_KAFKA": started.bootstrap}
        )
        try:
            return await child.wait()
        finally:
            with suppress(ProcessLookupError):
                child.terminate()
            await child.wait()


def main() -> None:
    """Read the command line."""
    if sys.argv[1:2] == ["--become"]:
        _become(int(sys.argv[2]), sys.argv[3:])
    described = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=described[0],
        epilog=described[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    parser.add_argument("--port", type=int, default=None, help="of the first node; 0: any")
    parser.add_argument("--data", type=Path, help="a directory to keep; without, nothing is kept")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    port = options.port
    if port is None:
        port = 0 if options.command else 9092
    try:
        with TemporaryDirectory(prefix="turnstile-kafka-") as temporary:
            data = (options.data or Path(temporary)).resolve()
            sys.exit(asyncio.run(_main(options.nodes, port, data, options.command)))
    except BrokerError as error:
        sys.exit(f"broker.py: {error}")
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
