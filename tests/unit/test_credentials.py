"""The credential of an attempt: whose it is can be read of it, and nobody else makes one."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as some
from starlette.requests import Request

from adapters.access import Identity, Scope
from adapters.credentials import PREFIX, AttemptOf, Credentials
from adapters.http.endpoint import Asked, Endpoint
from adapters.http.gate import Gate
from adapters.http.problems import Refusal

KEY = bytes(range(32))
UNIT = AttemptOf("9", token=7, task="unit", worker="rack-7")


class Submitters:
    """Everybody may submit."""

    async def identity(self, token: str) -> Identity | None:
        return Identity("forge", {Scope.SUBMIT})


def gate() -> Gate:
    return Gate(Submitters(), Credentials(KEY))


def request(credential: str | None, **path: str) -> Request:
    headers = [] if credential is None else [(b"authorization", f"Bearer {credential}".encode())]
    return Request({"type": "http", "headers": headers, "path_params": path})


async def answer() -> None: ...


def endpoint(scope: Scope | None, *, for_attempts: bool) -> Endpoint:
    return Endpoint("PUT", "/", "", None, answer, scope=scope, for_attempts=for_attempts)


OF_ATTEMPTS = endpoint(None, for_attempts=True)


def test_a_credential_says_whose_it_is() -> None:
    credentials = Credentials(KEY)
    assert UNIT == credentials.read(credentials.make(UNIT))


def test_every_api_process_makes_the_same_credential_of_an_attempt() -> None:
    assert Credentials(KEY).make(UNIT) == Credentials(KEY).make(UNIT)


def test_a_credential_that_another_key_has_signed_is_nobodys() -> None:
    assert Credentials(KEY).read(Credentials(bytes(32)).make(UNIT)) is None


@given(some.binary(max_size=60))
def test_whatever_else_is_given_is_nobodys(rubbish: bytes) -> None:
    assert Credentials(KEY).read(PREFIX + urlsafe_b64encode(rubbish).decode()) is None
    assert Credentials(KEY).read(PREFIX + rubbish.decode("latin1")) is None


async def test_a_credential_admits_to_its_own_attempt() -> None:
    credential = Credentials(KEY).make(UNIT)
    asked = await gate().admit(request(credential, ticket="9", token="7"), OF_ATTEMPTS)
    assert Asked("worker/rack-7", attempt=UNIT) == asked


@pytest.mark.parametrize("path", [{"ticket": "10", "token": "7"}, {"ticket": "9", "token": "8"}])
async def test_a_credential_does_not_admit_to_another_attempt(path: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refused:
        await gate().admit(request(Credentials(KEY).make(UNIT), **path), OF_ATTEMPTS)
    assert 403 == refused.value.problem.status


async def test_a_credential_does_not_admit_to_what_is_not_for_attempts() -> None:
    submitting = endpoint(Scope.SUBMIT, for_attempts=False)
    with pytest.raises(Refusal) as refused:
        await gate().admit(request(Credentials(KEY).make(UNIT)), submitting)
    assert 403 == refused.value.problem.status


@pytest.mark.parametrize("given_", [None, "turnstile_another", PREFIX + "AAAA"])
async def test_what_is_for_attempts_alone_takes_no_token(given_: str | None) -> None:
    with pytest.raises(Refusal) as refused:
        await gate().admit(request(given_), OF_ATTEMPTS)
    assert 401 == refused.value.problem.status


async def test_what_attempts_may_too_takes_both() -> None:
    growing = endpoint(Scope.SUBMIT, for_attempts=True)
    assert Asked("forge") == await gate().admit(request("turnstile_forge"), growing)
    credential = Credentials(KEY).make(UNIT)
    asked = await gate().admit(request(credential, ticket="9"), growing)
    assert UNIT == asked.attempt
