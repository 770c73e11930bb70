"""What dlib and MediaPipe find on the faces of a 300W folder, as a file for `benchmarks/others.py`.

    python -m venv others && others/bin/pip install mediapipe==0.10.14 dlib-bin face_recognition_models setuptools
    others/bin/python benchmarks/others_points.py 300w others.npz

Runs in an environment of its own, without Semalign. Both find faces by themselves; of several the one nearest to the annotated
points counts. dlib has its 68 points, MediaPipe (FaceMesh with iris refinement) 478 others with depth.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import dlib
import face_recognition_models
import mediapipe
import numpy as np

PADDING = (0.0, 0.3, 0.6)  # black borders to try in turn, in sides of the picture, for faces that fill it


def main() -> None:
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=4, refine_landmarks=True, min_detection_confidence=0.2
    )
    finder = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
    found: dict[str, dict[str, np.ndarray]] = {"mediapipe": {}, "dlib": {}}
    for path in sorted(file for file in root.rglob("*") if file.suffix in (".jpg", ".png")):
        name = path.relative_to(root).as_posix()
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        middle = annotated(path.with_suffix(".pts")).mean(axis=0)
        keep(found["mediapipe"], name, middle, in_mediapipe(mesh, image))
        if "testset" in name:
            keep(found["dlib"], name, middle, in_dlib(finder, predictor, image))
    np.savez(
        out,
        **{f"{key}: names": np.array(list(value)) for key, value in found.items()},
        **{f"{key}: points": np.stack(list(value.values())) for key, value in found.items()},
    )


def annotated(path: Path) -> np.ndarray:
    """The points of a .pts file, pixels of the image from 0."""
    return np.array(path.read_text().split("{")[1].split("}")[0].split(), float).reshape(-1, 2) - 1


def keep(kept: dict[str, np.ndarray], name: str, middle: np.ndarray, faces: list[np.ndarray]) -> None:
    """The face nearest to the annotated one."""
    if faces:
        kept[name] = min(faces, key=lambda face: float(np.linalg.norm(face[:, :2].mean(axis=0) - middle)))


def in_mediapipe(mesh: object, image: np.ndarray) -> list[np.ndarray]:
    """Points (478, 3) in pixels; with black borders where no face is found without."""
    for share in PADDING:
        width = int(share * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, width, width, width, width, cv2.BORDER_CONSTANT)
        result = mesh.process(padded)
        if result.multi_face_landmarks:
            sizes = np.array([padded.shape[1], padded.shape[0], padded.shape[1]])
            shift = np.array([width + 0.5, width + 0.5, 0])
            faces = (np.array([[p.x, p.y, p.z] for p in face.landmark]) for face in result.multi_face_landmarks)
            return [face * sizes - shift for face in faces]
    return []


def in_dlib(finder: object, predictor: object, image: np.ndarray) -> list[np.ndarray]:
    """Points (68, 2) in pixels."""
    return [np.array([[p.x, p.y] for p in predictor(image, box).parts()], float) for box in finder(image, 1)]


if __name__ == "__main__":
    main()
