"""What an `eventsourcing` application can be told of a log, and how it ends."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog.testing
from eventsourcing.application import Application
from eventsourcing.persistence import (
    InfrastructureFactoryError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
)

from tests.contract.recording import (
    Site,
    application,
    example,
    factory,
    recorder,
    settings,
)

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What engines say is not the subject here."""
    with structlog.testing.capture_logs():
        yield


def test_another_number_of_partitions_is_refused(place: Site) -> None:
    with recorder(place.address, 3):
        pass
    refused = pytest.raises(OperationalError, match="3 partitions, for ever")
    with refused, recorder(place.address, 4):
        pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ORIGINATOR_ID_TYPE": "uuid"}, "ORIGINATOR_ID_TYPE can only be 'text'"),
        ({"TURNSTILE_PARTITIONS": "many"}, "partitions"),
        ({"APPLICATION_RECORDER_TOPIC": "eventsourcing.popo:POPOApplicationRecorder"}, "is no "),
    ],
)
def test_settings_that_cannot_be_are_refused(
    place: Site, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(InfrastructureFactoryError, match=message):
        Application[str](settings(place.address, more=wrong))


def test_the_applications_name_may_stand_before_a_setting(place: Site) -> None:
    class Reader(Application[str]):
        pass

    given = settings(place.address, 2, {"TURNSTILE_PARTITION": "1"})
    with Reader({f"READER_{name}": value for name, value in given.items()}) as app:
        assert None is app.recorder.max_notification_id()


def test_snapshots_are_refused(place: Site) -> None:
    with pytest.raises(NotSupportedError, match="snapshots"):
        application(place.address, IS_SNAPSHOTTING_ENABLED="y")


def test_nothing_works_once_it_is_closed(place: Site) -> None:
    with recorder(place.address) as recording:
        pass
    for use in (
        lambda: recording.insert_events([example("example/1")]),
        lambda: recording.select_events("example/1"),
        recording.subscribe,
    ):
        with pytest.raises(InterfaceError, match="closed"):
            use()


def test_a_process_ends_though_it_closed_nothing(place: Site) -> None:
    with recorder(place.address):
        pass  # the log is there
    program = (
        "import sys; from eventsourcing.application import Application\n"
        "app = Application(dict(line.split('=', 1) for line in sys.argv[1:]))\n"
        "print(app.recorder.max_notification_id())"
    )
    arguments = [f"{name}={value}" for name, value in settings(place.address, 1).items()]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ("None\n", "") == (done.stdout, done.stderr)


def test_threads_and_connections_end_with_the_last_reference(place: Site) -> None:
    before = set(threading.enumerate())
    made = factory(place.address)
    made.application_recorder()
    (thread,) = set(threading.enumerate()) - before
    del made
    thread.join(10)
    assert not thread.is_alive()
