"""A network that sees dotted faces exactly, see `dots`, and a very small training set."""

from __future__ import annotations

import pytest
from dots import Dots
from worlds import Small, small_world


@pytest.fixture(scope="session")
def dots() -> Dots:
    return Dots()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small_world(tmp_path_factory.mktemp("small"))
