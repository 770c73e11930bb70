"""The shipped detector against dlib and MediaPipe on the test faces of 300W, every one with its own face detection.

    others/bin/python benchmarks/others_points.py 300w others.npz      (see there)
    python benchmarks/others.py --data 300w --points others.npz

Errors are means over the faces that all of them found, in % of the pupils' and of the outer eye corners' distance. dlib's model
was trained on all of 300W, so that it has seen these test faces. MediaPipe has other points: a ridge regression from its 478
points (with depth) to the 68, learned on the training faces and with the penalty chosen on a fifth of them, translates them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import DataFolder, ModelName, face_at, finish, run, track

from semalign.core.metrics import landmark_boxes, mean_errors
from semalign.core.similarity import to_complex, to_points
from semalign.data import open_dataset, read_image
from semalign.detect import Detector
from semalign.models.pretrained import resolve

EYES = ((33, 133), (362, 263))  # corners of MediaPipe's eyes
Translation = Callable[[np.ndarray], np.ndarray]
PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def main(
    data: DataFolder,
    points: Annotated[Path, typer.Option(help="What others_points.py wrote.")],
    model: ModelName = "default",
) -> None:
    detector = Detector.from_pretrained(model, "cpu")
    dataset = open_dataset(data, detector.scheme)
    test, train = dataset.select(split="test"), dataset.select(split="train")
    names = [sample.image.relative_to(data).as_posix() for sample in test.samples]
    theirs = np.load(points)
    kinds = {
        kind: dict(zip(theirs[f"{kind}: names"], theirs[f"{kind}: points"], strict=True))
        for kind in ("dlib", "mediapipe")
    }
    known = [s.image.relative_to(data).as_posix() for s in train.samples]
    rows = [row for row, name in enumerate(known) if name in kinds["mediapipe"]]
    meshes = np.stack([kinds["mediapipe"][known[row]] for row in rows])
    translate = learn_translation(meshes, train.points()[rows])
    seen = [name for name in names if name in kinds["mediapipe"]]
    ours = {}
    for name, sample, box in zip(names, track(test.samples, "semalign"), landmark_boxes(test.points()), strict=True):
        face = face_at(detector(read_image(sample.image)), box)
        if face is not None:
            ours[name] = face.points
    found = {
        f"semalign, {resolve(model).stem}": ours,
        "dlib, 68 points": {name: kinds["dlib"][name] for name in names if name in kinds["dlib"]},
        "MediaPipe, translated": dict(
            zip(seen, translate(np.stack([kinds["mediapipe"][n] for n in seen])), strict=True)
        ),
    }
    common = [row for row, name in enumerate(names) if all(name in faces for faces in found.values())]
    finish(
        "others",
        [
            {
                "detector": title,
                "test faces": len(names),
                "found, %": 100 * len(faces) / len(names),
                "compared on": len(common),
                **mean_errors(np.stack([faces[names[row]] for row in common]), test.points()[common], detector.scheme),
            }
            for title, faces in found.items()
        ],
    )


def learn_translation(meshes: np.ndarray, annotated: np.ndarray) -> Translation:
    """From MediaPipe's points (b, 478, 3) to the annotated ones, by ridge regression in the frame of its eyes."""
    order = np.random.default_rng(0).permutation(len(meshes))
    rest, fold = order[len(order) // 5 :], order[: len(order) // 5]

    def error(penalty: float) -> float:
        apart = np.linalg.norm(fitted(rest, penalty)(meshes[fold]) - annotated[fold], axis=2)
        return float((apart.mean(axis=1) / np.abs(_frames(meshes[fold])[1][:, 0])).mean())

    def fitted(chosen: np.ndarray, penalty: float) -> Translation:
        x = _features(meshes[chosen])
        middle, scale = _frames(meshes[chosen])
        y = (to_complex(annotated[chosen]) - middle) / scale
        centre, spread, mean = x.mean(axis=0), x.std(axis=0) + 1e-6, y.mean(axis=0)
        x = (x - centre) / spread
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - mean))

        def apply(others: np.ndarray) -> np.ndarray:
            middle, scale = _frames(others)
            return to_points(((_features(others) - centre) / spread @ weights + mean) * scale + middle)

        return apply

    return fitted(order, min(PENALTIES, key=error))


def _frames(meshes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle between the eyes and the way from one to the other, complex (b, 1)."""
    left, right = (to_complex(meshes[:, list(eye), :2]).mean(axis=1, keepdims=True) for eye in EYES)
    return (left + right) / 2, right - left


def _features(meshes: np.ndarray) -> np.ndarray:
    middle, scale = _frames(meshes)
    flat = (to_complex(meshes[..., :2]) - middle) / scale
    return np.concatenate([flat.real, flat.imag, meshes[..., 2] / np.abs(scale)], axis=1)


if __name__ == "__main__":
    run(main)
