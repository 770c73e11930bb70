"""The store of decisions against a simple model in memory, and what is left of it after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audits import drawn_audit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semalign.auditing import Audit, Decision, Decisions
from semalign.auditing.decisions import ACCEPT, FILE, FLAG, MOVE, NONE, REJECT, VERDICTS
from semalign.errors import SemalignError

FACES, POINTS = 3, 4
IDS = tuple(f"face {row}" for row in range(FACES))

one_decision = st.builds(
    lambda face, landmark, verdict, x, y: Decision(
        face,
        landmark,
        "accept" if verdict == "move" and landmark is None else verdict,
        *((x, y) if verdict == "move" and landmark is not None else ()),
    ),
    st.integers(0, FACES - 1),
    st.none() | st.integers(0, POINTS - 1),
    st.sampled_from(VERDICTS),
    st.integers(-9, 9).map(float),
    st.integers(-9, 9).map(float),
)
steps = st.lists(
    st.tuples(st.sampled_from(["Ann", "Bob"]), st.none() | st.lists(one_decision, max_size=4)), max_size=14
)


def model(history: list[tuple[str, list[Decision] | None]]) -> list[Decision]:
    """The decisions that hold, in order, by the simplest program that does it."""
    actions: list[tuple[str, list[Decision]]] = []
    for who, made in history:
        if made is not None:
            actions.append((who, made))
        else:
            mine = [index for index, (name, _) in enumerate(actions) if name == who]
            if mine:
                actions[mine[-1]] = ("", [])
    return [decision for _, made in actions for decision in made]


def assert_holds(store: Decisions, history: list[tuple[str, list[Decision] | None]]) -> None:
    face, point, moved = np.full(FACES, NONE), np.full((FACES, POINTS), NONE), {}
    for one in model(history):
        verdict = VERDICTS.index(one.verdict)
        if one.landmark is None:
            face[one.face] = verdict
            continue
        point[one.face, one.landmark] = verdict
        moved.pop((one.face, one.landmark), None)
        if verdict == MOVE:
            moved[one.face, one.landmark] = (one.x, one.y)
    np.testing.assert_array_equal(store.standing.face, face)
    np.testing.assert_array_equal(store.standing.point, point)
    assert store.standing.moved == moved


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=steps)
def test_any_work_of_two_people_equals_the_model(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, list[Decision] | None]]
) -> None:
    folder = tmp_path_factory.mktemp("audit")
    stores = {name: Decisions(folder, IDS, POINTS) for name in ("Ann", "Bob")}
    done: list[tuple[str, list[Decision] | None]] = []
    for who, made in history:
        if made is None:
            stores[who].undo(who)
        else:
            stores[who].decide(made, who)
        done.append((who, made))
        assert_holds(stores[who], done)
    for store in stores.values():
        store.refresh()
        assert_holds(store, done)
        store.close()
    again = Decisions(folder, IDS, POINTS)  # as after a restart
    assert_holds(again, done)
    standing = sum(not entry.undone for entry in again.history())
    assert standing == len(model(done))
    again.close()


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return drawn_audit(tmp_path_factory.mktemp("drawn"), count=4)


def test_labels_are_accepted_proposals_moved_points_and_else_annotations(audit: Audit, tmp_path: Path) -> None:
    store = Decisions(tmp_path, audit.ids, audit.scheme.count)
    points, decided = store.labels(audit)
    np.testing.assert_array_equal(points, audit.annotations)
    assert not decided.any()
    assert not (tmp_path / FILE).exists()  # looking makes no file
    store.decide([Decision(1, 5, "reject"), Decision(1, 6, "move", 3.0, 4.0), Decision(1, 7, "flag")], "Ann")
    store.decide([Decision(1, None, "accept"), Decision(2, None, "reject"), Decision(3, 0, "accept")], "Bob")
    points, decided = store.labels(audit)
    expected = audit.annotations.copy()
    expected[1] = audit.proposals[1]
    expected[1, [5, 7]] = audit.annotations[1, [5, 7]]
    expected[1, 6] = 3, 4
    expected[3, 0] = audit.proposals[3, 0]
    np.testing.assert_array_equal(points, expected)
    assert decided.sum(axis=1).tolist() == [0, 67, 68, 1]
    assert not decided[1, 7]
    store.close()


def test_absent_points_stay_absent(audit: Audit, tmp_path: Path) -> None:
    from dataclasses import replace

    annotations = audit.annotations.copy()
    annotations[0, 3] = np.nan
    store = Decisions(tmp_path, audit.ids, audit.scheme.count)
    store.decide([Decision(0, None, "accept"), Decision(0, 3, "move", 1.0, 1.0)], "Ann")
    points, decided = store.labels(replace(audit, annotations=annotations))
    assert np.isnan(points[0, 3]).all() and np.isfinite(points[0, 4]).all()
    assert not decided[0, 3] and decided[0, 4]
    store.close()


def test_decisions_on_faces_that_an_audit_made_anew_lacks_are_kept_and_not_heard(tmp_path: Path) -> None:
    store = Decisions(tmp_path, ("a", "b", "c"), 2)
    store.decide([Decision(0, None, "accept"), Decision(2, 1, "flag")], "Ann")
    store.close()
    other = Decisions(tmp_path, ("c", "x"), 2)
    assert other.standing.face.tolist() == [NONE, NONE]
    assert other.standing.point.tolist() == [[NONE, FLAG], [NONE, NONE]]
    assert {entry.image for entry in other.history()} == {"a", "c"}
    assert [entry.image for entry in other.history(0)] == ["c"]
    other.close()


def test_undo_is_ones_own(tmp_path: Path) -> None:
    store = Decisions(tmp_path, IDS, POINTS)
    assert store.undo("Ann") is None
    first = store.decide([Decision(0, None, "accept")], "Ann")
    store.decide([Decision(0, None, "reject")], "Bob")
    assert store.faces_of(first) == [(0, None)]
    assert store.undo("Ann") == first
    assert store.standing.face[0] == REJECT
    assert store.undo("Ann") is None
    assert [(entry.who, entry.undone) for entry in store.history()] == [("Ann", True), ("Bob", False)]
    store.close()


@pytest.mark.parametrize(
    ("decision", "who", "words"),
    [
        (Decision(FACES, None, "accept"), "Ann", "there is no face 3"),
        (Decision(-1, None, "accept"), "Ann", "there is no face -1"),
        (Decision(0, POINTS, "accept"), "Ann", "there is no landmark 4"),
        (Decision(0, 0, "perhaps"), "Ann", "is no verdict"),
        (Decision(0, 0, "move"), "Ann", "only a point that is moved"),
        (Decision(0, 0, "move", 1.0, float("nan")), "Ann", "only a point that is moved"),
        (Decision(0, 0, "accept", 1.0, 2.0), "Ann", "only a point that is moved"),
        (Decision(0, None, "move", 1.0, 2.0), "Ann", "only a point that is moved"),
        (Decision(0, 0, "accept"), " ", "is no name"),
        (Decision(0, 0, "accept"), "x" * 81, "is no name"),
    ],
)
def test_what_makes_no_sense_is_refused_whole(tmp_path: Path, decision: Decision, who: str, words: str) -> None:
    store = Decisions(tmp_path, IDS, POINTS)
    with pytest.raises(SemalignError, match=words):
        store.decide([Decision(0, None, "accept"), decision], who)
    assert store.standing.face[0] == NONE
    assert list(store.history()) == []
    store.close()


def test_a_file_that_is_no_store_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not SQLite" * 500)
    with pytest.raises(SemalignError, match="cannot be read"):
        Decisions(tmp_path, IDS, POINTS)
    (tmp_path / FILE).unlink()
    newer = sqlite3.connect(tmp_path / FILE)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(SemalignError, match="newer version"):
        Decisions(tmp_path, IDS, POINTS)


WRITER = """
import sys
from semalign.auditing import Decision, Decisions
store = Decisions(sys.argv[1], [f"face {row}" for row in range(3)], 4)
for turn in range(100000):
    store.decide([Decision(turn % 3, landmark, "move", float(turn), float(landmark)) for landmark in range(4)], "Ann")
    print(turn, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
@pytest.mark.parametrize("turns", [1, 40])
def test_a_killed_writer_loses_nothing_that_it_said_was_done(tmp_path: Path, turns: int) -> None:
    arguments: Any = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(turns):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        said = [int(line) for line in process.stdout.read().split()]
    last = said[-1] if said else turns - 1
    store = Decisions(tmp_path, IDS, POINTS)
    whole, rest = divmod(len(list(store.history())), POINTS)
    assert rest == 0  # an action is there as a whole or not at all
    assert whole - 1 in (last, last + 1)
    assert store.standing.moved[(whole - 1) % 3, 2] == (whole - 1.0, 2.0)
    store.decide([Decision(0, None, "accept")], "Bob")  # and work goes on
    assert store.standing.face[0] == ACCEPT
    store.close()
