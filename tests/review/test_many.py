"""100,000 faces: they open at once, and nothing that is asked while going through them takes long."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from semalign.auditing import Audit, Decision, write_audit
from semalign.review.desk import Desk
from semalign.review.index import open_index
from semalign.review.queues import Filter
from semalign.schemes import load_scheme

FACES = 100_000
OPENED, ANSWERED = 6.0, 1.0  # seconds on a busy machine; `benchmarks/review.py` has the figures of a free one


@pytest.mark.slow
def test_many_faces_open_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (FACES, 68)
    proposals = rng.uniform(100, 300, (*shape, 2))
    audit = Audit(
        ids=tuple(f"face/{row:06d}" for row in range(FACES)),
        files=("nowhere.jpg",) * FACES,
        frames=np.full(FACES, -1, np.int32),
        scheme=load_scheme("ibug68"),
        annotations=proposals + rng.normal(0, 5, proposals.shape),
        proposals=proposals,
        spread=np.full(proposals.shape, 2.0),
        face_probability=rng.random(FACES),
        face_kind=rng.integers(-1, 3, FACES).astype(np.int8),
        point_probability=rng.beta(1, 6, shape),
        point_kind=rng.integers(0, 3, shape).astype(np.int8),
        about={},
        odds=np.zeros(FACES),
    )
    write_audit(audit, tmp_path)
    open_index(tmp_path)  # prepared once

    begin = time.perf_counter()
    desk = Desk(tmp_path, open_index(tmp_path), "Ann")
    desk.describe()
    assert time.perf_counter() - begin < OPENED
    for queue in ("faces", "points"):
        begin = time.perf_counter()
        part = desk.queue(Filter(queue, region="mouth", move=0.01))
        assert part["items"] and time.perf_counter() - begin < ANSWERED
    begin = time.perf_counter()
    desk.decide([Decision(99_999, 3, "accept")], "Ann")
    desk.face(99_999)
    assert time.perf_counter() - begin < ANSWERED
    wanted = Filter("points", kind="slipped")
    count = desk.queue(wanted)["total"]
    assert desk.decide_all(wanted, "accept", count, "Ann")["count"] == count > 10_000
    assert desk.queue(wanted)["total"] == 0
    assert desk.undo("Ann")["undone"] == count
    assert desk.queue(wanted)["total"] == count
    desk.close()
    begin = time.perf_counter()
    again = Desk(tmp_path, open_index(tmp_path), "Ann")
    assert time.perf_counter() - begin < OPENED
    assert again.decisions.standing.point[99_999, 3] == 0
    again.close()
