"""Training labels that nobody marked: the 68 points by a rule, from MediaPipe's face mesh of each picture.

    semalign data synthesize drawn --count 4400 --test-count 0 --size 224 --noise 0
    python benchmarks/by_mesh.py --faces drawn --out drawn-by-mesh --against 300w
    semalign train by-mesh --data drawn-by-mesh --holdout 0 --out free

The rule places the points of iBUG's scheme on curves through vertices of the mesh, by shares of their length on the mean mesh
of the pictures: the contour and the brows evenly from end to end, the bridge of the nose likewise, lids and lips at shares of
their own. Points of the contour that lie inside the outline of the mesh, as those of a turned face's far side, are moved out
onto it at their height, and then each half of the contour is spaced evenly in the picture. Symmetric shares were set by
eye and by the error on training faces of 300W, a dozen numbers; no annotation and no statistic of annotations is in them.

Faces that the mesh did not see, of which the rule and the points of --faces differ by more than 12 % of the outer-eye
distance, are left out. With --against the rule is also applied to the training faces of a data set with annotations, and its
errors are printed: % of the outer-eye distance, and the median difference in pixels, along x and along y.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from harness import Row, finish, run

from semalign.core.metrics import distances, interocular, landmark_boxes, nme_interocular
from semalign.data import Dataset, open_dataset
from semalign.data.crops import CropSettings, build_crops
from semalign.data.pts import write_pts
from semalign.inference.meshes import meshes_of
from semalign.schemes import load_scheme

SEEN, SIDE = CropSettings(1.25, 1.5), 128  # what the mesh looks at first, and its pixels
VERTICES = 478
TOP, CHIN, RIGHT, LEFT = 10, 152, 234, 454  # of the face as it is seen: left is the right cheek in the picture

CONTOUR = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
CONTOUR += (377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356)
BROWS = (((70, 63, 105, 66, 107), (46, 53, 52, 65, 55)), ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276)))
LOWER = 1 / 3  # of the way from a brow's upper edge to its lower one
BRIDGE, BRIDGE_ENDS = (168, 6, 197, 195, 5, 4), (0.05, 0.98)
NOSTRILS = (75, 97, 2, 326, 305)
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
LID = (0.35, 0.68)  # from the outer corner
OUTER = ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291), (291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 61))
OUTER_SHARES = ((0, 0.235, 0.41, 0.5, 0.59, 0.765, 1), (0.2, 0.38, 0.5, 0.62, 0.8))
INNER = ((78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308), (308, 324, 318, 402, 317, 14, 87, 178, 88, 95, 78))
INNER_SHARES = ((0, 0.37, 0.5, 0.63, 1), (0.37, 0.5, 0.63))
HALVES = (slice(0, 9), slice(8, 17))
APART = 12.0  # % of the outer-eye distance


def main(
    faces: Annotated[Path, typer.Option(exists=True, help="Pictures with a face each; their points say only where.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for copies with the new points, which must not exist.")
    ] = None,
    against: Annotated[Path | None, typer.Option(exists=True, help="Annotated faces to measure the rule on.")] = None,
) -> None:
    scheme = load_scheme("ibug68")
    own = open_dataset(faces, scheme)
    meshes = look(own)
    mean = mean_mesh(meshes)
    if out is not None:
        out.mkdir(parents=True)
        labels = by_rule(meshes, mean)
        for sample, points, apart in zip(
            own.samples, labels, nme_interocular(labels, own.points(), scheme), strict=True
        ):
            if apart <= APART:
                shutil.copy(sample.image, out)
                write_pts((out / sample.image.name).with_suffix(".pts"), points)
    if against is not None:
        annotated = open_dataset(against, scheme).select("train")
        finish("by-mesh", errors(by_rule(look(annotated), mean), annotated.points(), len(own)))


def look(dataset: Dataset) -> np.ndarray:
    """The meshes (b, 478, 2) of a data set's faces, in the pictures."""
    meshes: np.ndarray = meshes_of(build_crops(dataset.samples, SEEN, SIDE))
    return meshes


def mean_mesh(meshes: np.ndarray) -> np.ndarray:
    """The mean (478, 3) of meshes turned and scaled to each other."""
    shapes = meshes - meshes.mean(axis=1, keepdims=True)
    shapes /= np.sqrt(np.square(shapes).sum(axis=(1, 2), keepdims=True))
    mean = shapes[0]
    for _ in range(5):
        left, _, right = np.linalg.svd(shapes.transpose(0, 2, 1) @ mean)
        turn = np.linalg.det(left @ right)
        left[:, :, 2] *= np.sign(turn)[:, None]
        mean = (shapes @ (left @ right)).mean(axis=0)
        mean /= np.sqrt(np.square(mean).sum())
    return mean


def by_rule(meshes: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The 68 points (b, 68, 2) of meshes (b, 478, 3)."""
    flat = meshes[..., :2]
    points: np.ndarray = np.einsum("nk,bkc->bnc", shares_of_vertices(mean), flat)
    for face, mesh in zip(points, flat, strict=True):
        face[:17] = outlined(face[:17], mesh)
    return points


def shares_of_vertices(mean: np.ndarray) -> np.ndarray:
    """Which vertices each point is a mean of (68, 478)."""

    def on(curve: Sequence[int], shares: Sequence[float]) -> np.ndarray:
        lengths = np.linalg.norm(np.diff(mean[list(curve)], axis=0), axis=1)
        ends = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
        found = np.zeros((len(shares), VERTICES))
        for row, place in zip(found, np.interp(shares, ends, np.arange(len(curve))), strict=True):
            before = min(int(place), len(curve) - 2)
            row[curve[before]] += 1 - (place - before)
            row[curve[before + 1]] += place - before
        return found

    even = np.linspace(0, 1, 5).tolist()
    brows = [(1 - LOWER) * on(upper, even) + LOWER * on(lower, even) for upper, lower in BROWS]
    from_outer, from_inner = LID, (1 - LID[1], 1 - LID[0])
    eyes = [
        np.concatenate([on(upper, (0, *shares, 1)), on(lower, shares[::-1])])
        for upper, lower, shares in zip(UPPER_LIDS, LOWER_LIDS, (from_outer, from_inner), strict=True)
    ]
    return np.concatenate(
        [
            on(CONTOUR, np.linspace(0, 1, 17).tolist()),
            *brows,
            on(BRIDGE, np.linspace(*BRIDGE_ENDS, 4).tolist()),
            np.eye(VERTICES)[list(NOSTRILS)],
            *eyes,
            *(on(curve, shares) for curve, shares in zip(OUTER, OUTER_SHARES, strict=True)),
            *(on(curve, shares) for curve, shares in zip(INNER, INNER_SHARES, strict=True)),
        ]
    )


def outlined(contour: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """A contour (17, 2) whose points lie on the outline of a mesh (478, 2) where they lay inside of it."""
    up = mesh[TOP] - mesh[CHIN]
    up = up / np.linalg.norm(up)
    across = np.array([-up[1], up[0]])
    if across @ (mesh[LEFT] - mesh[RIGHT]) < 0:
        across = -across
    frame = np.stack([across, up])
    hull = cv2.convexHull((mesh @ frame.T).astype(np.float32))[:, 0].astype(np.float64)
    edges = np.stack([hull, np.roll(hull, -1, axis=0)], axis=1)
    own = contour @ frame.T
    for index, (x, y) in enumerate(own):
        low, high = edges[..., 1].min(axis=1), edges[..., 1].max(axis=1)
        (first, last) = edges[(low < y) & (y <= high)].transpose(1, 0, 2)
        met = first[:, 0] + (y - first[:, 1]) / (last[:, 1] - first[:, 1]) * (last[:, 0] - first[:, 0])
        if len(met) and index != 8:
            own[index, 0] = min(x, met.min()) if index < 8 else max(x, met.max())
    for half in HALVES:
        ends = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(own[half], axis=0), axis=1))])
        even = np.linspace(0, ends[-1], 9)
        own[half] = np.stack([np.interp(even, ends, column) for column in own[half].T], axis=1)
    found: np.ndarray = own @ frame
    return found


def errors(points: np.ndarray, annotations: np.ndarray, drawn: int) -> list[Row]:
    """Of points against annotations, by region."""
    scheme = load_scheme("ibug68")
    apart = points - annotations
    share = 100 * distances(points, annotations) / interocular(annotations, scheme)[:, None]
    sides = landmark_boxes(annotations)
    rows: list[Row] = []
    for name, landmarks in {"all": list(range(68)), **{k: list(v) for k, v in scheme.regions.items()}}.items():
        x, y = np.median(apart[:, landmarks].mean(axis=1), axis=0)
        rows.append(
            {
                "region": name,
                "faces": len(points),
                "mean mesh of": drawn,
                "nme_interocular": share[:, landmarks].mean(),
                "median x, px": x,
                "median y, px": y,
                "box, px": float(np.median((sides[:, 2:] - sides[:, :2]).max(axis=1))),
            }
        )
    return rows


if __name__ == "__main__":
    run(main)
