"""A network that sees dotted faces exactly, see `dots`."""

from __future__ import annotations

import pytest
from dots import Dots


@pytest.fixture(scope="session")
def dots() -> Dots:
    return Dots()
