"""Audits of drawn faces with planted errors, for tests of what reads audits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from semalign.auditing import KINDS, Audit, write_audit
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

KIND = {kind.name: index for index, kind in enumerate(KINDS)}
PLANTED = ("point", "slipped", "guessed", "misplaced", "scaled", "exchanged", "another", "mirrored", "shifted")


def drawn_audit(folder: Path, count: int = 12, size: int = 144, seed: int = 5) -> Audit:
    """Faces drawn into `folder`/pictures, of which most have an error of a planted kind, and an audit that finds them.

    The audit is written into the folder.
    """
    rng = np.random.default_rng(seed)
    settings = SynthesisSettings(count=count, test_count=0, seed=seed, face=FaceSettings(size=size))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    scheme = load_scheme("ibug68")
    files, truths = [], []
    for index in range(count):
        face = face_of(seed, index, settings)
        files.append(str((folder / "pictures" / f"{index:05d}.jpg").resolve()))
        Image.fromarray(face.image).save(files[-1], quality=93)
        truths.append(face.points)
    truth = np.stack(truths)
    side = np.sqrt(np.prod(np.ptp(truth, axis=1), axis=1))
    annotations = truth + rng.normal(0, 0.008, truth.shape) * side[:, None, None]
    face_kind, point_kind = np.full(count, -1, np.int8), np.full(truth.shape[:2], -1, np.int8)
    face_probability, point_probability = rng.uniform(0, 0.3, count), rng.beta(1, 12, truth.shape[:2])
    for row in range(count):
        name = PLANTED[row % (len(PLANTED) + 1)] if row % (len(PLANTED) + 1) < len(PLANTED) else None
        if name is None:
            continue
        chosen = _plant(name, row, annotations, truth, side[row], rng)
        face_probability[row] = rng.uniform(0.55, 0.99)
        if KINDS[KIND[name]].whole:
            face_kind[row] = KIND[name]
        else:
            point_kind[row, chosen] = KIND[name]
            point_probability[row, chosen] = rng.uniform(0.5, 0.99, len(chosen))
            face_kind[row] = KIND[name]
    proposals = truth + rng.normal(0, 0.004, truth.shape) * side[:, None, None]
    spread = rng.uniform(0.006, 0.02, truth.shape) * side[:, None, None]
    audit = Audit(
        ids=tuple(f"drawn/{index:05d}" for index in range(count)),
        files=tuple(files),
        frames=np.full(count, -1, np.int32),
        scheme=scheme,
        annotations=annotations,
        proposals=proposals,
        spread=spread,
        face_probability=face_probability,
        face_kind=face_kind,
        point_probability=point_probability,
        point_kind=point_kind,
        about={"data": str(folder / "pictures")},
        odds=np.zeros(len(face_probability)),
    )
    write_audit(audit, folder)
    return audit


def _plant(
    name: str, row: int, annotations: np.ndarray, truth: np.ndarray, side: float, rng: np.random.Generator
) -> np.ndarray:
    """Make an error of a kind in a face's annotations; the landmarks that it concerns."""
    points = annotations[row]
    middle = points.mean(axis=0)
    if name == "point":
        chosen = rng.choice(68, rng.integers(1, 4), replace=False)
        angle = rng.uniform(0, 2 * np.pi, len(chosen))
        points[chosen] += np.stack([np.cos(angle), np.sin(angle)], axis=1) * side * rng.uniform(0.06, 0.2)
        return chosen
    if name == "slipped":
        chosen = np.arange(4, 13)
        points[chosen] += 0.6 * (truth[row][chosen + 1] - truth[row][chosen])
        return chosen
    if name == "guessed":
        chosen = np.arange(17, 22)
        points[chosen] += rng.normal(0, 0.04, 2) * side + rng.normal(0, 0.02, (5, 2)) * side
        return chosen
    if name == "misplaced":
        points += rng.normal(0, 0.12, 2) * side
    elif name == "scaled":
        points[:] = middle + (points - middle) * 1.2
    elif name == "exchanged":
        points[:] = points[list(load_scheme("ibug68").flip_index)]
    elif name == "mirrored":
        points[:, 0] = 2 * middle[0] - points[:, 0]
    elif name == "another":
        points[:] = annotations[(row + 7) % len(annotations)]
    elif name == "shifted":
        points[0:16] = truth[row][1:17]
    return np.arange(68)
