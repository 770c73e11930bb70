"""Faces followed through a video: from frame to frame by their own landmarks, with the face detector only now and then.

A track is a face with a number. Its box in the next frame is that of its landmarks, moved on by its speed. The face detector
is asked when a face is lost; then in every frame until it is back or its number is given up, or every fifth of a second if
others are tracked; every fifth of a second while there is nobody; and every half second for new faces.

Shape legend: k faces, n landmarks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from semalign.data.crops import box_sides
from semalign.detect.detector import Boxes, Detector, as_boxes, overlap
from semalign.detect.result import Face
from semalign.detect.smoothing import OneEuro, SmoothingSettings, smooth_causal, smooth_centred
from semalign.detect.sources import Frame
from semalign.detect.turned import angles_of_points, turned

Smoothing = Literal["centred", "causal", "none"]
GivenBoxes = Callable[[int], Boxes | None]
_ROUNDING = 1e-6  # seconds


@dataclass(frozen=True)
class TrackingSettings:
    """When a face counts as the same, as lost, and when new ones are looked for."""

    detection_interval: float = 0.5  # seconds between searches for new faces
    retry_interval: float = 0.2  # the same while there is no face, or while one of several is lost
    max_age: float = 0.5  # seconds for which a lost face keeps its number
    iou_threshold: float = 0.3  # of boxes that are of the same face
    max_growth: float = 1.4  # of a face's side from one frame to the next
    damping: float = 0.5  # share of a face's speed that is expected to go on


@dataclass
class _Track:
    number: int
    face: Face
    seconds: float  # at which it was last seen
    speed: np.ndarray  # (2,) of the box's centre, pixels a second


class Tracker:
    """The faces of one video, frame after frame.

    Args:
        detector: may be shared; the tracker itself belongs to one video.
        boxes: gives boxes (k, 4) of faces by the frame's number, or None; then no face detector is used.
    """

    def __init__(
        self, detector: Detector, settings: TrackingSettings | None = None, boxes: GivenBoxes | None = None
    ) -> None:
        self.detector, self.settings, self.boxes = detector, settings or TrackingSettings(), boxes
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._next = 1
        self._looked = -np.inf

    def update(self, frame: Frame) -> list[Face]:
        """The faces of the next frame, unsmoothed, each with its track's number, in order of the numbers.

        Raises:
            SemalignError: boxes that are none.
        """
        followed, lost = self._follow(frame)
        self._lost = [t for t in self._lost + lost if frame.seconds - t.seconds <= self.settings.max_age]
        self._tracks = followed
        for face in self._found(frame, bool(lost)):
            self._take(face, frame.seconds)
        self._tracks.sort(key=lambda track: track.number)
        return [replace(track.face, track=track.number) for track in self._tracks]

    def _follow(self, frame: Frame) -> tuple[list[_Track], list[_Track]]:
        """Tracks that go on in this frame and tracks that end."""
        if not self._tracks:
            return [], []
        expected = [self._expected(track, frame.seconds) for track in self._tracks]
        boxes, angles = np.array([box for box, _ in expected]), np.array([angle for _, angle in expected])
        more = {"angles": angles} if angles.any() else {}  # a detector of one's own need not know of angles
        followed: list[_Track] = []
        lost: list[_Track] = []
        for track, face in zip(self._tracks, self.detector.follow(frame.picture, boxes, **more), strict=True):
            same = self._goes_on(track, face) and not any(self._same(face, other.face) for other in followed)
            if same:
                followed.append(_Track(track.number, face, frame.seconds, _speed(track, face, frame.seconds)))
            else:
                lost.append(track)
        return followed, lost

    def _expected(self, track: _Track, seconds: float) -> tuple[np.ndarray, float]:
        """The box in the next frame, and the face's angle (`semalign.detect.turned`)."""
        points, scheme = track.face.points[None], track.face.scheme
        angle = angles_of_points(points, scheme)
        box = np.array(track.face.box)
        if angle[0] != 0.0:
            own = turned(points, -angle)
            low, high = own.min(axis=1), own.max(axis=1)
            centre, half = turned((low + high)[:, None] / 2, angle)[0, 0], (high - low)[0] / 2
            box = np.concatenate([centre - half, centre + half])
        move = track.speed * (seconds - track.seconds) * self.settings.damping
        limit = 0.25 * float(box_sides(box[None])[0])
        return box + np.tile(np.clip(move, -limit, limit), 2), float(angle[0])

    def _goes_on(self, track: _Track, face: Face) -> bool:
        old, new = box_sides(np.array([track.face.box, face.box]))
        grown = max(new, old) / max(min(new, old), 1e-9)
        return bool(face.score >= self.detector.settings.score_threshold and grown <= self.settings.max_growth)

    def _same(self, face: Face, other: Face) -> bool:
        return overlap(face.box, other.box) >= self.settings.iou_threshold

    def _found(self, frame: Frame, lost: bool) -> list[Face]:
        """Faces that are looked for in this frame, if it is time to."""
        if self.boxes is not None:
            given = self.boxes(frame.number)
            return [] if given is None else self.detector(frame.picture, as_boxes(given))
        if not lost and frame.seconds - self._looked < self._interval() - _ROUNDING:
            return []
        self._looked = frame.seconds
        return self.detector(frame.picture)

    def _interval(self) -> float:
        """Seconds from one search to the next, unless a face is lost in this very frame."""
        if self._lost and not self._tracks:
            return 0.0
        settings = self.settings
        seldom = bool(self._tracks) and not self._lost
        return settings.detection_interval if seldom else min(settings.retry_interval, settings.detection_interval)

    def _take(self, face: Face, seconds: float) -> None:
        """Give a found face its number: none if it is tracked or one too many, that of a face lost nearby, or a new one."""
        most = self.detector.settings.max_faces
        if (self.boxes is None and most is not None and len(self._tracks) >= most) or any(
            self._same(face, track.face) for track in self._tracks
        ):
            return
        near = [track for track in self._lost if overlap(face.box, track.face.box) > self.settings.iou_threshold / 2]
        number = near[0].number if near else self._next
        self._lost = [track for track in self._lost if track.number != number]
        self._next = max(self._next, number + 1)
        self._tracks.append(_Track(number, face, seconds, np.zeros(2)))


def track_faces(
    detector: Detector,
    frames: Iterable[Frame],
    smoothing: Smoothing = "centred",
    settings: TrackingSettings | None = None,
    boxes: GivenBoxes | None = None,
    smoothing_settings: SmoothingSettings | None = None,
) -> Iterator[tuple[Frame, list[Face]]]:
    """Every frame with its faces, tracked and smoothed; "centred" gives a frame when the few after it have come.

    Args:
        detector: finds the faces.
        frames: in order of time.
        smoothing: "centred" for files, "causal" for a camera, "none"; see `semalign.detect.smoothing`.
        settings: of the tracking.
        boxes: as for `Tracker`.
        smoothing_settings: of either kind of smoothing.

    Raises:
        SemalignError: boxes that are none.
    """
    tracker = Tracker(detector, settings, boxes)
    tracked = ((frame, tracker.update(frame)) for frame in frames)
    chosen = smoothing_settings or SmoothingSettings()
    if smoothing == "centred":
        return _centred(tracked, chosen)
    return _causal(tracked, chosen) if smoothing == "causal" else tracked


def _centred(
    tracked: Iterable[tuple[Frame, list[Face]]], settings: SmoothingSettings
) -> Iterator[tuple[Frame, list[Face]]]:
    window: deque[tuple[Frame, list[Face]]] = deque()
    row = 0  # of the frame that is due
    for item in tracked:
        window.append(item)
        while row < len(window) - 1 and _seen_far_enough(window, row, settings):
            yield _smoothed(window, row, settings)
            row = _forget(window, row + 1, settings)
    while row < len(window):
        yield _smoothed(window, row, settings)
        row = _forget(window, row + 1, settings)


def _seen_far_enough(window: deque[tuple[Frame, list[Face]]], row: int, settings: SmoothingSettings) -> bool:
    ahead = window[-1][0].seconds - window[row][0].seconds
    return ahead > settings.reach - _ROUNDING or len(window) - 1 - row >= settings.most_frames


def _forget(window: deque[tuple[Frame, list[Face]]], row: int, settings: SmoothingSettings) -> int:
    """Drop the frames that the frame due does not see, and return its row."""
    while row < len(window) and (
        row > settings.most_frames or window[row][0].seconds - window[0][0].seconds > settings.reach + _ROUNDING
    ):
        window.popleft()
        row -= 1
    return row


def _smoothed(
    window: deque[tuple[Frame, list[Face]]], row: int, settings: SmoothingSettings
) -> tuple[Frame, list[Face]]:
    """The frame of a row with its faces smoothed over the unbroken part of their tracks in the window."""
    frame, faces = window[row]
    result = []
    for face in faces:
        seen = [{other.track: other for other in others}.get(face.track) for _, others in window]
        first, last = row, row
        while first > 0 and seen[first - 1] is not None:
            first -= 1
        while last < len(seen) - 1 and seen[last + 1] is not None:
            last += 1
        run = [other for other in seen[first : last + 1] if other is not None]
        times = np.array([item[0].seconds for item in list(window)[first : last + 1]])
        points = smooth_centred(
            np.stack([other.points for other in run]),
            np.stack([other.confidence for other in run]),
            times,
            row - first,
            settings,
        )
        result.append(replace(face, points=points))
    return frame, result


def _causal(
    tracked: Iterable[tuple[Frame, list[Face]]], settings: SmoothingSettings
) -> Iterator[tuple[Frame, list[Face]]]:
    states: dict[int | None, OneEuro] = {}
    for frame, faces in tracked:
        fresh = {}
        for face in faces:
            side = float(box_sides(np.array([face.box]))[0])
            fresh[face.track] = smooth_causal(states.get(face.track), face.points, frame.seconds, side, settings)
        states = fresh
        yield frame, [replace(face, points=states[face.track].points) for face in faces]


def _speed(track: _Track, face: Face, seconds: float) -> np.ndarray:
    """Speed of the box's centre between two frames, pixels a second, (2,)."""
    boxes = np.array([track.face.box, face.box])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return (centres[1] - centres[0]) / max(seconds - track.seconds, 1e-3)
