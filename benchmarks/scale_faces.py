"""Data sets of any number of small photographs for `scale.py`, which are as different from each other as people's are.

Some hundred synthetic faces are drawn; the principal components of their pictures and points together, with random weights,
give any number of faces more, each turned, moved and resized at random and in another light. They are JPEG files of 96 pixels,
a thousand in a folder, with names of 32 letters. Of every hundred faces one is a copy of another photograph, and one has a
point that lies off; all points are marked to half a pixel. A thousand faces are a function of their numbers alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

SIDE = 96  # pixels
DRAWN, COMPONENTS = 400, 120
SPREAD = 0.9  # of the weights, in standard deviations of the drawn faces
SOME = 1000  # faces of a folder, drawn at a time
EVERY = 100  # face of which one is a copy, and one has a point that lies off
MARKED = 0.5  # pixels, standard deviation of every point
FACES, DOCUMENT = "faces", "faces.json"
MOST_IN_DOCUMENT = 100_000
QUALITY = 90
SEED = 22


def names(start: int, stop: int) -> tuple[str, ...]:
    """Ids of generated faces."""
    return tuple(f"people/{index // SOME:05d}/image_{index:09d}.jpg" for index in range(start, stop))


def draw(folder: Path, count: int) -> None:
    """Write pictures and .pts files into folder/faces, and their annotations once more into the COCO document
    folder/faces.json, if they are not too many for one.
    """
    people = People()
    images, annotations = [], []
    for start in range(0, count, SOME):
        stop = min(start + SOME, count)
        pictures, points = people.some(start, stop)
        (folder / FACES / names(start, stop)[0]).parent.mkdir(parents=True)
        for index, (name, picture, own) in enumerate(zip(names(start, stop), pictures, points, strict=True), start):
            path = folder / FACES / name
            path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
            text = ("%.2f %.2f\n" * len(own)) % tuple((own + 1).ravel().tolist())
            path.with_suffix(".pts").write_text(f"version: 1\nn_points: {len(own)}\n{{\n{text}}}\n", encoding="ascii")
            if count <= MOST_IN_DOCUMENT:
                images.append(json.dumps({"id": index, "file_name": name, "width": SIDE, "height": SIDE}))
                marked = np.column_stack([np.round(own, 2), np.full(len(own), 2)])
                keypoints = [value if column < 2 else 2 for row in marked.tolist() for column, value in enumerate(row)]
                annotation = {"id": index, "image_id": index, "category_id": 1, "keypoints": keypoints}
                annotations.append(json.dumps(annotation))
    if count <= MOST_IN_DOCUMENT:
        category = json.dumps({"id": 1, "name": "face"})
        lists = {"images": images, "annotations": annotations, "categories": [category]}
        body = ",\n".join(f'"{name}": [\n' + ",\n".join(items) + "\n]" for name, items in lists.items())
        (folder / DOCUMENT).write_text(f"{{{body}}}\n", encoding="ascii")


class People:
    """Faces as random mixtures of drawn ones."""

    def __init__(self) -> None:
        from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

        look = FaceSettings(
            size=SIDE, max_yaw=15, max_pitch=10, roll=2, occlusion=0, glasses=0, blur=0, low_resolution=0
        )
        settings = SynthesisSettings(count=DRAWN, seed=SEED, face=look)
        drawn = [face_of(SEED, index, settings) for index in range(DRAWN)]
        self.landmarks = len(drawn[0].points)
        rows = [np.concatenate([face.image[..., ::-1].ravel(), 10 * face.points.ravel()]) for face in drawn]
        every = np.array(rows, np.float32)
        self._mean = every.mean(axis=0)
        _, sizes, components = np.linalg.svd(every - self._mean, full_matrices=False)
        self._components = components[:COMPONENTS] * (sizes[:COMPONENTS, None] / np.sqrt(DRAWN))

    def some(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (b, s, s, 3) uint8 BGR and points (b, n, 2) as they are marked, of the faces from `start` on."""
        rng = np.random.default_rng([SEED, start])
        count = stop - start
        weights = SPREAD * rng.normal(size=(count, COMPONENTS)).astype(np.float32)
        weights[EVERY - 1 :: EVERY] = weights[EVERY // 2 :: EVERY][: len(weights[EVERY - 1 :: EVERY])]  # copies
        mixed = self._mean + weights @ self._components
        pixels = np.clip(mixed[:, : SIDE * SIDE * 3], 0, 255).astype(np.uint8).reshape(count, SIDE, SIDE, 3)
        points = mixed[:, SIDE * SIDE * 3 :].reshape(count, self.landmarks, 2) / 10.0
        light, added = rng.uniform(0.75, 1.1, count), rng.uniform(-15, 15, count)
        for index in range(count):
            turn = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), rng.normal(0, 5), rng.uniform(0.85, 1.1))
            turn[:, 2] += rng.normal(0, 2, 2)
            moved = cv2.warpAffine(pixels[index], turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
            pixels[index] = cv2.convertScaleAbs(moved, alpha=light[index], beta=added[index])
            points[index] = points[index] @ turn[:, :2].T + turn[:, 2]
        points += rng.normal(0, MARKED, points.shape)
        points[10::EVERY, 30] += (0, 12)
        return pixels, np.clip(points, 0.5, SIDE - 1.5)
