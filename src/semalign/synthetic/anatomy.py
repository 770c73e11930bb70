"""The face seen from the front: every drawn curve, and on it the landmarks, as a function of identity and expression.

Frame: outer-eye distances, origin between the eyes, x to the image's right, y down; z (the head outline's third
coordinate) points out of the face. Landmarks are those of the scheme ibug68. Those of the jaw are not here: they lie on
the visible edge, which only the pose decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semalign.synthetic.polyline import arc_length, interpolate, spline
from semalign.synthetic.traits import Expression, Identity

STEP = 8  # every STEP-th vertex of a curve, from its first one, is a landmark
DOWN = np.array([0.0, 1.0])
OUTLINE_SAMPLES = 192  # eight a row of OUTLINE, going round
# Half of the head's outline from the chin over the ear to the crown: x, y, z.
OUTLINE = np.array(
    [
        (0.00, 1.275, 0.60),
        (0.19, 1.245, 0.56),
        (0.37, 1.135, 0.42),
        (0.53, 0.975, 0.27),
        (0.655, 0.78, 0.15),
        (0.72, 0.57, 0.09),
        (0.77, 0.30, 0.03),
        (0.79, 0.02, 0.00),  # the ear, at eye level
        (0.78, -0.28, -0.02),
        (0.71, -0.60, -0.02),
        (0.52, -0.92, 0.00),
        (0.26, -1.09, 0.03),
        (0.00, -1.14, 0.05),
    ]
)
EAR = 7 * 8  # the outline's sample at the left ear, an end of the jaw line; the right one counts from the end
# Along a lid from corner to corner, dense where it turns, at the corners; and how far it bows out there.
ALONG_LID = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 40))[:, None]
LID_BOW = (4.0 * ALONG_LID * (1.0 - ALONG_LID)) ** 0.85
# The curves that carry landmarks, as ibug68 calls them, in the order of the landmarks; a closed one repeats its start.
CURVES = ("left brow", "right brow", "nose bridge", "nose base", "left eye", "right eye", "outer lips", "inner lips")


@dataclass(frozen=True)
class Anatomy:
    """Curves of one face from the front, polylines (k, 2); all run as their landmarks do, closed ones clockwise."""

    outline: np.ndarray  # (OUTLINE_SAMPLES, 3), closed, from the chin by the image's left to the crown and back
    curves: dict[str, np.ndarray]  # by the names in CURVES

    def landmarks(self) -> list[np.ndarray]:
        """The landmarks (n, 2) of each curve, in the order of CURVES."""
        return [line[: len(line) - np.array_equal(line[0], line[-1]) : STEP] for line in self.curves.values()]

    @property
    def chin(self) -> float:
        """Height of the chin."""
        return float(self.outline[0, 1])

    @property
    def ridge(self) -> np.ndarray:
        """The nose bridge, downwards to the tip."""
        return self.curves["nose bridge"]

    @property
    def nose_base(self) -> np.ndarray:
        """From the left side of the nose below it to the right one."""
        return self.curves["nose base"]

    def lids(self) -> tuple[np.ndarray, np.ndarray]:
        """Upper and lower lids (2, 3 * STEP + 1, 2) of the left and the right eye, each from left to right."""
        upper, lower = zip(_halves(self.curves["left eye"]), _halves(self.curves["right eye"]), strict=True)
        return np.array(upper), np.array(lower)

    def lips(self) -> tuple[np.ndarray, np.ndarray]:
        """Upper and lower edge of the lips (6 * STEP + 1, 2), each from the left corner to the right one."""
        return _halves(self.curves["outer lips"])

    def mouth(self) -> tuple[np.ndarray, np.ndarray]:
        """Upper and lower edge of the mouth's opening (4 * STEP + 1, 2), each from the left corner to the right one."""
        return _halves(self.curves["inner lips"])


def build_anatomy(identity: Identity, expression: Expression) -> Anatomy:
    """All curves of a face, from the front."""
    brow, eye = _brow(identity, expression), _eye(identity, expression)
    ridge, base = _nose(identity, expression)
    lips, mouth = _mouth(identity, expression)
    curves = (
        brow - DOWN * identity.asymmetry,
        brow[::-1] * (-1.0, 1.0) + DOWN * identity.asymmetry,
        ridge,
        base,
        eye,
        np.concatenate([eye[3 * STEP :: -1], eye[: 3 * STEP - 1 : -1][1:]]) * (-1.0, 1.0),
        lips,
        mouth,
    )
    return Anatomy(_outline(identity, expression), dict(zip(CURVES, curves, strict=True)))


def _halves(ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = len(ring) // 2
    return ring[: middle + 1], ring[middle:][::-1]


def _cut(line: np.ndarray, *spans: int) -> np.ndarray:
    """A dense line (k, 2) as a curve (sum(spans) * STEP + 1, 2) with its landmarks.

    The line's steps are as many for each span between two landmarks. It falls into pieces of so many spans as given:
    their ends are landmarks where the line says, the others are laid evenly along the piece.
    """
    length = arc_length(line)
    fixed = np.cumsum((0, *spans))
    vertex = fixed * ((len(line) - 1) // fixed[-1])
    position = np.interp(np.arange(fixed[-1] * STEP + 1), fixed * STEP, length[vertex])
    return interpolate(line, length, position)


def _outline(identity: Identity, expression: Expression) -> np.ndarray:
    half = OUTLINE.copy()
    low = np.clip((half[:, 1] - 0.1) / 1.1, 0.0, 1.0)
    half[:, 0] *= identity.face_width * (1.0 + (identity.jaw_width - 1.0) * np.sin(np.pi * np.minimum(low, 0.9)) * 1.2)
    half[2:6, 0] += 0.012 * identity.cheek + 0.012 * max(expression.smile, 0.0)
    half[1, 0] -= 0.03 * identity.chin_point
    half[2, 0] -= 0.025 * identity.chin_point
    half[:, 1] += (identity.chin_length + 0.17 * expression.jaw_drop) * low**1.5
    top = half[:, 1] < -0.2
    half[top, 1] = -0.2 + (half[top, 1] + 0.2) * identity.forehead
    left = half * (-1.0, 1.0, 1.0)
    return spline(np.concatenate([left, half[-2:0:-1]]), OUTLINE_SAMPLES, closed=True)


def _brow(identity: Identity, expression: Expression) -> np.ndarray:
    """The middle of the brow on the image's left, from its outer end."""
    arch = identity.brow_arch
    controls = np.array(
        [
            (-0.655, -0.165),
            (-0.55, -0.21 - 0.035 * arch),
            (-0.41, -0.215 - 0.045 * arch),
            (-0.27, -0.21 - 0.025 * arch),
            (-0.135, -0.195),
        ]
    )
    inward = (0.4 + controls[:, 0]) / 0.27  # -1 at the outer end, 1 at the inner one
    controls[:, 0] -= identity.eye_spacing
    raised = expression.brow_raise
    lift = raised * (0.8 + 0.2 * inward if raised > 0 else 0.55 + 0.75 * inward)
    controls[:, 1] += identity.brow_height - 0.06 * lift + identity.brow_tilt * inward
    if raised < 0:
        controls[:, 0] -= 0.025 * raised * np.maximum(inward, 0.0)
    return _cut(spline(controls, 33), 4)


def _eye(identity: Identity, expression: Expression) -> np.ndarray:
    """The opening between the lids of the eye on the image's left, clockwise from its outer corner."""
    half = 0.142 * identity.eye_size
    middle = -0.358 - identity.eye_spacing
    tilt = identity.eye_tilt * half / 0.142 * 0.5
    outer, inner = np.array([middle - half, -tilt]), np.array([middle + half, tilt])
    line = outer + ALONG_LID * (inner - outer)
    squint = 1.0 - 0.25 * max(expression.smile, 0.0)
    opening = identity.eye_size * identity.eye_open * expression.lids * squint
    gaze_lift = 0.014 * expression.gaze[1]
    upper = line - DOWN * (0.066 * opening - gaze_lift) * LID_BOW * (0.84 + 0.32 * ALONG_LID)
    lower = line + DOWN * (0.042 * (0.3 + 0.7 * opening)) * LID_BOW * (1.22 - 0.44 * ALONG_LID)
    return _cut(np.concatenate([upper, lower[-2::-1]]), 3, 3)


def _nose(identity: Identity, expression: Expression) -> tuple[np.ndarray, np.ndarray]:
    """The bridge downwards and the base from the left side to the right one."""
    width, lean = identity.nose_width, identity.asymmetry
    tip = 0.40 * identity.nose_length
    ridge = spline(np.array([(0.0, -0.02), (lean * 0.4, tip * 0.33), (lean * 0.8, tip * 0.68), (lean, tip)]), 31)
    smile = max(expression.smile, 0.0)
    flare, edge = 0.155 * width + 0.014 * smile, tip + 0.078 - 0.012 * smile
    inner, low = 0.088 * width, tip + 0.112
    base = spline(np.array([(-flare, edge), (-inner, low), (lean, tip + 0.13), (inner, low), (flare, edge)]), 41)
    return _cut(ridge, 3), _cut(base, 4)


def _mouth(identity: Identity, expression: Expression) -> tuple[np.ndarray, np.ndarray]:
    """The outer edge of the lips and the opening between them, clockwise from the corner on the image's left."""
    smile, drop = expression.smile, expression.jaw_drop
    grin = max(smile, 0.0)
    middle = 0.765 + identity.mouth_height + 0.6 * identity.chin_length
    corner_x = (0.295 * identity.mouth_width + 0.06 * smile) * (1.0 - 0.28 * expression.pucker) * (1.0 - 0.1 * drop)
    corner_y = middle - 0.055 * smile + 0.05 * drop
    skew = 0.03 * expression.skew
    left, right = np.array([-corner_x, corner_y + skew]), np.array([corner_x, corner_y - skew])

    apart = 0.085 * expression.lips_apart * max(smile, 0.25) + 0.30 * drop
    full = 1.0 - 0.22 * grin + 0.35 * expression.pucker
    seam = middle - 0.012 * grin - 0.18 * apart  # lower edge of the upper lip, in the middle
    floor = seam + apart  # upper edge of the lower lip
    top, bottom = seam - 0.068 * identity.upper_lip * full, floor + 0.098 * identity.lower_lip * full

    peak_x, dip = 0.273 * corner_x, 0.018 * identity.cupid
    peak = top - 0.4 * dip
    flank_x, flank = 0.48 * corner_x + 0.52 * peak_x, 0.38 * corner_y + 0.62 * peak
    bow = [(-peak_x, peak), (0, top + 0.6 * dip), (peak_x, peak)]
    upper = spline(np.array([left, (-flank_x, flank + 0.5 * skew), *bow, (flank_x, flank - 0.5 * skew), right]), 61)
    low_x, low = 0.66 * corner_x, 0.34 * corner_y + 0.66 * bottom
    bowl = [(-0.3 * corner_x, bottom - 0.006), (0, bottom), (0.3 * corner_x, bottom - 0.006)]
    lower = spline(np.array([left, (-low_x, low), *bowl, (low_x, low), right]), 61)
    lips = _cut(np.concatenate([upper, lower[-2::-1]]), 2, 1, 1, 2, 3, 3)

    inset = np.array([0.045 * identity.mouth_width, -0.0045 * np.sign(smile) * identity.mouth_width])
    ends = left + inset, right + inset * (-1.0, 1.0)
    aside, high = 0.45 * corner_x, 0.2 * corner_y + 0.8 * seam
    deep = max(0.2 * corner_y + 0.8 * floor, high)
    over = spline(np.array([ends[0], (-aside, high), (0, seam), (aside, high), ends[1]]), 61)
    under = spline(np.array([ends[0], (-aside, deep), (0, floor), (aside, deep), ends[1]]), 61)
    under[:, 1] = np.maximum(under[:, 1], over[:, 1])
    return lips, _cut(np.concatenate([over, under[-2::-1]]), 2, 2, 2, 2)
