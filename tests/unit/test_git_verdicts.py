"""What git's failures mean, in the words of real servers."""

import pytest

from adapters.sources.failures import Away, NotFetched
from adapters.sources.git.verdicts import GitFailed
from domain.ticket.words import Execution

SSH = """
Please make sure you have the correct access rights
and the repository exists.
"""


def failed(said: str) -> GitFailed:
    return GitFailed(128, said)


@pytest.mark.parametrize(
    "said",
    [
        "fatal: unable to access 'https://h/x/': The requested URL returned error: 503",
        "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502",
        "fatal: unable to access 'https://h/x/': Could not resolve host: h",
        "fatal: unable to connect to h:\nh[0: ::1]: errno=Connection refused",
        "ssh: connect to host h port 22: Connection timed out\n"
        "fatal: Could not read from remote repository." + SSH,
        "error: 53 bytes of body are still expected\nfetch-pack: unexpected disconnect\n"
        "fatal: early EOF\nfatal: fetch-pack: invalid index-pack output",
        "fatal: write error: No space left on device",
        "fatal: the remote end hung up unexpectedly",
        "",
    ],
)
def test_trouble_on_the_way_is_worth_another_try(said: str) -> None:
    assert isinstance(failed(said).verdict(), Away)
    assert not failed(said).is_absent


@pytest.mark.parametrize(
    ("said", "execution"),
    [
        ("fatal: repository 'https://h/x/' not found", Execution.CONFIGURATION),
        ("remote: Repository not found.\nfatal: repository 'x' not found", Execution.CONFIGURATION),
        ("ERROR: Repository not found.\nfatal: Could not read" + SSH, Execution.CONFIGURATION),
        (
            "fatal: 'x' does not appear to be a git repository\n"
            "fatal: Could not read from remote repository." + SSH,
            Execution.CONFIGURATION,
        ),
        ("fatal: refusing to merge unrelated histories", Execution.CONFIGURATION),
        (
            "fatal: could not read Username for 'https://h': terminal prompts disabled",
            Execution.INFRASTRUCTURE,
        ),
        (
            "git@h: Permission denied (publickey).\n"
            "fatal: Could not read from remote repository." + SSH,
            Execution.INFRASTRUCTURE,
        ),
        ("Host key verification failed.\nfatal: Could not read" + SSH, Execution.INFRASTRUCTURE),
        (
            "fatal: unable to access 'https://h/x/': The requested URL returned error: 403",
            Execution.INFRASTRUCTURE,
        ),
    ],
)
def test_some_failures_are_final(said: str, execution: Execution) -> None:
    verdict = failed(said).verdict()
    assert isinstance(verdict, NotFetched)
    assert execution is verdict.execution


@pytest.mark.parametrize(
    "said",
    [
        "fatal: couldn't find remote ref refs/heads/x",
        "fatal: remote error: upload-pack: not our ref ffff",
        "error: Server does not allow request for unadvertised object ffff",
    ],
)
def test_what_a_server_does_not_have_is_told_from_trouble(said: str) -> None:
    assert failed(said).is_absent


def test_damage_is_ours_only_if_the_server_does_not_complain_of_it() -> None:
    assert failed("fatal: loose object ffff (stored in x) is corrupt").is_damage
    assert failed("error: object file objects/ff/ff is empty").is_damage
    assert failed("fatal: not a git repository: '/mirrors/x'").is_damage
    assert not failed("remote: fatal: bad object ffff\nfatal: the remote end hung up").is_damage
    assert not failed("fatal: '/x' does not appear to be a git repository").is_damage


def test_the_reason_is_the_line_that_says_most_and_shows_no_password() -> None:
    said = "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository."
    assert "git@h: Permission denied (publickey)." == failed(said + SSH).reason
    assert "fatal: no //h/x" == failed("remote: hello\nfatal: no //ann:hunter2@h/x").reason
    assert "git ended with status 128" == failed("").reason
