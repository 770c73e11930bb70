"""Everything that reads a stranger's file, given hostile ones: one sentence, in bounded time and memory, and nothing outside.

The short form reads each parser's fixed inputs and a few others, in one process with limits; SEMALIGN_FUZZ=INPUTS asks for
more, and `make fuzz` for very many.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from random import Random

import pytest
from fuzz_mutators import by_bytes, by_values, by_words
from fuzz_parsers import every_parser
from fuzz_run import attempts, plan
from fuzz_worker import FOUND
from hypothesis import given
from hypothesis import strategies as st

from semalign.errors import LONGEST, SemalignError
from semalign.files import inside, parse_json, parse_toml

INPUTS = int(os.environ.get("SEMALIGN_FUZZ", "260"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_hostile_files_are_one_sentence_in_bounded_time_and_memory() -> None:
    found = [said for words in plan(INPUTS, []) for said in attempts(words)]
    assert not found, "\n".join(map(json.dumps, found[:20]))


def test_what_was_once_found_stays_mended() -> None:
    words = [f"{folder.parent.name}:found/{folder.name}" for folder in sorted(FOUND.glob("*/*"))]
    found = list(attempts(words))
    assert len(words) >= 6
    assert not found, "\n".join(map(json.dumps, found))


def test_the_examples_are_valid_but_for_what_cannot_be_written() -> None:
    """Else the mutations would all be refused by the first check."""
    expected = ("is only read", "the frames of videos", "has no box for b.avi", "another format")
    words = [f"{name}:valid" for name in every_parser()]
    found = [said for said in attempts(words) if not any(text in said["problem"] for text in expected)]
    assert not found, "\n".join(map(json.dumps, found[:20]))


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_mutated_json_is_a_value_or_a_value_error(data: bytes, seed: int) -> None:
    for mutate in (by_bytes, by_words):
        with contextlib.suppress(ValueError):
            parse_json(mutate(Random(seed), data))


@given(JSON, st.integers(0, 2**32))
def test_mutated_values_are_still_json_or_no_json(value: object, seed: int) -> None:
    with contextlib.suppress(ValueError):
        parse_json(by_values(Random(seed), json.dumps([value, {"a": value}]).encode()))


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "a." * 5000 + "b = 1", "[" + "a." * 5000 + "b]", "a = 1\n" * 10**6]
)
def test_toml_that_would_take_time_or_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|more than"):
        parse_toml(text)


def test_toml_with_many_dots_that_are_no_key_is_read() -> None:
    numbers = ", ".join(["0.5"] * 500)
    assert len(parse_toml(f'a = [{numbers}]\nb = "one. two. three."\n')["a"]) == 500


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/a", "", ".", "..", "a/..", "a\0b"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SemalignError, match="leads out of the folder"):
        inside(tmp_path, name)


@given(st.text(max_size=60))
def test_names_that_are_not_refused_lie_inside(name: str) -> None:
    folder = Path("/somewhere/deep")
    try:
        place = inside(folder, name)
    except SemalignError:
        return
    assert folder in Path(os.path.normpath(place)).parents


@given(st.text(max_size=3 * LONGEST))
def test_an_error_is_a_line_that_can_be_printed(text: str) -> None:
    line = str(SemalignError(text))
    assert line.isprintable() and len(line) <= LONGEST + 3
