"""Full disks, folders that cannot be written or vanish, pictures that change, signals, clocks: one sentence, nothing is lost.

In the short form some commands meet each fault once, at one change of a file; `make faults` lets all of them meet it, the more
often the more FAULTS there are.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from breaking import Ended, Fault
from judging_breaks import KILLS, NAMES, SEED, judge
from long_commands import COMMANDS, OUT, World, damaged, strays

REFUSALS = ("full", "read-only")
ENDS = {"terminate": 143, "interrupt": 130}
ROUNDS = -(-KILLS // (4 * len(NAMES))) if KILLS else 1
QUICK = ("synthesize", "search", "predict", "convert", "labels export", "export")
SENTENCES = {"full": "the disk is full", "read-only": "the file system is read-only"}


def in_a_sentence(ended: Ended) -> str:
    """The sentence with which a command ended that could not be finished."""
    assert "Traceback" not in ended.output, ended.output
    assert ended.status == 2 and ended.sentence.startswith("error: "), ended.output
    return ended.sentence


def changes(world: World, name: str, about: str) -> list[int]:
    """At which changes of its files a command meets a fault."""
    draw = random.Random(f"{SEED} {name} {about}")
    return [draw.randint(1, world.reference(name)[1]) for _ in range(ROUNDS)]


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("name", NAMES if KILLS else QUICK)
def test_what_cannot_be_written_is_said_and_goes_on_when_it_can(name: str, kind: str, world: World) -> None:
    for at in changes(world, name, kind):
        place = world.place(name)
        print(f"seed {SEED}: {name}: {kind} from change {at} on")
        ended = world.breaking.run(world.arguments(name), place, Fault(kind, at, str(place / OUT)))
        if ended.status != 0:  # after its last write only a lock is left to be removed
            assert SENTENCES[kind] in in_a_sentence(ended)
        if kind == "full":
            assert strays(place / OUT) == []
        judge(world, name, place)


@pytest.mark.parametrize("name", NAMES if KILLS else QUICK)
def test_a_disk_that_is_full_in_the_middle_of_a_file(name: str, world: World) -> None:
    """By the largest size of a file, which libraries that write by themselves meet, too."""
    draw = random.Random(f"{SEED} {name} size")
    expected, _ = world.reference(name)
    largest = max(path.stat().st_size for path in expected.rglob("*") if path.is_file())
    for _ in range(ROUNDS):
        place, limit = world.place(name), draw.randint(400, largest - 1)
        print(f"seed {SEED}: {name}: no file above {limit} bytes")
        ended = world.breaking.run(world.arguments(name), place, Fault(below=str(place / OUT), limit=limit))
        in_a_sentence(ended)
        assert strays(place / OUT) == []
        judge(world, name, place)


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("name", NAMES if KILLS else ("search", "predict", "convert"))
def test_a_signal_ends_it_in_order(name: str, kind: str, world: World) -> None:
    for at in changes(world, name, kind):
        place = world.place(name)
        print(f"seed {SEED}: {name}: {kind} at change {at}")
        ended = world.breaking.run(world.arguments(name), place, Fault(kind, at, str(place / OUT)))
        assert ended.status in (ENDS[kind], 0) and "Traceback" not in ended.output, ended.output
        assert ended.status == 0 or ended.sentence.startswith("interrupted")
        assert strays(place / OUT) == []
        judge(world, name, place)


@pytest.mark.parametrize("name", NAMES if KILLS else ("search", "predict", "labels export"))
def test_a_folder_that_vanishes_is_a_sentence(name: str, world: World) -> None:
    for at in changes(world, name, "vanish"):
        place = world.place(name)
        print(f"seed {SEED}: {name}: its folder vanishes at change {at}")
        fault = Fault("vanish", at, str(place / OUT), str(place / OUT))
        ended = world.breaking.run(world.arguments(name), place, fault)
        if ended.status != 0:
            in_a_sentence(ended)
        assert strays(place / OUT) == [] and damaged(place / OUT) == []
        shutil.rmtree(place / OUT, ignore_errors=True)
        judge(world, name, place)


@pytest.mark.parametrize("kind", ["remove", "truncate"])
@pytest.mark.parametrize(
    "name", [name for name in NAMES if "{faces}" in COMMANDS[name].arguments] if KILLS else ("search", "convert")
)
def test_a_picture_that_changes_meanwhile(name: str, kind: str, world: World) -> None:
    """It is used as it was, or named; and once it is there again, all goes on to the same bits."""
    pictures = sorted(Path(world.names["faces"]).rglob("*.jpg"))
    for at in changes(world, name, kind):
        picture = random.Random(at).choice(pictures)
        stat, data = picture.stat(), picture.read_bytes()
        place = world.place(name)
        print(f"seed {SEED}: {name}: {kind} {picture.name} at change {at}")
        try:
            fault = Fault(kind, at, str(place / OUT), str(picture))
            ended = world.breaking.run(world.arguments(name), place, fault)
            if ended.status != 0:
                assert picture.name in in_a_sentence(ended)
            assert damaged(place / OUT) == [] or kind == "truncate"  # which copies hold
        finally:
            picture.write_bytes(data)
            os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        if ended.status != 0:
            judge(world, name, place)


@pytest.mark.parametrize("name", NAMES if KILLS else ("search",))
def test_a_clock_that_is_set_back_changes_nothing(name: str, world: World) -> None:
    for at in changes(world, name, "clock"):
        place = world.place(name)
        ended = world.breaking.run(world.arguments(name), place, Fault("clock", at, str(place / OUT)))
        assert ended.status == 0, ended.output
        if not COMMANDS[name].adds:
            judge(world, name, place)
