"""Work in parts: who does which, what is lost and done again, what is damaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semalign.errors import SemalignError
from semalign.parts import Arrays, Parts, Share, digest, parse_share


class Doing:
    """Twice the row, with a note of who was asked for what."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: np.ndarray) -> Arrays:
        self.rows += rows.tolist()
        return {"twice": rows * 2, "names": np.array([f"face {row}" for row in rows])}


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_any_number_of_processes_does_each_row_once(tmp_path, processes):
    do = Doing()
    for index in range(processes):
        Parts(tmp_path, "work", 100).work(Share(index + 1, processes), do)
    assert sorted(do.rows) == list(range(100))
    parts = Parts(tmp_path, "work", 100)
    parts.commit()
    found = parts.collect(("twice", "names"))
    assert np.array_equal(found["twice"], 2 * np.arange(100)) and found["names"][99] == "face 99"


def test_what_a_process_lost_others_do_and_nothing_else(tmp_path):
    parts = Parts(tmp_path, "work", 100)
    assert len(parts) == 4 and not parts.begun
    parts.work(Share(1, 2), Doing())
    assert parts.begun and parts.missing() == [1, 3]
    with pytest.raises(SemalignError, match=r"2 of 4 parts are missing \(number 2 is the first\)"):
        parts.commit()
    (parts.folder / "000002.json").unlink()  # killed between the arrays and their note
    (parts.folder / "000000.npz").write_bytes(b"half")
    do = Doing()
    for index in range(3):
        Parts(tmp_path, "work", 100).work(Share(index + 1, 3), do)
    assert sorted(do.rows) == list(range(100))
    again = Doing()
    parts.work(Share(), again)
    assert not again.rows


def test_a_part_that_was_damaged_after_all_were_there_is_named(tmp_path):
    parts = Parts(tmp_path, "work", 40)
    parts.work(Share(), Doing())
    parts.commit()
    (parts.folder / "000001.npz").write_bytes(b"other")
    with pytest.raises(SemalignError, match=r"000001\.npz: is damaged; delete it"):
        parts.collect(("twice",))


def test_parts_of_other_work_are_not_taken(tmp_path):
    array, weights = np.arange(6.0), torch.nn.Linear(2, 2).state_dict()
    told = [digest(["a", array, weights, 1]), digest(["a", array.reshape(2, 3), weights, 1])]
    told += [digest(["a", array, weights | {"bias": weights["bias"] + 1}, 1]), digest(["a", array, weights, 2])]
    assert len(set(told)) == 4 and told[0] == digest(["a", array.copy(), dict(weights), 1])
    Parts(tmp_path, "one", 10).work(Share(), Doing())
    assert not Parts(tmp_path, "two", 10).begun and not Parts(tmp_path, "one", 11).begun


def test_shares_as_they_are_written():
    assert parse_share("2/4") == Share(2, 4) and str(Share(2, 4)) == "2/4"
    for text, message in (
        ("0/4", "there is none"),
        ("5/4", "there is none"),
        ("2", "is no share"),
        ("a/b", "no share"),
    ):
        with pytest.raises(SemalignError, match=message):
            parse_share(text)
