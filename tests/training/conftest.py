"""A very small training set and network."""

from __future__ import annotations

from pathlib import Path

import pytest
from worlds import Small, small_world


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder: Path = tmp_path_factory.mktemp("small")
    return small_world(folder)
