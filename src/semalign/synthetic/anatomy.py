"""The face seen from the front: every drawn curve and every landmark as a function of identity and expression.

Frame: outer-eye distances, origin between the eyes, x to the image's right, y down; z (the head outline's third coordinate)
points out of the face. The 68 points are those of iBUG. Points on the jaw are NaN here: they lie on the visible edge, which only
the pose decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semalign.synthetic.polyline import evenly, spline
from semalign.synthetic.traits import Expression, Identity

CENTRE = np.array([0.0, 0.25])  # the outline is star-shaped about it
DOWN = np.array([0.0, 1.0])
OUTLINE_SAMPLES = 192  # eight a row of OUTLINE, going round
# Half of the head's outline from the chin over the ear to the crown: x, y, z.
OUTLINE = np.array(
    [
        (0.00, 1.275, 0.60), (0.19, 1.245, 0.56), (0.37, 1.135, 0.42), (0.53, 0.975, 0.27), (0.655, 0.78, 0.15), (0.72, 0.57, 0.09),
        (0.77, 0.30, 0.03), (0.79, 0.02, 0.00), (0.78, -0.28, -0.02), (0.71, -0.60, -0.02), (0.52, -0.92, 0.00), (0.26, -1.09, 0.03),
        (0.00, -1.14, 0.05),
    ]
)  # fmt: skip
EAR = 7 * 8  # the sample at the ear on the left, at eye level: the end of the jaw line; the right one counts from the end


@dataclass(frozen=True)
class Anatomy:
    """Curves of one face from the front; dense polylines (k, 2), from the image's left to right unless closed."""

    outline: np.ndarray  # (OUTLINE_SAMPLES, 3), closed, from the chin by the image's left to the crown and back
    points: np.ndarray  # (68, 2), NaN for 0 to 16
    brows: tuple[np.ndarray, np.ndarray]  # centre lines
    lids: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # upper and lower, for each eye
    ridge: np.ndarray  # of the nose, downwards
    nose_base: np.ndarray  # from nostril to nostril
    lips: tuple[np.ndarray, np.ndarray]  # outer edge: upper, lower
    mouth: tuple[np.ndarray, np.ndarray]  # inner edge: upper, lower

    @property
    def chin(self) -> float:
        """Height of the chin."""
        return float(self.outline[0, 1])


def build_anatomy(identity: Identity, expression: Expression) -> Anatomy:
    """Curves and landmarks of a face, from the front."""
    points = np.full((68, 2), np.nan)
    brows = (_brow(identity, expression, -1), _brow(identity, expression, 1))
    points[17:22], points[22:27] = evenly(brows[0], 5), evenly(brows[1], 5)

    ridge, base = _nose(identity, expression)
    points[27:31], points[31:36] = evenly(ridge, 4), evenly(base, 5)

    lids = (_eye(identity, expression, -1), _eye(identity, expression, 1))
    for first, (upper, lower) in zip((36, 42), lids, strict=True):
        points[first : first + 4] = evenly(upper, 4)
        points[first + 5 : first + 3 : -1] = evenly(lower, 4)[1:3]

    lips, mouth, mouth_points = _mouth(identity, expression)
    points[48:68] = mouth_points
    return Anatomy(_outline(identity, expression), points, brows, lids, ridge, base, lips, mouth)


def _outline(identity: Identity, expression: Expression) -> np.ndarray:
    half = OUTLINE.copy()
    low = np.clip((half[:, 1] - 0.1) / 1.1, 0.0, 1.0)
    half[:, 0] *= identity.face_width * (1.0 + (identity.jaw_width - 1.0) * np.sin(np.pi * np.clip(low, 0, 0.9)) * 1.2)
    half[2:6, 0] += 0.012 * identity.cheek + 0.012 * max(expression.smile, 0.0)
    half[1, 0] -= 0.03 * identity.chin_point
    half[2, 0] -= 0.025 * identity.chin_point
    half[:, 1] += (identity.chin_length + 0.17 * expression.jaw_drop) * low**1.5
    top = half[:, 1] < -0.2
    half[top, 1] = -0.2 + (half[top, 1] + 0.2) * identity.forehead
    mirrored = half[1:-1][::-1] * (1.0, 1.0, 1.0)
    left = half * (-1.0, 1.0, 1.0)
    return spline(np.concatenate([left, mirrored]), OUTLINE_SAMPLES, closed=True)


def _brow(identity: Identity, expression: Expression, side: int) -> np.ndarray:
    """A centre line from the image's left to right."""
    arch = identity.brow_arch
    controls = np.array([(0.655, -0.165), (0.55, -0.21 - 0.035 * arch), (0.41, -0.215 - 0.045 * arch), (0.27, -0.21 - 0.025 * arch),
                         (0.135, -0.195)])  # fmt: skip
    inward = (0.4 - controls[:, 0]) / 0.27  # -1 at the outer end, 1 at the inner one
    controls[:, 0] += identity.eye_spacing
    lift = np.where(expression.brow_raise > 0, 0.8 + 0.2 * inward, 0.55 + 0.75 * inward) * expression.brow_raise
    controls[:, 1] += identity.brow_height - 0.06 * lift + identity.brow_tilt * inward + side * identity.asymmetry
    if expression.brow_raise < 0:
        controls[:, 0] += 0.025 * expression.brow_raise * np.clip(inward, 0, 1)
    curve = spline(controls * (side, 1.0), 32)
    return curve if side < 0 else curve[::-1]


def _eye(identity: Identity, expression: Expression, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid from corner to corner, the image's left corner first."""
    half = 0.142 * identity.eye_size
    middle = 0.358 + identity.eye_spacing
    tilt = identity.eye_tilt * half / 0.142 * 0.5
    outer, inner = np.array([middle + half, -tilt]), np.array([middle - half, tilt])
    share = np.linspace(0.0, 1.0, 40)[:, None]
    line = outer + share * (inner - outer)
    squint = 1.0 - 0.25 * max(expression.smile, 0.0)
    opening = identity.eye_size * identity.eye_open * expression.lids * squint
    bow = (4.0 * share * (1.0 - share)) ** 0.85
    gaze_lift = 0.014 * expression.gaze[1]
    upper = line - DOWN * (0.066 * opening - gaze_lift) * bow * (1.0 + 0.16 * (2 * share - 1))
    lower = line + DOWN * (0.042 * (0.3 + 0.7 * opening)) * bow * (1.0 - 0.22 * (2 * share - 1))
    flip = (float(side), 1.0)
    if side < 0:
        return upper * flip, lower * flip
    return upper[::-1].copy(), lower[::-1].copy()


def _nose(identity: Identity, expression: Expression) -> tuple[np.ndarray, np.ndarray]:
    """The ridge downwards and the base from nostril to nostril."""
    length, width = identity.nose_length, identity.nose_width
    lean = identity.asymmetry
    tip = 0.40 * length
    ridge = spline(np.array([(0.0, -0.02), (lean * 0.4, tip * 0.33), (lean * 0.8, tip * 0.68), (lean, tip)]), 32)
    flare = 0.155 * width + 0.014 * max(expression.smile, 0.0)
    rise = 0.012 * max(expression.smile, 0.0)
    base = spline(
        np.array(
            [(-flare, tip + 0.078 - rise), (-0.088 * width, tip + 0.112), (lean, tip + 0.13), (0.088 * width, tip + 0.112), (flare, tip + 0.078 - rise)]
        ),
        40,
    )
    return ridge, base


def _mouth(identity: Identity, expression: Expression) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Outer edge (upper, lower), inner edge (upper, lower) and the twenty landmarks."""
    smile, drop = expression.smile, expression.jaw_drop
    middle = 0.765 + identity.mouth_height + 0.6 * identity.chin_length
    corner_x = (0.295 * identity.mouth_width + 0.06 * smile) * (1.0 - 0.28 * expression.pucker) * (1.0 - 0.1 * drop)
    corner_y = middle - 0.055 * smile + 0.05 * drop
    apart = 0.085 * expression.lips_apart * max(smile, 0.25) + 0.30 * drop
    full = 1.0 - 0.22 * max(smile, 0.0) + 0.35 * expression.pucker
    upper_lip, lower_lip = 0.068 * identity.upper_lip * full, 0.098 * identity.lower_lip * full
    seam = middle - 0.012 * max(smile, 0.0) - 0.18 * apart
    top = seam - upper_lip
    dip = 0.018 * identity.cupid
    peak_x = 0.082 * (corner_x / 0.3)
    floor = seam + apart
    bottom = floor + lower_lip
    skew = 0.03 * expression.skew
    left, right = np.array([-corner_x, corner_y + skew]), np.array([corner_x, corner_y - skew])

    def between(a: float, b: float, share: float) -> float:
        return a + share * (b - a)

    quarter = between(corner_x, peak_x, 0.52)
    shoulder = between(float(corner_y), top - 0.4 * dip, 0.62)
    upper = spline(
        np.array([left, (-quarter, shoulder + 0.5 * skew), (-peak_x, top - 0.4 * dip), (0, top + 0.6 * dip), (peak_x, top - 0.4 * dip), (quarter, shoulder - 0.5 * skew), right]),
        61,
    )
    low_x = 0.66 * corner_x
    low_y = between(float(corner_y), bottom, 0.66)
    lower = spline(np.array([left, (-low_x, low_y), (-0.3 * corner_x, bottom - 0.006), (0, bottom), (0.3 * corner_x, bottom - 0.006), (low_x, low_y), right]), 61)

    inset = 0.045 * identity.mouth_width
    inner_left, inner_right = left + (inset, -0.1 * inset * np.sign(smile)), right + (-inset, -0.1 * inset * np.sign(smile))
    seam_y = between(float(corner_y), seam, 0.8)
    floor_y = between(float(corner_y), floor, 0.8)
    inner_upper = spline(np.array([inner_left, (-0.45 * corner_x, seam_y), (0, seam), (0.45 * corner_x, seam_y), inner_right]), 61)
    inner_lower = spline(np.array([inner_left, (-0.45 * corner_x, max(floor_y, seam_y)), (0, floor), (0.45 * corner_x, max(floor_y, seam_y)), inner_right]), 61)
    inner_lower[:, 1] = np.maximum(inner_lower[:, 1], inner_upper[:, 1])

    points = np.empty((20, 2))
    points[0:3], points[3], points[4:7] = evenly(upper[:21], 3), upper[30], evenly(upper[40:], 3)
    points[6:10], points[10:12] = evenly(lower[30:][::-1], 4), evenly(lower[:31][::-1], 4)[1:3]
    points[12:15], points[14:17] = evenly(inner_upper[:31], 3), evenly(inner_upper[30:], 3)
    points[16:19], points[19] = evenly(inner_lower[30:][::-1], 3), evenly(inner_lower[:31][::-1], 3)[1]
    return (upper, lower), (inner_upper, inner_lower), points
