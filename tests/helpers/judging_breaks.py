"""How often the tests of faults break something, and what they ask of a command after a break."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import numpy as np
from long_commands import COMMANDS, OUT, World, damaged, differences, files_of, strays

from semalign.data import LabelStore

VERSION = re.compile(r"\d{4,}\.parquet")  # of labels; what is being written has another name
KILLS = int(os.environ.get("FAULTS", "0"))
SEED = int(os.environ.get("FAULTS_SEED", "0")) or (random.SystemRandom().randrange(1, 10**6) if KILLS else 1)
SHORT = [name for name, command in COMMANDS.items() if command.short]
NAMES = list(COMMANDS) if KILLS else SHORT
ROUNDS = -(-KILLS // len(NAMES)) if KILLS else 1


def judge(world: World, name: str, place: Path) -> None:
    """After a break: what is there is whole, going on works, and comes to what an undisturbed call gives."""
    expected, _ = world.reference(name)
    out = place / OUT
    assert damaged(out) == [], damaged(out)
    labels = out if name == "search" else out / "labels"
    before = {file: path.read_bytes() for file, path in files_of(labels).items() if VERSION.fullmatch(file)}
    again = world.breaking.run(world.arguments(name, again=True), place)
    # Broken off after its last change, it is refused, which counts where the result is the same.
    finished = again.status == 2 and ("already" in again.sentence or "is not empty" in again.sentence)
    assert again.status == 0 or finished, again.output
    now = {file: path.read_bytes() for file, path in files_of(labels).items() if VERSION.fullmatch(file)}
    assert all(now[file] == content for file, content in before.items()), "a label version has changed or is lost"
    assert strays(out) == [], strays(out)
    found = differences(expected, out)
    if finished:  # but for what the review page prepares where it is not there
        found = [line for line in found if not re.fullmatch(r"only there: (audit/)?review/.*", line)]
    if COMMANDS[name].adds:  # one that was killed after its last change had added its version already
        there = list(LabelStore(out).versions())
        assert there in ([0, 1], [0, 1, 2]) and (len(there) == 2 or "0001.parquet" in before)
        found = [line for line in found if line != "only here: 0002.parquet"]
        assert np.array_equal(*(LabelStore(folder).read(1).points for folder in (expected, out)))
    assert found == [], found
