"""Secrets: who gets which, and that nobody else ever sees a value."""

import os
from pathlib import Path

import pytest

from adapters.config import Config, read
from adapters.secrets import SecretRefused, Secrets, SecretsUnreadable, files_of
from workers.cli.runner import private

FILE = """
[key]
value = "hunter2"
projects = ["tower", "lib*"]

[pem]
file = "key.pem"
projects = ["tower"]

[nobodys]
value = "hunter2"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    kept(tmp_path / "key.pem", "-----\nhunter3\n-----\n")
    return kept(tmp_path / "secrets.toml", FILE)


def kept(path: Path, content: str, mode: int = 0o600) -> Path:
    path.touch()
    path.chmod(mode)
    path.write_text(content)
    return path


def put(path: Path, content: str) -> None:
    """In the place of what was there, as editors do it."""
    kept(path.with_name("new"), content).replace(path)


async def test_a_project_gets_the_secrets_that_it_may_have(path: Path) -> None:
    secrets = Secrets(str(path))
    assert {"key": "hunter2"} == await secrets.of("libc", ["key"])
    both = {"key": "hunter2", "pem": "-----\nhunter3\n-----"}
    assert both == await secrets.of("tower", ["key", "pem", "key"])
    assert {} == await secrets.of("nobody", [])


@pytest.mark.parametrize(
    ("project", "name"),
    [("gate", "key"), ("Tower", "key"), ("towers", "key"), ("tower", "nobodys"), ("tower", "none")],
)
async def test_whether_there_is_a_secret_is_not_told_to_who_may_not_have_it(
    path: Path, project: str, name: str
) -> None:
    with pytest.raises(SecretRefused) as refused:
        await Secrets(str(path)).of(project, [name])
    assert name == refused.value.name
    assert f"project {project!r} has none of this name" == refused.value.reason


async def test_one_that_a_project_may_not_have_keeps_back_the_others(path: Path) -> None:
    with pytest.raises(SecretRefused):
        await Secrets(str(path)).of("libc", ["key", "pem"])


async def test_without_a_file_there_is_none() -> None:
    await Secrets(None).check()
    with pytest.raises(SecretRefused):
        await Secrets(None).of("tower", ["key"])


async def test_a_file_that_has_changed_is_read_again(path: Path) -> None:
    secrets = Secrets(str(path))
    assert {"key": "hunter2"} == await secrets.of("tower", ["key"])
    put(path, FILE.replace("hunter2", "other"))
    assert {"key": "other"} == await secrets.of("tower", ["key"])
    kept(path, FILE.replace("lib*", "gate"))
    with pytest.raises(SecretRefused):
        await secrets.of("libc", ["key"])


def test_the_files_that_have_values_are_known_to_who_hides_them(path: Path) -> None:
    put(path, FILE + '[later]\nfile = "/nowhere/later.pem"\n')
    assert [path.parent / "key.pem", Path("/nowhere/later.pem")] == files_of(str(path))
    found = private(Config(secrets=str(path)))
    assert {path, path.parent / "key.pem"} <= set(found)


NO_FILES = ("", "/usr", "\\u0000", "circle", "x" * 300)


@pytest.mark.parametrize(
    "wrong",
    ["no TOML", "file = 3", "[a]\nfile = 3", *(f'[a]\nfile = "{name}"' for name in NO_FILES)],
)
def test_a_mistake_in_the_file_stops_nobody_who_hides_it(path: Path, wrong: str) -> None:
    (path.parent / "circle").symlink_to("circle")
    assert [] == files_of(str(kept(path, wrong)))


def test_what_is_no_file_of_secrets_names_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b'[a]\nfile = "\xe9"')
    for name in ("nowhere", "pipe", ".", "latin"):
        assert [] == files_of(str(tmp_path / name))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
async def test_a_file_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    secrets = Secrets(str(path))
    await secrets.check()
    kept(path, FILE, mode)
    with pytest.raises(SecretsUnreadable, match=f"mode {mode:o}"):
        await secrets.of("tower", ["key"])
    kept(path, FILE)
    kept(path.parent / "key.pem", "hunter3", mode)
    with pytest.raises(SecretsUnreadable, match=r"key\.pem"):
        await secrets.of("tower", ["pem"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[key]\nvalue = "hunter2', "it is no TOML (at"),
        ("key = hunter2", "it is no TOML (at line 1"),
        ("[hunter2\n", "it is no TOML (at line 1"),
        ('key = "hunter2"', "[key]: Expected `object`, got `str`"),
        ("[key]\n", "[key]: it has either"),
        ('[key]\nvalue = "hunter2"\nfile = "x"', "[key]: it has either"),
        ('[key]\nvalue = ""', "[key]: Expected `str` of length >= 1"),
        ("[key]\nvalue = 17", "[key]: Expected `str | null`, got `int` - at `$.value`"),
        ('[key]\nvalue = "hunter2"\nproject = "tower"', "unknown field `project`"),
        ('[key]\nvalue = "hunter2"\nprojects = "tower"', "at `$.projects`"),
        ('["a key"]\nvalue = "hunter2"', "[a key]: "),
        ('[key]\nvalue = "hunter2\\u0000"', "no NUL"),
        ('[key]\nfile = "nowhere"', "No such file"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said_without_a_value(
    path: Path, content: str, reason: str
) -> None:
    kept(path, content)
    with pytest.raises(SecretsUnreadable) as wrong:
        await Secrets(str(path)).check()
    assert reason in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


async def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SecretsUnreadable, match="No such file"):
        await Secrets(str(tmp_path / "nowhere")).check()
    with pytest.raises(SecretsUnreadable, match="Is a directory"):
        await Secrets(str(tmp_path)).check()


def test_the_setting_names_a_file_and_is_all_that_is_shown(path: Path) -> None:
    assert None is Config().secrets
    shown = read({"TURNSTILE_SECRETS": str(path)}).shown()
    assert str(path) == shown["secrets"]
    assert "hunter" not in repr(shown)
