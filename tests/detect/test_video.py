"""Tracking: faces keep their numbers while they move, come, go and pass; the finder is asked only when it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from semalign.detect import CenterFaceFinder, Detector, DetectorSettings, FoundFaces, Frame, Tracker, track_faces
from semalign.detect.turned import angles_of_points
from semalign.synthetic import render_face

RATE = 25.0


class Watched:
    """A finder that knows the faces of each picture, and counts how often it is asked."""

    def __init__(self, boxes: Callable[[np.ndarray], list[list[float]]]) -> None:
        self.boxes, self.asked = boxes, 0

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        self.asked += 1
        return np.array(self.boxes(picture), dtype=np.float64).reshape(-1, 4)


def clip(dots, course: Callable[[int], list[np.ndarray]], count: int) -> Iterator[Frame]:
    for number in range(count):
        yield Frame(dots.picture(course(number)), number, number / RATE)


def watched(dots, course: Callable[[int], list[np.ndarray]], count: int) -> tuple[Detector, Watched, list[Frame]]:
    frames = list(clip(dots, course, count))
    places = {frame.picture.tobytes(): [dots.box(points) for points in course(frame.number)] for frame in frames}
    finder = Watched(lambda picture: places[picture.tobytes()])
    return Detector(dots.model(), "cpu", finder, DetectorSettings()), finder, frames


def walking(dots) -> Callable[[int], list[np.ndarray]]:
    return lambda number: [dots.points(60 + 3 * number, 80, 50)]


def test_a_moving_face_is_followed_without_the_finder(dots):
    course = walking(dots)
    detector, finder, frames = watched(dots, course, 25)
    for frame, faces in track_faces(detector, frames, "none"):
        (face,) = faces
        assert face.track == 1
        assert np.abs(face.points - course(frame.number)[0]).max() < 1.0
    assert finder.asked == 2  # at the first frame and once after half a second


def test_a_face_that_comes_is_found_within_half_a_second_and_one_that_goes_is_dropped(dots):
    left, right = dots.points(50, 80, 50), dots.points(145, 80, 50)
    detector, finder, frames = watched(dots, lambda n: ([left] if n < 20 else []) + ([right] if n >= 5 else []), 30)
    tracks = [[face.track for face in faces] for _, faces in track_faces(detector, frames, "none")]
    assert tracks[:5] == [[1]] * 5
    assert [1, 2] in tracks[:18] and tracks[19] == [1, 2]
    assert tracks[20:] == [[2]] * 10
    assert finder.asked < 8


def test_a_face_that_is_hidden_briefly_keeps_its_number_and_one_hidden_for_long_gets_a_new_one(dots):
    face = dots.points(100, 80, 50)
    detector, _, frames = watched(dots, lambda n: [] if 5 <= n < 10 or 15 <= n < 40 else [face], 45)
    tracks = [[face.track for face in faces] for _, faces in track_faces(detector, frames, "none")]
    assert tracks[4] == [1] and tracks[5:10] == [[]] * 5 and tracks[10] == [1]
    assert [2] in tracks[40:45] and tracks[44] == [2]


def test_a_video_without_a_face_is_searched_every_fifth_of_a_second(dots):
    detector, finder, frames = watched(dots, lambda n: [] if n < 50 else [dots.points(100, 80, 50)], 60)
    tracks = [[face.track for face in faces] for _, faces in track_faces(detector, frames, "none")]
    assert finder.asked <= 12
    assert tracks[:50] == [[]] * 50 and tracks[55:] == [[1]] * 5


def test_a_lost_face_is_looked_for_again_while_others_are_followed(dots):
    stays, hides = dots.points(50, 80, 50), dots.points(145, 80, 50)
    detector, finder, frames = watched(dots, lambda n: [stays] if 10 <= n < 16 else [stays, hides], 30)
    tracks = [[face.track for face in faces] for _, faces in track_faces(detector, frames, "none")]
    assert len(tracks[10]) == 1 and tracks[10:16] == [tracks[10]] * 6
    assert tracks[21:] == [[1, 2]] * 9  # the same number, before the half second is over
    assert finder.asked <= 6


def test_two_tracks_never_sit_on_one_face(dots):
    def course(number: int) -> list[np.ndarray]:
        gap = max(0, 40 - 4 * number)  # the second face walks into the first and is gone
        both = [dots.points(70, 80, 50)]
        return [*both, dots.points(70 + 50 + gap, 80, 50)] if number < 12 else both

    detector, _, frames = watched(dots, course, 20)
    for _, faces in track_faces(detector, frames, "none"):
        assert len({face.track for face in faces}) == len(faces)
    assert len(faces) == 1


def test_given_boxes_start_tracks_and_no_finder_is_asked(dots):
    course = walking(dots)
    detector, finder, frames = watched(dots, course, 10)
    boxes = {2: [dots.box(course(2)[0])]}
    tracks = [[face.track for face in faces] for _, faces in track_faces(detector, frames, "none", boxes=boxes.get)]
    assert tracks == [[], []] + [[1]] * 8
    assert finder.asked == 0


@pytest.mark.parametrize("smoothing", ["centred", "causal", "none"])
def test_every_frame_comes_once_in_order_with_its_time(dots, smoothing):
    detector, _, frames = watched(dots, walking(dots), 23)
    out = list(track_faces(detector, frames, smoothing))
    assert [frame.number for frame, _ in out] == list(range(23))
    assert [frame.seconds for frame, _ in out] == [frame.seconds for frame in frames]
    assert all(len(faces) == 1 and faces[0].track == 1 for _, faces in out)


def test_centred_smoothing_waits_for_few_frames_and_holds_few(dots):
    detector, _, frames = watched(dots, walking(dots), 23)
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    for frame, _ in track_faces(detector, counted(), "centred"):
        assert taken <= frame.number + 1 + 4
    assert taken == 23


def test_smoothing_takes_out_jitter_and_does_not_reach_across_a_gap(dots):
    rng = np.random.default_rng(0)
    shaken = rng.normal(0, 1.0, (40, 2))
    far = [dots.points(100 + x, 80 + y, 50) for x, y in shaken]
    detector, _, frames = watched(dots, lambda n: [] if n == 20 else [far[n]], 40)
    raw = {f.number: faces for f, faces in track_faces(detector, frames, "none")}
    smooth = {f.number: faces for f, faces in track_faces(detector, frames, "centred")}
    assert [len(faces) for faces in smooth.values()] == [len(faces) for faces in raw.values()]
    jitter = [np.diff([faces[n][0].points for n in range(20)], axis=0).std() for faces in (raw, smooth)]
    assert jitter[1] < 0.5 * jitter[0]
    alone, _, first = watched(dots, lambda n: [far[n]], 20)
    before = list(track_faces(alone, first, "centred"))
    assert np.allclose(before[19][1][0].points, smooth[19][0].points)


def test_a_tracker_of_no_frames_gives_none(dots):
    assert list(track_faces(dots.detector(), [], "centred")) == []
    assert Tracker(dots.detector()).update(Frame(dots.picture([]), 0, 0.0)) == []


def test_a_face_that_turns_once_around_keeps_its_number():
    face = cv2.resize(render_face(np.random.default_rng(1)).image, (160, 160), interpolation=cv2.INTER_AREA)
    finder = CenterFaceFinder()
    asked = []

    def counted(picture: np.ndarray) -> FoundFaces:
        asked.append(1)
        return finder(picture)

    tracker = Tracker(Detector.from_pretrained("synthetic-demo", "cpu", counted))
    for number in range(30):
        turn = cv2.getRotationMatrix2D((79.5, 79.5), -12 * number, 1.0)  # OpenCV turns counter-clockwise
        picture = cv2.warpAffine(face, turn, (160, 160), borderMode=cv2.BORDER_REPLICATE)
        (found,) = tracker.update(Frame(picture, number, number / RATE))
        away = angles_of_points(found.points[None], found.scheme)[0] - np.radians(12 * number)
        assert found.track == 1
        assert abs((away + np.pi) % (2 * np.pi) - np.pi) < np.radians(20)
    assert len(asked) <= 4
