"""The wheel works where the tree is not: an editable install would hide what it lacks."""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("domain", "projections", "adapters", "workers")

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The result of *command* run in *cwd*, by an environment that does not point to the tree."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True)


def succeed(*command: str | Path, cwd: Path) -> str:
    """What *command* printed; the test ends here, with all it said, if it failed."""
    done = run(*command, cwd=cwd)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Installed:
    """The programs of an environment that holds the wheel, and a folder outside the tree."""

    bin: Path
    elsewhere: Path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=ROOT)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with what it declares to need, and nothing else, in the locked versions.

    uv checks the hashes that it finds in constraints.
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    uv, python = Path(sys.executable).with_name("uv"), elsewhere / "venv" / "bin" / "python"
    succeed(uv, "venv", "--python", sys.executable, "venv", cwd=elsewhere)
    lock = ("--constraint", ROOT / "requirements.lock")
    succeed(uv, "pip", "install", "--python", python, *lock, wheel, cwd=elsewhere)
    return Installed(python.parent, elsewhere)


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(wheel: Path) -> None:
    tree = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    own = ("LICENSE", "README.md", "py.typed", "pyproject.toml")
    expected = tree - {f"adapters/client/{name}" for name in own}  # the client's, as its own wheel
    with ZipFile(wheel) as archive:
        actual = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert expected == actual


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (licence,) = (name for name in archive.namelist() if name.endswith("/licenses/LICENSE"))
        assert (ROOT / "LICENSE").read_text() == archive.read(licence).decode()


def test_the_command_tells_its_version(installed: Installed) -> None:
    printed = succeed(installed.bin / "turnstile", "--version", cwd=installed.elsewhere)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"turnstile, version {project['version']}\n" == printed


def test_the_command_tells_how_to_use_it(installed: Installed) -> None:
    assert "Usage: turnstile" in succeed(
        installed.bin / "turnstile", "--help", cwd=installed.elsewhere
    )


def test_an_unknown_command_is_a_usage_error(installed: Installed) -> None:
    done = run(installed.bin / "turnstile", "no-such-command", cwd=installed.elsewhere)
    assert (2, "") == (done.returncode, done.stdout)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_imports_from_what_was_installed(installed: Installed, package: str) -> None:
    program = f"""
import importlib, pkgutil, sys
import {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    importlib.import_module(module.name)
for name, module in sys.modules.items():
    if name.partition(".")[0] in {PACKAGES}:
        print(module.__file__)
"""
    printed = succeed(installed.bin / "python", "-c", program, cwd=installed.elsewhere)
    files = [Path(line) for line in printed.splitlines()]
    assert files
    assert [] == [file for file in files if "site-packages" not in file.parts]
