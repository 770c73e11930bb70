"""What a landmark scheme is: names, left-right pairs, curves, regions, eye points, strong points; checked when made."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import islice
from typing import Any

from semalign.errors import SemalignError

LONGEST_NAME = 200  # letters of a scheme, a landmark, a curve or a region
MOST_SHOWN, LONGEST_SHOWN = 200, 100  # names that a message lists or compares, and letters of a value in it
Pupils = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Curve:
    """Landmarks along one smooth line of the face, in order; a closed curve returns to its first landmark.

    A landmark on several curves belongs to the first of them.
    """

    name: str
    landmarks: tuple[int, ...]
    closed: bool = False


@dataclass(frozen=True)
class LandmarkScheme:
    """An annotation scheme. Landmarks are given by their index from 0; left and right are the viewer's, in the image.

    Raises:
        SemalignError: an index out of range or given twice, an unpaired eye, a curve that is too short; names the
            scheme.
    """

    name: str
    landmarks: tuple[str, ...]  # a unique name for each
    pairs: tuple[tuple[int, int], ...] = ()  # (left, right) landmarks that change places when the image is mirrored
    curves: tuple[Curve, ...] = ()
    # groups that results are listed by
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    pupils: Pupils = ((), ())  # points of the left and of the right eye whose mean stands for the pupil
    outer_eyes: tuple[int, int] | None = None  # outer corners of the left and of the right eye
    strong: tuple[int, ...] = ()  # corners and tips, which are well defined; all others are weak

    def __post_init__(self) -> None:
        """Refuse a scheme that contradicts itself."""
        _check(self)

    @property
    def names_eyes(self) -> bool:
        """Whether it says where both eyes are, by their outer corners or their pupils: it is one of faces."""
        return self.outer_eyes is not None or all(self.pupils)

    @property
    def count(self) -> int:
        """Number of landmarks."""
        return len(self.landmarks)

    @cached_property
    def weak(self) -> tuple[int, ...]:
        """The landmarks that are not strong, ascending."""
        strong = set(self.strong)
        return tuple(index for index in range(self.count) if index not in strong)

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """The permutation that swaps the pairs: landmark i of the mirrored face is flip_index[i] of the original."""
        order = list(range(self.count))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return tuple(order)

    @property
    def mirrors(self) -> bool:
        """Whether it is known where the landmarks are in a mirrored picture: there are pairs, or only one landmark."""
        return bool(self.pairs) or self.count == 1

    def to_dict(self) -> dict[str, Any]:
        """The scheme as plain lists, strings and numbers, in a fixed order; `from_dict` reads it back."""
        return {
            "name": self.name,
            "landmarks": list(self.landmarks),
            "pairs": [list(pair) for pair in self.pairs],
            "curves": [
                {"name": curve.name, "landmarks": list(curve.landmarks), "closed": curve.closed}
                for curve in self.curves
            ],
            "regions": {name: list(members) for name, members in self.regions.items()},
            "pupils": [list(points) for points in self.pupils],
            "outer_eyes": None if self.outer_eyes is None else list(self.outer_eyes),
            "strong": list(self.strong),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LandmarkScheme:
        """The scheme that a mapping describes (`to_dict`, or TOML); landmarks may be given by index or by name.

        Raises:
            SemalignError: an unknown or a missing key, a value of the wrong kind, or a scheme that contradicts itself.
        """
        return _Reader(data).scheme()


class _Reader:
    """Reads a scheme from a mapping, field by field, with a sentence for everything that is not as it should be."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = self._mapping(data, "a scheme")
        refuse_unknown(data, [item.name for item in fields(LandmarkScheme)], "key")
        for key in ("name", "landmarks"):
            if key not in data:
                raise SemalignError(f"the key {key!r} is missing; add it.")
        self.name = self._text(data["name"], "name")
        self.landmarks = tuple(self._text(item, "landmarks") for item in self._list(data["landmarks"], "landmarks"))
        self.index = {name: position for position, name in enumerate(self.landmarks)}

    def scheme(self) -> LandmarkScheme:
        data = self.data
        outer = data.get("outer_eyes")
        return LandmarkScheme(
            name=self.name,
            landmarks=self.landmarks,
            pairs=tuple(self._two(pair, "pairs") for pair in self._list(data.get("pairs", []), "pairs")),
            curves=tuple(self._curve(curve) for curve in self._list(data.get("curves", []), "curves")),
            regions={
                name: self._members(members, f"regions.{name[:LONGEST_NAME]}")
                for name, members in self._mapping(data.get("regions", {}), "regions").items()
            },
            pupils=self._pupils(data.get("pupils", [[], []])),
            outer_eyes=None if outer is None else self._two(outer, "outer_eyes"),
            strong=self._members(data.get("strong", []), "strong"),
        )

    def _curve(self, value: Any) -> Curve:
        value = self._mapping(value, "curves")
        refuse_unknown(value, [item.name for item in fields(Curve)], "key", " of a curve")
        if "name" not in value or "landmarks" not in value:
            raise SemalignError("a curve needs the keys 'name' and 'landmarks'; add them.")
        name, closed = self._text(value["name"], "curves.name"), value.get("closed", False)
        if not isinstance(closed, bool):
            raise SemalignError(f"closed of the curve {in_short(name)} is {in_short(closed)}; write true or false.")
        return Curve(name, self._members(value["landmarks"], f"the curve {in_short(name)}"), closed)

    def _pupils(self, value: Any) -> Pupils:
        value = self._list(value, "pupils")
        if len(value) != 2:
            raise SemalignError(
                f"pupils holds {len(value)} lists; give two, the points of the left and of the right eye."
            )
        return self._members(value[0], "pupils"), self._members(value[1], "pupils")

    def _two(self, value: Any, where: str) -> tuple[int, int]:
        members = self._members(value, where)
        if len(members) != 2:
            raise SemalignError(f"{where} holds {in_short(value)}; give two landmarks, the left and the right one.")
        return members[0], members[1]

    def _members(self, value: Any, where: str) -> tuple[int, ...]:
        return tuple(self._landmark(item, where) for item in self._list(value, where))

    def _landmark(self, value: Any, where: str) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            if value not in self.index:
                refuse_unknown([value], self.index, "landmark", f" in {where}")
            return self.index[value]
        raise SemalignError(f"{where} holds {in_short(value)}; give a landmark's index or name.")

    @staticmethod
    def _text(value: Any, where: str) -> str:
        if not isinstance(value, str) or not value:
            raise SemalignError(f"{where} holds {in_short(value)}; give a text that is not empty.")
        return value

    @staticmethod
    def _list(value: Any, where: str) -> Sequence[Any]:
        if not isinstance(value, list | tuple):
            raise SemalignError(f"{where} is {in_short(value)}; give a list.")
        return value

    @staticmethod
    def _mapping(value: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise SemalignError(f"{where} is {in_short(value)}; give a table.")
        return value


def refuse_unknown(names: Iterable[str], known: Iterable[str], kind: str, where: str = "") -> None:
    """Raise SemalignError for the first unknown name; the sentence gives the nearest known one, or else all of them."""
    known = dict.fromkeys(known)
    for name in names:
        if name not in known:
            text, some = str(name), list(islice(known, MOST_SHOWN))
            near = difflib.get_close_matches(text, some, n=1, cutoff=0.5) if len(text) <= LONGEST_SHOWN else []
            every = f"{', '.join(some)}{', …' if len(known) > len(some) else ''}"
            remedy = f"did you mean {near[0]!r}?" if near else f"known are {every[:1000]}."
            raise SemalignError(f"the {kind} {in_short(name)}{where} is unknown; {remedy}")


def in_short(value: Any) -> str:
    """A value as Python writes it, of a length that a sentence can hold."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _check(scheme: LandmarkScheme) -> None:
    curves = (curve.name for curve in scheme.curves)
    for name in (scheme.name, *scheme.landmarks, *curves, *scheme.regions):
        if len(name) > LONGEST_NAME:
            raise SemalignError(
                f"the name {in_short(name)} has {len(name)} letters; give one of {LONGEST_NAME} at most."
            )
    if not scheme.landmarks:
        raise SemalignError(f"scheme {scheme.name!r}: there are no landmarks; name at least one.")
    repeated = [name for name, times in Counter(scheme.landmarks).items() if times > 1]
    if repeated:
        raise SemalignError(
            f"scheme {scheme.name!r}: two landmarks are called {repeated[0]!r}; give each its own name."
        )
    repeated = [name for name, times in Counter(curve.name for curve in scheme.curves).items() if times > 1]
    if repeated:
        raise SemalignError(f"scheme {scheme.name!r}: two curves are called {repeated[0]!r}; give each its own name.")
    groups: list[tuple[str, Iterable[int]]] = [
        ("pairs", [index for pair in scheme.pairs for index in pair]),
        *((f"the curve {curve.name!r}", curve.landmarks) for curve in scheme.curves),
        *((f"the region {name!r}", members) for name, members in scheme.regions.items()),
        ("pupils", [index for points in scheme.pupils for index in points]),
        ("outer_eyes", scheme.outer_eyes or ()),
        ("strong", scheme.strong),
    ]
    for where, members in groups:
        _check_members(scheme, where, list(members))
    for curve in scheme.curves:
        least = 3 if curve.closed else 2
        if len(curve.landmarks) < least:
            raise SemalignError(
                f"scheme {scheme.name!r}: the curve {curve.name!r} has {len(curve.landmarks)} landmarks; "
                f"give at least {least}."
            )
    if bool(scheme.pupils[0]) != bool(scheme.pupils[1]):
        raise SemalignError(f"scheme {scheme.name!r}: pupils has points for one eye only; give both or none.")


def _check_members(scheme: LandmarkScheme, where: str, members: list[int]) -> None:
    for index in members:
        if not 0 <= index < scheme.count:
            raise SemalignError(
                f"scheme {scheme.name!r}: {where} holds landmark {in_short(index)}, "
                f"but they go from 0 to {scheme.count - 1}; correct it."
            )
    for index, times in Counter(members).items():
        if times > 1:
            raise SemalignError(f"scheme {scheme.name!r}: {where} holds landmark {index} {times} times; give it once.")
