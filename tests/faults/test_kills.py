"""kill -9 anywhere: nothing is lost or half-written, nothing is left over, and what goes on comes to the same bits.

In the short form each command is killed once; `make faults` kills as often as FAULTS says, over all commands, at a random change of
a file or after a random time, by the seed FAULTS_SEED.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from breaking import Fault
from long_commands import COMMANDS, OUT, World, damaged, differences, files_of, strays

from semalign.data import LabelStore

KILLS = int(os.environ.get("FAULTS", "0"))
SEED = int(os.environ.get("FAULTS_SEED", "0")) or (random.SystemRandom().randrange(1, 10**6) if KILLS else 1)
SHORT = [name for name, command in COMMANDS.items() if command.short]
NAMES = list(COMMANDS) if KILLS else SHORT
ROUNDS = -(-KILLS // len(NAMES)) if KILLS else 1


def judge(world: World, name: str, place: Path) -> None:
    """After a break: what is there is whole, going on works, and comes to what an undisturbed call gives."""
    expected, _ = world.reference(name)
    out = place / OUT
    assert damaged(out) == []
    labels = out if name == "search" else out / "labels"
    before = {file: path.read_bytes() for file, path in files_of(labels).items() if file.endswith(".parquet")}
    again = world.breaking.run(world.arguments(name, again=True), place)
    finished = again.status == 2 and "already" in again.sentence  # it was broken off after its last change
    assert again.status == 0 or finished, again.output
    now = {file: path.read_bytes() for file, path in files_of(labels).items() if file.endswith(".parquet")}
    assert all(now[file] == content for file, content in before.items()), "a label version has changed or is lost"
    assert strays(out) == []
    found = differences(expected, out)
    if COMMANDS[name].adds:  # one that was killed after its last change had added its version already
        there = list(LabelStore(out).versions())
        assert there in ([0, 1], [0, 1, 2]) and (len(there) == 2 or "0001.parquet" in before)
        found = [line for line in found if line != "only here: 0002.parquet"]
        assert np.array_equal(*(LabelStore(folder).read(1).points for folder in (expected, out)))
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_command_goes_on_to_the_same_bits(name: str, world: World) -> None:
    begun = time.perf_counter()
    expected, changes = world.reference(name)
    seconds = time.perf_counter() - begun
    draw = random.Random(f"{SEED} {name}")
    assert strays(expected) == []
    for number in range(ROUNDS):
        place = world.place(name)
        timed = number % 3 == 2
        after, at = draw.uniform(0.0, seconds), draw.randint(1, changes)
        fault = None if timed else Fault("kill", at, str(place / OUT))
        ended = world.breaking.run(world.arguments(name), place, fault, after if timed else None)
        print(f"seed {SEED}: {name}: killed {f'after {after:.2f} s' if timed else f'at change {at} of {changes}'}")
        assert ended.status == -signal.SIGKILL or timed, ended.output
        judge(world, name, place)
