"""What all tests share: shapes and types of every signature are enforced, property tests are reproducible."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import jaxtyping
import pytest

# The packages with shapes in their signatures. Before anything imports them: from here on each call checks its
# arguments and its result, shapes included; an int is a float, as for mypy. Outside the tests this costs nothing. The
# painter of synthetic faces is left out: it makes so many small calls that it would take twice as long.
CHECKED = ("core", "data", "models", "inference", "training", "evaluation", "detect", "label_bench", "paper")
jaxtyping.install_import_hook(
    [f"semalign.{package}" for package in CHECKED],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

# The same examples in every run and no time limit for one, so that a slow machine changes nothing.
hypothesis.settings.register_profile("semalign", derandomize=True, deadline=None, max_examples=50, database=None)
hypothesis.settings.load_profile("semalign")

SHARED_DATA = Path(__file__).resolve().parents[1] / "../shared/data"


@pytest.fixture(scope="session", autouse=True)
def crop_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Crops that tests cut are nobody else's."""
    os.environ["SEMALIGN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data (a folder shared/data beside the checkout) are not here")
    return SHARED_DATA.resolve()
