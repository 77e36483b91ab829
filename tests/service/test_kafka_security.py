"""TLS and SASL, as the configuration says, towards a broker that insists on them."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from confluent_kafka.admin import (  # type: ignore[attr-defined] # they are, but do not say so
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from eventsourcing.persistence import OperationalError
from msgspec import Struct, structs

from adapters.asking import asking
from adapters.client import TicketProducer
from adapters.client.security import Security
from adapters.config import Config, read
from adapters.kafka.connection import ENDING, Address, ended, running, started
from adapters.kafka.log import open_log
from adapters.log import Unavailable
from docker.kafka.broker import Node, cluster
from tests.contract.counter import CODEC, Count, asked
from tests.contract.recording import example, recorder
from tests.contract.test_engine import running as engine_running
from tests.journey.command import turnstile
from tests.service.certificates import Authority
from tests.service.foreign_clients import structured
from tests.service.request_site import OPENED, Site, asks, of
from tests.service.test_client import ticket

pytestmark = pytest.mark.service

PATIENCE = 20.0
EXIT_LOG = 69
USER, PASSWORD, WRONG = "engine", "open-sesame", "open-barley"
SCRAM = {
    "SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256,
    "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512,
}
MECHANISMS = ("PLAIN", *SCRAM)
LISTENERS = {
    "SSL": "SSL",
    "MUTUAL": "SSL",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SASL_SSL": "SASL_SSL",
}
"""Those beside the plain one, and what is spoken there; one wants certificates of its clients."""


class Guarded(Struct, frozen=True):
    """A broker behind TLS and SASL, and who vouches for it."""

    node: Node
    authority: Authority

    def told(self, listener: str, **more: object) -> dict[str, str]:
        """The environment of a process that is told of a listener, on a log of its own."""
        more = {"kafka_topics": f"t_{uuid4().hex[:12]}", **more}
        if LISTENERS[listener].endswith("SSL"):
            more = {"kafka_ca": self.authority.certificate, **more}
        if LISTENERS[listener].startswith("SASL"):
            more = {"kafka_username": USER, "kafka_password": PASSWORD, **more}
        return environment(
            kafka=self.node.addresses[listener], kafka_security=LISTENERS[listener], **more
        )


def environment(**settings: object) -> dict[str, str]:
    return {f"TURNSTILE_{name.upper()}": str(value) for name, value in settings.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder / "authority")
    settings = _tls(authority, folder / "broker.pem") | _sasl()
    async with cluster(folder / "kafka", listeners=tuple(LISTENERS), settings=settings) as started:
        [node] = started.nodes
        broker = Guarded(node, authority)
        await asyncio.to_thread(_add_users, node.address)
        await _known(broker)
        yield broker


def _tls(authority: Authority, store: Path) -> dict[str, str]:
    """The broker's settings for TLS."""
    certificate, key = authority.sign("broker")
    store.write_text(key.read_text() + certificate.read_text())
    spoken = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
    return {
        "listener.security.protocol.map": ",".join(f"{a}:{b}" for a, b in spoken.items()),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.certificate),
        "listener.name.mutual.ssl.client.auth": "required",
    }


def _sasl() -> dict[str, str]:
    """The broker's settings for SASL. Whom PLAIN knows stands here, whom SCRAM knows does not."""
    modules = "org.apache.kafka.common.security"
    settings = {"sasl.enabled.mechanisms": ",".join(MECHANISMS)}
    for listener in ("sasl_plaintext", "sasl_ssl"):
        login = f"listener.name.{listener}"
        settings[f"{login}.plain.sasl.jaas.config"] = (
            f'{modules}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        )
        for mechanism in SCRAM:
            settings[f"{login}.{mechanism.lower()}.sasl.jaas.config"] = (
                f"{modules}.scram.ScramLoginModule required;"
            )
    return settings


def _add_users(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    for mechanism in SCRAM.values():
        credential = ScramCredentialInfo(mechanism, 4096)
        added = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())]
        )
        added[USER].result(PATIENCE)


async def _known(broker: Guarded) -> None:
    """Wait until the broker has heard of its users from its controller, itself."""
    async with asyncio.timeout(PATIENCE):
        for mechanism in SCRAM:
            config = read(broker.told("SASL_PLAINTEXT", kafka_mechanism=mechanism))
            while not await _is_let_in(Address.of(config)):
                await asyncio.sleep(0.05)


async def _is_let_in(address: Address) -> bool:
    try:
        async with running(address.admin()):
            return True
    except Unavailable:
        return False


async def serve(told: Mapping[str, str]) -> None:
    """Ask an engine for something, both on the log that a process is told of."""
    config = read(told)
    address = Address.of(config)
    async with (
        open_log(address, CODEC, partitions=1, lease=1.0) as log,
        engine_running(log),
        asking(log) as asker,
    ):
        answer = await asker.ask(asked(Count(3)), PATIENCE)
        assert (1, None) == (answer.sequence, answer.refusal)


async def refusal(told: Mapping[str, str]) -> str:
    """What is said to whoever opens the log that a process is told of, and may not."""
    with pytest.raises(Unavailable) as refused:
        async with open_log(Address.of(read(told)), CODEC):
            pass
    return str(refused.value)


# --------------------------------------------------------------------------------------------- TLS


async def test_an_engine_serves_over_tls(guarded: Guarded) -> None:
    await serve(guarded.told("SSL"))


async def test_an_engine_shows_its_certificate_to_brokers_that_want_one(guarded: Guarded) -> None:
    certificate, key = guarded.authority.sign("engine")
    await serve(guarded.told("MUTUAL", kafka_certificate=certificate, kafka_key=key))


async def test_without_a_certificate_such_brokers_refuse_and_the_error_says_so(
    guarded: Guarded,
) -> None:
    """Java says bad certificate, or certificate required when it is a newer one."""
    said = await refusal(guarded.told("MUTUAL"))
    assert re.search("alert (bad certificate|certificate required)", said), said


async def test_brokers_that_somebody_else_vouches_for_are_refused(
    guarded: Guarded, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other").certificate
    told = guarded.told("SSL", kafka_ca=other)
    said = await refusal(told)
    assert "certificate verify failed" in said
    assert told["TURNSTILE_KAFKA"] in said.replace('"', "")


async def test_brokers_that_nobody_vouches_for_are_refused(guarded: Guarded) -> None:
    """What the system trusts is all there is without a CA of one's own."""
    told = guarded.told("SSL")
    del told["TURNSTILE_KAFKA_CA"]
    assert "certificate verify failed" in await refusal(told)


async def test_brokers_by_another_name_than_their_certificates_are_refused(
    guarded: Guarded,
) -> None:
    other = guarded.node.addresses["SSL"].replace("127.0.0.1", "localhost")
    said = await refusal(guarded.told("SSL") | {"TURNSTILE_KAFKA": other})
    assert "certificate is not valid for 'localhost'" in said


@pytest.mark.parametrize("file", ["ca", "certificate", "key"])
async def test_a_file_that_is_not_there_is_named(
    guarded: Guarded, tmp_path: Path, file: str
) -> None:
    certificate, key = guarded.authority.sign("somebody")
    files = {"kafka_certificate": certificate, "kafka_key": key}
    missing = tmp_path / "none.pem"
    said = await refusal(guarded.told("MUTUAL", **{**files, f"kafka_{file}": missing}))
    assert f"No such file or directory: '{missing}'" in said


async def test_a_client_ends_though_the_broker_does_not_answer_any_more(guarded: Guarded) -> None:
    """Both sides say when TLS ends, and one of them says nothing: nobody may wait for that."""
    address = Address.of(read(guarded.told("SSL")))
    admin = await started(address.admin())
    await admin.list_topics()
    guarded.node.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(2 * ENDING):
            await ended(admin)
    finally:
        guarded.node.send(signal.SIGCONT)


# -------------------------------------------------------------------------------------------- SASL


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [*(("SASL_PLAINTEXT", mechanism) for mechanism in MECHANISMS), ("SASL_SSL", "PLAIN")],
)
async def test_an_engine_serves_by_its_name_and_password(
    guarded: Guarded, listener: str, mechanism: str
) -> None:
    await serve(guarded.told(listener, kafka_mechanism=mechanism))


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_wrong_password_is_refused_and_the_error_says_that_and_not_the_password(
    guarded: Guarded, mechanism: str
) -> None:
    said = await refusal(
        guarded.told("SASL_PLAINTEXT", kafka_mechanism=mechanism, kafka_password=WRONG)
    )
    assert "Authentication failed" in said
    assert WRONG not in said


def test_an_engine_with_a_wrong_password_ends_and_its_log_does_not_have_it(
    guarded: Guarded,
) -> None:
    ended = turnstile(
        "engine",
        **guarded.told("SASL_SSL", kafka_password=WRONG, log_level="debug"),
    )
    assert (EXIT_LOG, "") == (ended.returncode, ended.stdout)
    assert WRONG not in ended.stderr
    last = json.loads(ended.stderr.splitlines()[-1])
    assert "engine_failed" == last["event"]
    assert "Authentication failed" in last["error"]


# -------------------------------------------------------------------------------- the other clients


async def test_an_intake_takes_requests_over_tls_and_sasl(guarded: Guarded) -> None:
    site = Site(guarded.node.addresses["PLAINTEXT"])
    told = read(guarded.told("SASL_SSL", kafka_mechanism="SCRAM-SHA-512"))
    async with site.serving("engine", "intake", **of_kafka(told)) as service:
        await site.send(structured(asks("1"), site.forge))
        await site.settled(service)
    assert OPENED == [event["type"] for event in of(await site.events(), "1")]


async def test_a_program_asks_for_tickets_over_tls_and_sasl(guarded: Guarded) -> None:
    site = Site(guarded.node.addresses["PLAINTEXT"])
    at = guarded.node.addresses["SASL_SSL"]
    authority = str(guarded.authority.certificate)
    security = Security(
        "SASL_SSL", authority, mechanism="SCRAM-SHA-512", username=USER, password=PASSWORD
    )
    assert PASSWORD not in repr(security)
    async with site.serving("engine", "intake") as service:
        known = TicketProducer.kafka(at, site.forge, source="/forge", security=security)
        async with known as producer:
            await producer.submit(ticket("1"))
        await site.settled(service)
    assert OPENED == [event["type"] for event in of(await site.events(), "1")]


def of_kafka(config: Config) -> dict[str, Any]:
    """The settings that say how the cluster is reached."""
    settings = structs.asdict(config)
    return {
        name: settings[name]
        for name in settings
        if name.startswith("kafka") and name not in ("kafka_topics", "kafka_replication")
    }


def test_a_recorder_writes_and_reads_over_tls_and_sasl(guarded: Guarded) -> None:
    told = guarded.told("SASL_SSL", kafka_mechanism="SCRAM-SHA-512")
    with recorder(Address("told otherwise:1"), 1, **told) as recording:
        assert [1] == recording.insert_events([example("example/1")])
        assert [example("example/1")] == recording.select_events("example/1")


def test_a_recorder_with_a_wrong_password_says_so(guarded: Guarded) -> None:
    told = guarded.told("SASL_SSL", kafka_password=WRONG)
    with (
        pytest.raises(OperationalError, match="Authentication failed"),
        recorder(Address("told otherwise:1"), 1, **told),
    ):
        pass
