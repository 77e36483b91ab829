"""Who fetches, from where."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.sources.repositories import Fetcher, Repository
from workers.demo.git_server import GitServer, serving


@pytest.fixture
def tower(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "tower")


@pytest.fixture
async def server(tower: Repository) -> AsyncIterator[GitServer]:
    async with serving(tower.path.parent) as git:
        yield git


@pytest.fixture
def runner(tmp_path: Path) -> Fetcher:
    (tmp_path / "runner").mkdir()
    return Fetcher(tmp_path / "runner")
