"""A running server of the review page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semalign.review import open_review
from semalign.review.server import ReviewServer


@contextmanager
def reviewing(folder: Path, **options: Any) -> Iterator[ReviewServer]:
    opened = open_review(folder, **{"name": "Ann", "port": 0, **options})
    thread = threading.Thread(target=opened.serve_forever)
    thread.start()
    try:
        yield opened
    finally:
        opened.shutdown()
        thread.join()
