"""How good a label can be that is a linear combination of annotation and witnesses: what every method is held against.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Complex, Float

from semalign.core.similarity import to_complex, to_points


def best_combination(
    annotations: Float[np.ndarray, "b n 2"],
    witnesses: Sequence[Float[np.ndarray, "b n 2"]],
    truth: Float[np.ndarray, "b n 2"],
    frames: Complex[np.ndarray, " b"],
) -> Float[np.ndarray, "b n 2"]:
    """The labels o + Σ W (p - o) of the least mean squared error, with a 2×2 matrix W for each landmark and witness p.

    With the covariances of the true errors a of the annotations and d of all differences p - o, in the faces' own frames,
    W = -cov(a, d) cov(d)⁻¹. It is fitted to the truth and applied to the same faces: no method can know it, and one that is
    linear in annotation and witnesses, landmark by landmark, cannot have a smaller mean squared error on these faces.

    Args:
        annotations: in the image frames, as the others; NaN where absent, where the label is NaN, too.
        witnesses: points of the same landmarks, each of them.
        truth: NaN where it is not known: such a point is not learned from.
        frames: each face's turn and size (`face_frames`).
    """
    turned = frames[:, None]
    error = to_points((to_complex(annotations) - to_complex(truth)) / turned)
    apart = [to_points((to_complex(points) - to_complex(annotations)) / turned) for points in witnesses]
    every = np.concatenate(apart, axis=-1)  # (b, n, 2 witnesses)
    result = np.empty_like(annotations)
    for landmark in range(every.shape[1]):
        a, d = error[:, landmark], every[:, landmark]
        known = np.isfinite(a).all(axis=1) & np.isfinite(d).all(axis=1)
        weights = np.linalg.lstsq(d[known], -a[known], rcond=None)[0]  # Wᵀ
        result[:, landmark] = d @ weights
    return annotations + to_points(to_complex(result) * turned)


def face_frames(points: Float[np.ndarray, "b n 2"], outer_eyes: tuple[int, int]) -> Complex[np.ndarray, " b"]:
    """Each face's turn and size as a complex number: the way from one outer eye corner to the other."""
    left, right = outer_eyes
    return to_complex(points[:, right]) - to_complex(points[:, left])
