"""Faces in videos: what tracking finds, what smoothing takes out, and whether it lags.

    python benchmarks/video.py [--model default] [--clips 3] [--frames 100]

Synthetic clips with exact truth in the three categories of `semalign.synthetic.video`, through the tracker of `semalign
predict`, with its own face detection. For each kind of smoothing: the share of frames whose face is found; the error; the
jitter, which is the standard deviation of what the error changes by from frame to frame (both in % of the outer-eye distance,
nme_interocular); and the lag in frames, which is the regression of the error, less its mean over the clip, on the true motion
of the frame.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from harness import ModelName, Row, face_at, finish, run, track

from semalign.core.metrics import interocular, landmark_boxes
from semalign.detect import Detector, Frame, track_faces
from semalign.models.pretrained import resolve
from semalign.synthetic.video import Clip, category_settings, render_clip

KINDS = ("none", "causal", "centred")


def main(model: ModelName = "default", clips: int = 3, frames: int = 100) -> None:
    detector = Detector.from_pretrained(model, "cpu")
    rows = []
    for category in (1, 2, 3):
        settings = replace(category_settings(category), count=frames)
        rendered = [render_clip(settings, seed) for seed in track(range(clips), f"clips of category {category}")]
        common = {"model": resolve(model).name, "category": category}
        rows += [common | {"smoothing": kind} | measure(detector, rendered, kind) for kind in KINDS]
    finish("video", rows)


def measure(detector: Detector, clips: list[Clip], kind: str) -> Row:
    """The figures of a kind of smoothing over all clips of a category."""
    errors, changes, motions = [], [], []
    found = frames = 0
    begin = time.perf_counter()
    for clip in clips:
        points = followed(detector, clip, kind)
        unit = interocular(clip.truth, detector.scheme)[:, None, None]
        apart = 100 * (points - clip.truth) / unit
        velocity = 100 * np.gradient(clip.truth, axis=0) / unit
        seen = np.isfinite(apart).all(axis=(1, 2))
        found, frames = found + int(seen.sum()), frames + len(seen)
        errors.append(np.linalg.norm(apart[seen], axis=2).mean(axis=1))
        both = seen[1:] & seen[:-1]
        changes.append(np.diff(apart, axis=0)[both].ravel())
        varying = apart[seen] - apart[seen].mean(axis=0)
        motions.append(np.array([(varying * velocity[seen]).sum(), (velocity[seen] ** 2).sum()]))
    seconds = time.perf_counter() - begin
    along, square = np.sum(motions, axis=0)
    return {
        "frames": frames,
        "found, %": 100 * found / frames,
        "nme_interocular": float(np.concatenate(errors).mean()),
        "jitter": float(np.concatenate(changes).std()),
        "lag, frames": float(-along / square),
        "ms a frame": 1000 * seconds / frames,
    }


def followed(detector: Detector, clip: Clip, kind: str) -> np.ndarray:
    """(f, n, 2): the face's points in every frame, NaN where it is not found."""
    frames = (Frame(picture, number, number / clip.rate) for number, picture in enumerate(clip.frames))
    points = np.full(clip.truth.shape, np.nan)
    boxes = landmark_boxes(clip.truth)
    for frame, faces in track_faces(detector, frames, kind):  # type: ignore[arg-type]
        face = face_at(faces, boxes[frame.number])
        if face is not None:
            points[frame.number] = face.points
    return points


if __name__ == "__main__":
    run(main)
