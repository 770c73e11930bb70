"""The page's server on an audit of drawn faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audits import drawn_audit

from semalign.auditing import Audit

COUNT = 30


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Audit]:
    folder = tmp_path_factory.mktemp("drawn") / "audit"
    return folder, drawn_audit(folder, count=COUNT, size=240)


@pytest.fixture
def folder(drawn: tuple[Path, Audit], tmp_path: Path) -> Path:
    """A copy on which nothing was decided; the pictures lie where they were drawn."""
    copy = tmp_path / "audit"
    shutil.copytree(drawn[0], copy, ignore=shutil.ignore_patterns("pictures", "decisions.sqlite*", "review"))
    return copy
