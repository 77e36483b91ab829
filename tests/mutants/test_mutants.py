"""Faults put into the code on purpose: for each, the test named here must fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

pytestmark = [pytest.mark.service, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


class Mutant(Struct, frozen=True):
    """In *file* every *old* becomes *new*."""

    name: str
    caught_by: str
    changes: tuple[tuple[str, str, str], ...]


MUTANTS = (
    Mutant(
        "no command-id check",
        "tests/contract/test_engine.py::"
        "test_a_command_given_twice_counts_once_and_gets_the_first_answer",
        (
            (
                "domain/stream.py",
                "        if submitted.id.bytes in self.accepted:",
                "        if submitted.id.bytes in ():",
            ),
        ),
    ),
    Mutant(
        "epoch not checked in the commit",
        "tests/contract/test_log.py::test_a_fenced_owner_can_write_nothing",
        (
            (
                "adapters/postgres/sql/log.sql",
                "WHERE partition = $1 AND epoch = $2 AND sequence = $4",
                "WHERE partition = $1 AND $2::bigint IS NOT NULL AND sequence = $4",
            ),
        ),
    ),
    Mutant(
        "resume position read before the fence",
        "tests/contract/test_log.py::"
        "test_a_position_committed_while_another_waits_to_take_over_counts",
        (
            (
                "adapters/postgres/sharing.py",
                "            row = await self._fence(connection, partition)\n",
                "            Held.early = await connection.fetchval(\n"
                '                "SELECT position FROM partitions WHERE partition = $1",\n'
                "                partition,\n"
                "            )\n"
                "            row = await self._fence(connection, partition)\n",
            ),
            (
                "adapters/postgres/owner.py",
                "        self._position = self._decided = max(position, upto)\n",
                "        self._position = self._decided = max(self._held.early, upto)\n",
            ),
        ),
    ),
    Mutant(
        "state not reset on taking over",
        "tests/contract/test_engine.py::test_what_was_decided_and_not_committed_is_forgotten",
        (
            (
                "workers/recovery.py",
                "        partition = self._empty()\n",
                "        partition = vars(Recovery).get('kept') or self._empty()\n",
            ),
            (
                "workers/recovery.py",
                "        async for page in self._owner.history():\n",
                "        setattr(Recovery, 'kept', partition)\n"
                "        async for page in self._owner.history(partition.sequence):\n",
            ),
        ),
    ),
    Mutant(
        "an archive that has fallen behind is believed",
        "tests/unit/test_memory.py::test_an_archive_that_has_fallen_behind_is_waited_for",
        (("workers/archived.py", "(self._partition)) < sequence:", "(self._partition)) < 0:"),),
    ),
    Mutant(
        "what a snapshot has of a stream is folded again",
        "tests/unit/test_memory.py::test_that_snapshots_were_used_and_streams_had_left",
        (("workers/streams.py", "and recorded.originator_version <= stream.version", "and False"),),
    ),
    Mutant(
        "head-row lock missing",
        "tests/service/test_postgres_log.py::test_a_sender_that_commits_late_is_not_skipped",
        (
            (
                "adapters/postgres/sql/log.sql",
                "    UPDATE inboxes SET position = position + $2 WHERE partition = $1\n"
                "    RETURNING position - $2 AS before\n",
                "    SELECT nextval('positions') * 1000 + $2 - $2 AS before\n",
            ),
            (
                "adapters/postgres/sql/log_tables.sql",
                "CREATE TABLE IF NOT EXISTS members",
                "CREATE SEQUENCE IF NOT EXISTS positions;\nCREATE TABLE IF NOT EXISTS members",
            ),
        ),
    ),
    Mutant(
        "event ids without the stream's id",
        "tests/contract/test_engine.py::"
        "test_one_command_id_on_two_streams_makes_events_of_different_ids",
        (("domain/envelope.py", 'f"{stream}#{n}"', 'f"{n}"'),),
    ),
    Mutant(
        "a transactional id per process",
        "tests/service/test_kafka_log.py::"
        "test_two_processes_own_a_partition_by_the_same_transactional_id",
        (
            (
                "adapters/kafka/connection.py",
                'return f"{self.topics}-{partition}"',
                "return f\"{self.topics}-{partition}-{__import__('uuid').uuid4().hex}\"",
            ),
        ),
    ),
    Mutant(
        "sends not awaited before the commit",
        "tests/service/test_kafka_log.py::test_a_commit_whose_send_failed_is_no_commit",
        (("adapters/kafka/owner.py", "        await asyncio.gather(*sent)\n", ""),),
    ),
    Mutant(
        "Kafka's resume position read before the fence",
        "tests/contract/test_log.py::"
        "test_a_position_committed_while_another_waits_to_take_over_counts",
        (
            (
                "adapters/kafka/membership.py",
                "        own = await started(producer(self._address, partition))\n",
                '        at = TopicPartition(self._address.topic("commands"), partition)\n'
                "        early = await self._committed(at)\n"
                "        own = await started(producer(self._address, partition))\n",
            ),
            (
                "adapters/kafka/membership.py",
                "            committed = await self._committed(commands)\n",
                "            committed = early\n",
            ),
        ),
    ),
    Mutant(
        "a fenced owner that takes its partition back by itself",
        "tests/service/test_kafka_log.py::"
        "test_a_fenced_owner_does_not_take_its_partition_back_by_itself",
        (
            (
                "adapters/kafka/membership.py",
                "if not self._is_current or partition not in self._assigned - set(self._fenced):",
                "if partition not in self._assigned:",
            ),
        ),
    ),
    Mutant(
        "reads of uncommitted records",
        "tests/service/test_kafka_log.py::test_what_was_sent_and_not_committed_is_never_read",
        (("adapters/kafka/connection.py", '"read_committed"', '"read_uncommitted"'),),
    ),
    Mutant(
        "no write to Kafka in the recorder",
        "tests/service/test_kafka_recorder.py::"
        "test_another_library_finds_exactly_what_was_acknowledged",
        (
            (
                "adapters/kafka/transaction.py",
                "        sending = await producer.send"
                "(to.topic, value, key, to.partition, headers=headers)\n",
                "        sending = asyncio.get_running_loop().create_future()\n"
                "        kept = __import__('types').SimpleNamespace(topic=to.topic, offset=9)\n"
                "        sending.set_result(kept)\n",
            ),
        ),
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_the_mutant_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    for folder in ("domain", "projections", "adapters", "workers", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert 0 == _run(mutant.caught_by, tmp_path), "the test fails without the mutant"
    for file, old, new in mutant.changes:
        text = (tmp_path / file).read_text()
        assert 1 == text.count(old), f"{file} has changed; mend the mutant"
        (tmp_path / file).write_text(text.replace(old, new))
    assert 1 == _run(mutant.caught_by, tmp_path), "the mutant lives"


def _run(test: str, folder: Path) -> int:
    """pytest's exit status: 0 passed, 1 failed, anything else is a fault of the run itself."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test],
        cwd=folder,
        check=False,
        capture_output=True,
        timeout=120,
    ).returncode
