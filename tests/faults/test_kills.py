"""kill -9 anywhere: nothing is lost or half-written, nothing is left over, and what goes on comes to the same bits.

In the short form each command is killed once; `make faults` kills as often as FAULTS says, over all commands, at a random
change of a file or after a random time, by the seed FAULTS_SEED.
"""

from __future__ import annotations

import random
import signal
import time

import pytest
from breaking import Fault
from judging_breaks import NAMES, ROUNDS, SEED, judge
from long_commands import OUT, World, strays


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
