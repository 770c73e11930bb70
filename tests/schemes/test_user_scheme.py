"""A user's own scheme from TOML, and the sentences for what can be wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from semalign.errors import SemalignError
from semalign.schemes import Curve, LandmarkScheme, load_scheme

SCHEME = """
name = "five"
landmarks = ["left eye", "right eye", "nose tip", "mouth left corner", "mouth right corner"]
pairs = [["left eye", "right eye"], [3, 4]]
pupils = [["left eye"], ["right eye"]]
strong = [2]
regions = { eyes = [0, 1], mouth = ["mouth left corner", "mouth right corner"] }

[[curves]]
name = "mouth"
landmarks = [3, 4]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_landmarks_by_name_or_by_index(tmp_path: Path) -> None:
    scheme = load_scheme(write(tmp_path, SCHEME))
    assert scheme == load_scheme(str(tmp_path / "mine.toml"))
    assert (scheme.name, scheme.count) == ("five", 5)
    assert scheme.pairs == ((0, 1), (3, 4))
    assert scheme.flip_index == (1, 0, 2, 4, 3)
    assert scheme.curves == (Curve("mouth", (3, 4), closed=False),)
    assert scheme.regions == {"eyes": (0, 1), "mouth": (3, 4)}
    assert (scheme.pupils, scheme.outer_eyes) == (((0,), (1,)), None)
    assert (scheme.strong, scheme.weak) == ((2,), (0, 1, 3, 4))


def test_only_name_and_landmarks_are_needed(tmp_path: Path) -> None:
    scheme = load_scheme(write(tmp_path, 'name = "two"\nlandmarks = ["a", "b"]'))
    assert scheme == LandmarkScheme("two", ("a", "b"))
    assert (scheme.flip_index, scheme.weak, scheme.pupils) == ((0, 1), (0, 1), ((), ()))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("strong =", "stronk =", "the key 'stronk' is unknown; did you mean 'strong'?"),
        ("strong =", "zzz =", "the key 'zzz' is unknown; known are name, landmarks,"),
        ('name = "five"', "", "the key 'name' is missing"),
        ('"nose tip", ', '"mouth left corner", ', "two landmarks are called 'mouth left corner'"),
        ("[3, 4]]", "[3, 5]]", "pairs holds landmark 5, but they go from 0 to 4"),
        ("[3, 4]]", "[0, 4]]", "pairs holds landmark 0 2 times"),
        ("[3, 4]]", "[3]]", "pairs holds [3]; give two landmarks"),
        ("[3, 4]]", "[3, 4.5]]", "pairs holds 4.5; give a landmark's index or name"),
        ('["left eye"], [', "[], [", "pupils has points for one eye only"),
        (
            '["left eye"], [',
            '["left eyee"], [',
            "the landmark 'left eyee' in pupils is unknown; did you mean 'left eye'?",
        ),
        (
            "landmarks = [3, 4]",
            "landmarks = [3, 4]\nclosed = true",
            "the curve 'mouth' has 2 landmarks; give at least 3",
        ),
        ("landmarks = [3, 4]", "landmarks = [3]", "the curve 'mouth' has 1 landmarks; give at least 2"),
        ("landmarks = [3, 4]", 'landmarks = [3, 4]\nclosed = "no"', "closed of the curve 'mouth' is 'no'"),
        ("landmarks = [3, 4]", "landmarks = [3, 4]\nclosd = true", "the key 'closd' of a curve is unknown"),
        ("landmarks = [3, 4]", "", "a curve needs the keys 'name' and 'landmarks'"),
        ("strong = [2]", "strong = 2", "strong is 2; give a list"),
        ("strong = [2]", "strong = [true]", "strong holds True; give a landmark's index or name"),
        ("regions = {", "regions = 3 #", "regions is 3; give a table"),
        ("strong = [2]", "strong = [2", "is no valid TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in SCHEME
    path = write(tmp_path, SCHEME.replace(old, new))
    with pytest.raises(SemalignError) as caught:
        load_scheme(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "ibug86",
            "scheme 'ibug86' (neither shipped nor the path of a .toml file) is unknown; did you mean 'ibug68'?",
        ),
        ("dlib", "known are aflw19, cofw29, ibug68, wflw98."),
        ("nowhere/mine.toml", "nowhere/mine.toml: there is no such file"),
    ],
)
def test_unknown_schemes(name: str, sentence: str) -> None:
    with pytest.raises(SemalignError) as caught:
        load_scheme(name)
    assert sentence in str(caught.value)


def test_a_folder_is_no_scheme(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match="cannot be read"):
        load_scheme(tmp_path)
