"""The colours of a toy aeroplane, and what is painted on it: stripes, wing tips, roundels, windows, wood.

Shape legend: k pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from semalign.synthetic.aeroplane import Build, Part
from semalign.synthetic.traits import Colour

PAINTS: tuple[Colour, ...] = (
    (214, 60, 52), (236, 178, 52), (52, 104, 176), (70, 148, 96), (232, 228, 216), (126, 130, 136), (196, 148, 96),
    (72, 76, 88), (154, 190, 214), (222, 124, 60), (118, 86, 130), (158, 162, 110),
)  # fmt: skip


@dataclass(frozen=True)
class Livery:
    """What an aeroplane is painted like."""

    body: Float[np.ndarray, " 3"]
    wing: Float[np.ndarray, " 3"]
    trim: Float[np.ndarray, " 3"]
    engine: Float[np.ndarray, " 3"]
    glass: Float[np.ndarray, " 3"]
    stripe: float  # half width of one along the body, 0 = none
    tips: float  # share of the wing from which it has the trim's colour, 1 = none
    roundel: float  # radius of those on the wings, 0 = none
    windows: float  # distance of windows along the body, 0 = none
    wood: float  # strength of its grain
    shine: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Livery:
        """Any."""
        body, wing, trim, engine = (np.array(PAINTS[i]) for i in rng.choice(len(PAINTS), 4, replace=False))
        if rng.random() < 0.4:
            wing = body
        if rng.random() < 0.5:
            engine = wing
        wear = rng.uniform(0.8, 1.12, (4, 1)) * rng.normal(1, 0.05, (4, 3))
        chance = rng.random(5) < (0.5, 0.45, 0.5, 0.5, 0.35)
        body, wing, trim, engine = np.array([body, wing, trim, engine]) * wear
        return cls(
            body=body,
            wing=wing,
            trim=trim,
            engine=engine,
            glass=np.array([58, 74, 92]) * rng.uniform(0.6, 2.2),
            stripe=float(rng.uniform(0.02, 0.05) * chance[0]),
            tips=float(rng.uniform(0.72, 0.9)) if chance[1] else 1.0,
            roundel=float(rng.uniform(0.07, 0.12) * chance[2]),
            windows=float(rng.uniform(0.1, 0.16) * chance[3]),
            wood=float(rng.uniform(0.05, 0.14) * chance[4]),
            shine=float(rng.uniform(0.0, 0.6)),
        )

    def colours(
        self, places: Float[np.ndarray, "k 3"], part: Int[np.ndarray, " k"], build: Build
    ) -> Float[np.ndarray, "k 3"]:
        """The paint at places of the object, RGB from 0 to 255, without light."""
        x, y, z = places.T
        palette = np.stack(
            [self.body, self.wing, self.wing, self.engine, self.glass, np.full(3, 46.0), np.full(3, 38.0)]
        )
        colour = palette[part]
        on_wing, on_body, on_tail = part == Part.WING, part == Part.BODY, part == Part.TAIL
        colour[on_wing & (np.abs(y) > self.tips * build.span)] = self.trim
        colour[on_tail & (z > build.rise + 0.55 * build.fin)] = self.trim
        colour[on_body & (np.abs(z - 0.25 * build.height) < self.stripe)] = self.trim
        middle = build.wing_x - build.sweep * 0.72 - 0.45 * build.chord * (1 - (1 - build.taper) * 0.72)
        away = np.hypot(x - middle, np.abs(y) - 0.72 * build.span)
        colour[on_wing & (away < self.roundel)] = self.trim
        colour[on_wing & (away < 0.5 * self.roundel)] = (235, 235, 230)
        if self.windows:
            row = np.hypot(_saw(x, self.windows), z - 0.45 * build.height) < 0.024
            colour[on_body & row & (x < build.canopy_x - build.canopy) & (x > -0.6 * build.tail)] = self.glass
        if self.wood:
            grain = np.sin(40 * z + 6 * np.sin(3 * x) + 28 * np.abs(y)) + 0.6 * np.sin(95 * y + 4 * np.sin(5 * x))
            colour = colour * (1 + self.wood * grain * np.isin(part, (Part.BODY, Part.WING, Part.TAIL)))[:, None]
        return colour


def _saw(x: np.ndarray, step: float) -> np.ndarray:
    """Distance, with its sign, to the nearest multiple of a step."""
    return x - step * np.rint(x / step)
