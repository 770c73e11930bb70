"""One program and one small world for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from breaking import Breaking
from long_commands import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Breaking() as breaking:
        yield World(tmp_path_factory.mktemp("faults"), breaking)
