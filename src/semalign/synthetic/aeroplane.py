"""The shape of a toy aeroplane with two propellers, and where its twelve landmarks are on it.

x goes to the nose, y to the left of who sits in it, z up; 1 is about half the fuselage's length. Left and right in the names of
landmarks are the viewer's, who sees the nose come towards him: y is negative on the left.

Shape legend: n landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float

from semalign.schemes import LandmarkScheme
from semalign.schemes.scheme import Curve
from semalign.synthetic.polyline import spline
from semalign.synthetic.raster import Mesh, joined, sheet

NAMES = (
    "nose", "windscreen foot", "tail end", "fin top",
    "left wing tip", "right wing tip", "left propeller", "right propeller",
    "left wing root", "right wing root", "left tailplane tip", "right tailplane tip",
)  # fmt: skip
SCHEME = LandmarkScheme(
    name="toy-aeroplane",
    landmarks=NAMES,
    pairs=((4, 5), (6, 7), (8, 9), (10, 11)),
    curves=(Curve("front", (4, 6, 0, 7, 5)),),
    regions={"body": (0, 1, 2, 3), "wings": (4, 5, 6, 7, 8, 9), "tailplane": (10, 11)},
    strong=(0, 2, 3, 4, 5, 6, 7, 10, 11),
)
AROUND = 20  # vertices around a body


class Part(IntEnum):
    """What a triangle belongs to."""

    BODY = 0
    WING = 1
    TAIL = 2
    ENGINE = 3
    GLASS = 4
    BLADE = 5
    WHEEL = 6


@dataclass(frozen=True)
class Build:
    """What makes one aeroplane differ from another."""

    nose: float  # x
    tail: float  # -x
    width: float  # half the body's
    height: float  # half the body's
    rise: float  # of the tail end
    span: float  # half the wings'
    wing_x: float  # of the leading edge's root
    chord: float  # at the root
    taper: float  # chord at the tip over that
    sweep: float  # by how much the tip lies behind
    dihedral: float  # by how much it lies higher
    engine_y: float  # share of the span
    engine_length: float
    engine_radius: float
    tail_span: float
    tail_chord: float
    tail_sweep: float
    fin: float  # height
    canopy_x: float
    canopy: float  # length
    blades: int
    blade_turn: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Build:
        """Any."""
        u = rng.uniform
        return cls(
            nose=u(0.82, 1.02), tail=u(0.95, 1.2), width=u(0.11, 0.17), height=u(0.12, 0.18), rise=u(0.02, 0.12),
            span=u(0.9, 1.25), wing_x=u(0.2, 0.42), chord=u(0.36, 0.52), taper=u(0.45, 0.85), sweep=u(-0.02, 0.28),
            dihedral=u(0.0, 0.16), engine_y=u(0.36, 0.5), engine_length=u(0.2, 0.34), engine_radius=u(0.06, 0.1),
            tail_span=u(0.34, 0.52), tail_chord=u(0.2, 0.28), tail_sweep=u(0.04, 0.18), fin=u(0.3, 0.48),
            canopy_x=u(0.3, 0.52), canopy=u(0.22, 0.4), blades=int(rng.integers(2, 4)), blade_turn=u(0, np.pi),
        )  # fmt: skip

    def radii(self, x: Float[np.ndarray, " k"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half width and half height of the body at x, and the height of its middle."""
        share = np.clip((np.asarray(x, float) + self.tail) / (self.nose + self.tail), 0, 1)
        profile = spline(np.array([0.0, 0.5, 0.85, 1.0, 1.0, 0.92, 0.62])[:, None], 121)[:, 0]
        grow = np.interp(share, np.linspace(0, 1, 121), np.maximum(profile, 0.0))
        blunt = np.sqrt(np.clip(1 - ((share - 0.86) / 0.14).clip(0) ** 2, 0, 1))
        middle = self.rise * (1 - share) ** 2
        return self.width * grow * blunt, self.height * grow * blunt, middle

    def leading(self, y: float) -> np.ndarray:
        """The wing's leading edge (3,) at a distance from the middle, on the side of y's sign."""
        share = abs(y) / self.span
        return np.array([self.wing_x - self.sweep * share, y, self.dihedral * share])

    def chord_at(self, y: float) -> float:
        """Of the wing."""
        return self.chord * (1 - (1 - self.taper) * abs(y) / self.span)

    def landmarks(self) -> Float[np.ndarray, "n 3"]:
        """Where they are, in the order of `NAMES`."""
        front, tip_z = self._spinner(1), self.dihedral
        root = self._root()
        tail_tip = self._tail_tip()
        _, height, middle = self.radii(np.array([self.canopy_x]))
        return np.array(
            [
                (self.nose, 0, 0),
                (self.canopy_x, 0, middle[0] + height[0]),
                (-self.tail, 0, self.rise),
                self._fin_top(),
                *((self.wing_x - self.sweep, side * self.span, tip_z) for side in (-1, 1)),
                *((front[0], side * front[1], front[2]) for side in (-1, 1)),
                *((root[0], side * root[1], root[2]) for side in (-1, 1)),
                *((tail_tip[0], side * tail_tip[1], tail_tip[2]) for side in (-1, 1)),
            ]
        )

    def mesh(self) -> Mesh:
        """All of it."""
        parts = [self._body(), self._canopy(), self._fin()]
        for side in (-1, 1):
            parts += [self._wing(side), self._tailplane(side), *self._engine(side), self._wheel(side)]
        return joined(parts)

    def _root(self) -> np.ndarray:
        """Where the wing's trailing edge meets the body."""
        y = self.width
        for _ in range(6):
            x = self.leading(y)[0] - self.chord_at(y)
            y = float(self.radii(np.array([x]))[0][0])
        return np.array([self.leading(y)[0] - self.chord_at(y), y, self.leading(y)[2]])

    def _spinner(self, side: int) -> np.ndarray:
        edge = self.leading(side * self.engine_y * self.span)
        return edge + np.array([0.55 * self.engine_length, 0, 0])

    def _tail_x(self) -> float:
        return -self.tail + self.tail_chord + 0.05

    def _tail_tip(self) -> np.ndarray:
        return np.array([self._tail_x() - self.tail_sweep, self.tail_span, self.rise + 0.02])

    def _fin_top(self) -> np.ndarray:
        return np.array([self._tail_x() - self.tail_chord * 0.95 - 0.06, 0, self.rise + self.fin])

    def _body(self) -> Mesh:
        share = 1 - np.cos(np.linspace(0, np.pi / 2, 14))  # dense at the tail, and mirrored at the nose
        x = np.concatenate([-self.tail + (self.nose + self.tail) * 0.5 * share, [0]])[:-1]
        x = np.concatenate([x, self.nose - (self.nose + self.tail) * 0.5 * share[::-1][1:]])
        width, height, middle = self.radii(x)
        return _tube(np.stack([x, np.zeros_like(x), middle], -1), width, height, Part.BODY)

    def _canopy(self) -> Mesh:
        at = np.linspace(0, 1, 10)
        x = self.canopy_x - self.canopy * at
        bulge = np.sin(np.pi * at**0.7)
        _, height, middle = self.radii(x)
        line = np.stack([x, np.zeros_like(x), middle + 0.72 * height], -1)[::-1]
        return _tube(line, (0.62 * self.width * bulge)[::-1], (0.28 * height + 0.055 * bulge)[::-1], Part.GLASS)

    def _wing(self, side: int) -> Mesh:
        y = np.linspace(0, 1, 9) * self.span * side
        edge = np.array([self.leading(value) for value in y])
        return _blade(edge, np.array([self.chord_at(value) for value in y]), 0.055 * self.chord / 0.44, Part.WING, side)

    def _tailplane(self, side: int) -> Mesh:
        at = np.linspace(0, 1, 5)[:, None]
        edge = np.array([self._tail_x(), 0, self.rise + 0.02]) * (1 - at) + self._tail_tip() * (1, side, 1) * at
        return _blade(edge, self.tail_chord * (1 - 0.4 * at[:, 0]), 0.035, Part.TAIL, side)

    def _fin(self) -> Mesh:
        """Its leading edge slopes back to the top, its trailing edge is upright."""
        at = np.linspace(0, 1, 5)
        foot = np.array([self._tail_x(), 0.0, self.rise])
        back = self._fin_top()[0]
        x = foot[0] + (back + 0.5 * self.tail_chord - foot[0]) * at
        edge = np.stack([x, np.zeros(5), self.rise + self.fin * at], -1)
        rolled = _blade(edge[:, [0, 2, 1]], x - back, 0.03, Part.TAIL, 1)
        swapped = rolled.vertices[:, [0, 2, 1]] * (1, -1, 1)
        return Mesh(swapped, rolled.normals[:, [0, 2, 1]] * (1, -1, 1), rolled.triangles, rolled.part)

    def _engine(self, side: int) -> list[Mesh]:
        tip, at = self._spinner(side), np.linspace(0, 1, 10)
        length = self.engine_length + 0.3 * self.chord
        line = tip + np.array([-length, 0, 0]) * at[::-1, None]
        radius = (self.engine_radius * np.sqrt(np.clip(1 - (1 - 1.6 * at).clip(0) ** 2, 0, 1)) * (1 - 0.5 * at**3))[
            ::-1
        ]
        meshes = [_tube(line, radius, radius, Part.ENGINE)]
        for turn in self.blade_turn + np.arange(self.blades) * 2 * np.pi / self.blades:
            reach = np.array([0, np.cos(turn), np.sin(turn)]) * 2.4 * self.engine_radius
            across = np.array([0.01, -np.sin(turn) * 0.02, np.cos(turn) * 0.02])
            middle = tip - (0.03, 0, 0) + reach * np.array([0.1, 0.6, 1.0])[:, None]
            wide = across * np.array([1.0, 1.3, 0.6])[:, None]
            meshes.append(sheet(np.stack([middle - wide, middle + wide], 1), Part.BLADE))
        return meshes

    def _wheel(self, side: int) -> Mesh:
        at = np.linspace(0, np.pi, 7)
        line = np.array([0.12, side * 0.22, -self.height - 0.12]) + np.stack([0 * at, -0.03 * np.cos(at), 0 * at], -1)
        grid = line[:, None] + 0.07 * np.sin(at)[:, None, None] * _circle((1, 0, 0), (0, 0, 1))
        return sheet(grid[:, ::-1], Part.WHEEL, closed=True)


def _circle(first: tuple[int, int, int], second: tuple[int, int, int]) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)[:, None]
    ring: np.ndarray = np.cos(turn) * np.array(first) + np.sin(turn) * np.array(second)
    return ring


def _tube(line: np.ndarray, width: np.ndarray, height: np.ndarray, part: Part) -> Mesh:
    """A body around a line (k, 3) along x, with half widths and half heights (k,)."""
    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    ring = np.stack([0 * turn, np.cos(turn), np.sin(turn)], -1)
    return sheet(line[:, None] + ring * np.stack([0 * width, width, height], -1)[:, None], part, closed=True)


def _blade(edge: np.ndarray, chord: np.ndarray, thick: float, part: Part, side: int) -> Mesh:
    """A wing behind a leading edge (k, 3), with chords (k,): an outline of a drop, closed at its end."""
    at = np.array([1.0, 0.75, 0.5, 0.25, 0.08, 0.0, 0.08, 0.25, 0.5, 0.75])
    bulge = np.array([0.0, 0.5, 0.9, 1.0, 0.7, 0.0, -0.35, -0.5, -0.45, -0.25])
    outline = np.stack([-at, 0 * at, 0 * at], -1)[None] * chord[:, None, None] + edge[:, None]
    outline[..., 2] += thick * bulge * (chord / chord[0])[:, None] / 2
    middle = outline[-1].mean(axis=0, keepdims=True)[None].repeat(outline.shape[1], axis=1)
    skin = sheet(outline[:, ::-side], part, closed=True)
    cap = sheet(np.concatenate([outline[-1:], middle])[:, ::-side], part, closed=True)
    return joined([skin, cap])
