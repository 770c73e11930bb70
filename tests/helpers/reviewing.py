"""A running server of the review page."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from running import running

from semalign.review import open_review
from semalign.review.server import ReviewServer


def reviewing(folder: Path, **options: Any) -> AbstractContextManager[ReviewServer]:
    return running(open_review(folder, **{"name": "Ann", "port": 0, **options}))
