"""What an audit says of a whole set whose points lie to one side (`semalign.auditing.sideways` measures it).

Shape legend: b faces.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

FEWEST = 20  # faces that tell, of which it can be told
SURELY = 5.0  # standard errors by which a shift must differ from none
LEAST, SHARE = 0.5, 0.0025  # pixels, and share of the face's size, below which nothing is said
TOLD = 0.2  # pixels of standard error from which sizes do not tell what the shift goes by
WIDTH = 1.96  # standard errors to the ends of an interval


@dataclass(frozen=True)
class Shift:
    """How far all points of a set lie to the right (negative: left) of where faces are. Pixels of the pictures.

    Attributes:
        right: in the set's faces on average.
        error: its standard error.
        faces: that tell it.
        size: the faces' median, the larger side of the points' box.
        constant: the part that is the same however large the face, as of files that count from another number.
        constant_error: its standard error.
        growing: the part that grows with the face, in a face of that median size, as of annotators, networks or resizing.
        growing_error: its standard error.
    """

    right: float
    error: float
    faces: int
    size: float
    constant: float
    constant_error: float
    growing: float
    growing_error: float

    @property
    def sure(self) -> bool:
        """Whether it is to be told."""
        far = max(LEAST, SHARE * self.size)
        return self.faces >= FEWEST and abs(self.right) >= max(far, SURELY * self.error)

    @property
    def goes_by(self) -> str:
        """`pixels`, `size` or `both`; `unknown` where the faces are too much alike in size, or too few."""
        if self.constant_error > TOLD:
            return "unknown"
        pixels = abs(self.constant) > WIDTH * self.constant_error
        size = abs(self.growing) > WIDTH * self.growing_error
        return {(True, False): "pixels", (False, True): "size", (True, True): "both"}.get((pixels, size), "unknown")

    def of(self, sizes: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
        """How far the points of faces of such sizes (larger sides of their boxes, pixels) lie to the right."""
        shares = sizes / self.size
        by = {"size": self.right * shares, "both": self.constant + self.growing * shares}
        return by.get(self.goes_by, np.full_like(sizes, self.right))

    def sentence(self) -> str:
        """In words."""
        side = "right" if self.right > 0 else "left"
        said = f"all points lie {_interval(abs(self.right), self.error)} px to the {side} of where faces are"
        parts = (
            f"{_interval(self.constant, self.constant_error)} px of it whatever the face's size and "
            f"{_interval(self.growing, self.growing_error)} px growing with it (in faces of {self.size:.0f} px)"
        )
        why = {
            "pixels": f"as much in small faces as in large ones ({parts}): the file may count pixels from another number",
            "size": f"growing with the face ({parts}): from how it is annotated, or from resized pictures",
            "both": parts,
            "unknown": "the faces' sizes do not tell whether in pixels of the file or growing with the face",
        }
        return f"{said}; {why[self.goes_by]}; whether they also lie too high or too low, nothing tells"

    def about(self) -> dict[str, Any]:
        """For `Audit.about`."""
        return {name: round(value, 4) for name, value in asdict(self).items()} | {"goes_by": self.goes_by}


def shift_of(about: Any) -> Shift | None:
    """The shift that `Shift.about` says; None where there is none.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    if about is None:
        return None
    numbers = {name: float(about[name]) for name in Shift.__dataclass_fields__}
    return Shift(**numbers | {"faces": int(about["faces"])})  # type: ignore[arg-type]


def _interval(value: float, error: float) -> str:
    return f"{value:.2f} ({value - WIDTH * error:.2f} to {value + WIDTH * error:.2f})"
