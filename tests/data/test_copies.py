"""Of thumbnails, the same pairs are found as by comparing each with each, at any number; crowds of copies are not compared."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.data import copies as searching
from semalign.data.copies import LARGE, find_copies
from semalign.data.likeness import (
    EVENED,
    PROPOSED,
    SAME_PHOTOGRAPH,
    SIGNATURE,
    coarsely_registered,
    moved_onto,
    registered_likeness,
    signatures,
    small_thumbnails,
)
from semalign.data.neighbours import ENOUGH, evened
from semalign.data.thumbnails import KEPT, SIDE, Thumbnails
from semalign.errors import SemalignError

MIDDLE = (SIDE - 1) / 2


def photographs(count: int, seed: int) -> np.ndarray:
    """Faces (b, s, s) that have their layout in common and differ in structure."""
    rng = np.random.default_rng(seed)
    common = cv2.GaussianBlur(rng.uniform(0, 255, (SIDE, SIDE)).astype(np.float32), (0, 0), 12)
    common = 128 + 35 * (common - common.mean()) / common.std()
    own = [cv2.resize(rng.normal(0, 45, (12, 12)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for _ in range(count)]
    return np.clip(common + np.array(own).reshape(count, SIDE, SIDE), 0, 255).astype(np.uint8)


def copied(face: np.ndarray, rng: np.random.Generator, worse: float = 1.0) -> np.ndarray:
    """The face in a frame that other landmarks give, in another light, size and quality."""
    turn = cv2.getRotationMatrix2D((MIDDLE, MIDDLE), rng.normal(0, 1.0 * worse), 1 + rng.normal(0, 0.012 * worse))
    turn[:, 2] += rng.normal(0, 0.4 * worse, 2)
    moved = cv2.warpAffine(face, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    side = int(rng.integers(36, SIDE + 1))
    small = cv2.resize(moved, (side, side), interpolation=cv2.INTER_AREA)
    light = np.clip(rng.uniform(0.6, 1.0) * small + rng.uniform(0, 50), 0, 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", light, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
    return cv2.resize(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def compared(faces: np.ndarray) -> list[tuple[int, int, float]]:
    """All pairs, each compared."""
    faces = faces.astype(np.float32)
    small = small_thumbnails(faces)
    pairs = np.argwhere(np.triu(small @ small.T, 1) > PROPOSED)
    found = [(int(one), int(other), registered_likeness(faces[one], faces[other])) for one, other in pairs]
    return [pair for pair in found if pair[2] >= SAME_PHOTOGRAPH]


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), copies=st.integers(0, 12))
@settings(max_examples=15)
def test_the_same_pairs_as_by_comparing_all(seed: int, count: int, copies: int) -> None:
    faces, rng = photographs(count, seed), np.random.default_rng(seed)
    if count:
        again = [copied(faces[rng.integers(count)], rng) for _ in range(copies)]
        faces = np.concatenate([faces, np.array(again, np.uint8).reshape(-1, SIDE, SIDE)])[
            rng.permutation(count + copies)
        ]
    found = find_copies(iter(np.array_split(faces, 3)), len(faces))
    assert found.pairs == compared(faces)
    assert (found.crowds == -1).all()


def test_none_is_lost_among_many() -> None:
    """With some thousand faces most are never compared; the copies are found, whatever the draw of lists."""
    faces, rng = photographs(3000, 1), np.random.default_rng(2)
    sources = rng.choice(3000, 150, replace=False)
    both = np.concatenate([faces, [copied(faces[row], rng) for row in sources]])
    wanted = {(int(row), 3000 + number) for number, row in enumerate(sources)}
    for seed in range(3):
        found = find_copies(iter([both]), len(both), seed)
        assert {pair[:2] for pair in found.pairs} == wanted
    again = find_copies(iter(np.array_split(both, 7)), len(both), 2)
    assert again.pairs == found.pairs  # the same at every call, in whatever parts they come


@pytest.mark.parametrize("worse", [1.0, 2.0])
def test_where_signatures_are_evened_out_none_of_the_oracle_is_lost(worse: float) -> None:
    """Enough faces to learn what they have in common; copies whose landmarks are off by as much as usual, and twice as much."""
    faces, rng = photographs(900, 9), np.random.default_rng(10)
    sources = rng.choice(900, 80, replace=False)
    both = np.concatenate([faces, [copied(faces[row], rng, worse) for row in sources]])
    found = {pair[:2] for pair in find_copies(iter([both]), len(both)).pairs}
    assert found >= {pair[:2] for pair in compared(both)}


def test_signatures_are_evened_out_only_where_faces_are_unlike_each_other() -> None:
    rng = np.random.default_rng(11)
    unlike = signatures(small_thumbnails(photographs(ENOUGH + 200, 12).astype(np.float32)))
    before = (unlike[:300] @ unlike[300:600].T > 0.5).mean()
    limit = evened(unlike, rng.permutation(len(unlike)))
    assert limit == EVENED and (unlike[:300] @ unlike[300:600].T > 0.5).mean() < before
    np.testing.assert_allclose(np.linalg.norm(unlike, axis=1), 1, atol=1e-5)
    (face,) = photographs(1, 13)
    crowd = signatures(small_thumbnails(np.array([copied(face, rng) for _ in range(ENOUGH + 100)], np.float32)))
    kept = crowd.copy()
    assert evened(crowd, rng.permutation(len(crowd))) == SIGNATURE
    assert np.array_equal(crowd, kept)


def test_a_crowd_is_one_group_with_few_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one photograph, some of them annotated by others, among other faces."""
    calls = 0

    def counted(one: np.ndarray, other: np.ndarray) -> float:
        nonlocal calls
        calls += 1
        return registered_likeness(one, other)

    monkeypatch.setattr(searching, "registered_likeness", counted)
    faces, rng = photographs(200, 3), np.random.default_rng(4)
    crowd = [copied(faces[0], rng, 0.5) if number % 2 else faces[0] for number in range(1500)]
    order = rng.permutation(1700)
    both = np.concatenate([faces, crowd])[order]
    found = find_copies(iter([both]), len(both))
    copies = np.flatnonzero((order == 0) | (order >= 200))
    assert set(np.flatnonzero(found.crowds >= 0)) == set(copies)
    assert set(found.crowds[copies]) == {copies.min()}
    linked = {row for pair in found.pairs for row in pair[:2]}
    assert linked == set(copies)
    assert calls < 3 * len(copies) and len(found.pairs) < 3 * len(copies)


def test_a_small_group_is_compared_completely() -> None:
    faces, rng = photographs(30, 5), np.random.default_rng(6)
    both = np.concatenate([faces, [copied(faces[0], rng, 0.3) for _ in range(LARGE - 2)]])
    found = find_copies(iter([both]), len(both))
    assert len(found.pairs) == (LARGE - 1) * (LARGE - 2) // 2


def test_what_is_all_of_one_grey_is_like_nothing() -> None:
    faces = np.zeros((300, SIDE, SIDE), np.uint8)
    assert find_copies(iter([faces]), 300).pairs == []
    assert not signatures(small_thumbnails(faces[:2].astype(np.float32))).any()


def test_movements_bring_one_face_onto_the_other() -> None:
    """What landmarks misplace is found to first order, in pixels of the thumbnail, and by the coarse registration better."""
    (face,) = photographs(1, 7)
    turn = cv2.getRotationMatrix2D((MIDDLE, MIDDLE), 1.5, 1.02)
    turn[:, 2] += (0.8, -0.6)
    other = cv2.warpAffine(face, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    one = face.astype(np.float32)
    small = small_thumbnails(np.stack([one, other]))
    (likeness,), (movement,) = moved_onto(small[1:], small[:1])
    corners = np.array([[12, 12, 1], [51, 12, 1], [12, 51, 1], [51, 51, 1.0]])
    off, unmoved = (np.abs(places - corners @ turn.T).mean() for places in (corners @ movement.T, corners[:, :2]))
    assert off < 0.4 * unmoved
    assert likeness > float(small[0] @ small[1]) - 0.02 and likeness > 0.95
    assert coarsely_registered(one, other, movement) > 0.9


def test_thumbnails_of_many_faces_go_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    kept = Thumbnails()
    parts = [rng.integers(0, 256, (6000, SIDE, SIDE), dtype=np.uint8) for _ in range(3)]
    for part in parts:
        kept.append(part)
        assert np.array_equal(kept[0], parts[0][0])
    assert len(kept) * SIDE * SIDE > KEPT and len(kept) == 18_000
    for row in (1, 5999, 6000, 17_999):
        assert np.array_equal(kept[row], parts[row // 6000][row % 6000])
    kept.close()
    monkeypatch.setattr(kept, "_file", Full())
    with pytest.raises(SemalignError, match=r"no room .* set TMPDIR"):
        kept.append(parts[0])


class Full:
    """A file on a full disk."""

    def seek(self, *_: int) -> None:
        """Nothing."""

    def write(self, _: bytes) -> None:
        """No."""
        raise OSError(28, "No space left on device")


def test_time_grows_with_the_faces() -> None:
    """Eight times the faces cost about eight times as much, not 64 times; a fraction of a millisecond each."""
    spent = []
    for count in (1000, 8000):
        faces = photographs(count, 8)
        begin = time.process_time()
        find_copies(iter([faces]), count)
        spent.append(time.process_time() - begin)
    assert spent[1] < 24 * spent[0]
