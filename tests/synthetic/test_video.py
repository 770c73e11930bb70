"""Clips: one person in smooth motion, truth that follows what is drawn, and categories of rising difficulty."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.errors import SemalignError
from semalign.schemes import load_scheme
from semalign.synthetic import (
    Clip,
    ClipSettings,
    Face,
    FaceSettings,
    NoiseSettings,
    annotate,
    category_settings,
    make_annotators,
    render_clip,
    render_frame,
    write_script,
)
from semalign.synthetic.camera import photograph
from semalign.synthetic.render import build_head, draw_person, landmarks
from semalign.synthetic.video import (
    BLINK,
    EXPOSURE,
    HELD,
    PERSON,
    PIVOT,
    SUPERSAMPLE,
    Script,
    Wave,
    annotate_frames,
    draw_at,
    smear,
)

SCHEME = load_scheme("ibug68")
SMALL = ClipSettings(count=12, size=80)
CLEAN = replace(SMALL, grain=0.0, quality=100, exposure=0.0, shutter=0.0, glasses=0.0)
HELD_BEFORE = replace(CLEAN, count=50, passes=0.5)


def unit_of(points: np.ndarray) -> float:
    """Mean outer-eye distance over frames (f, 68, 2), pixels."""
    return float(np.linalg.norm(points[:, 45] - points[:, 36], axis=1).mean())


def truth_of(script: Script, times: np.ndarray) -> np.ndarray:
    return np.stack([landmarks(script.geometry_at(time))[0] for time in times.tolist()])


@pytest.fixture(scope="module")
def clip() -> Clip:
    return render_clip(SMALL, 3)


@pytest.fixture(scope="module")
def held() -> Script:
    """A clip of a well-lit face before which something passes."""
    return write_script(HELD_BEFORE, 1)


def test_a_clip_holds_what_it_says(clip: Clip) -> None:
    assert clip.category == 1 and clip.rate == 25.0 and clip.name == "synthetic_1_0003"
    assert clip.frames.shape == (12, 80, 80, 3) and clip.frames.dtype == np.uint8
    assert clip.truth.shape == clip.annotations.shape == (12, 68, 2) and clip.truth.dtype == np.float64
    assert clip.visible.shape == (12, 68) and clip.visible.dtype == bool


def test_a_seed_gives_the_same_clip_again_and_another_seed_or_category_another_person(clip: Clip) -> None:
    again = render_clip(SMALL, 3)
    for name in ("frames", "truth", "visible", "annotations"):
        np.testing.assert_array_equal(getattr(again, name), getattr(clip, name))
    person = write_script(SMALL, 3).traits.identity
    assert write_script(SMALL, 4).traits.identity != person
    assert write_script(replace(SMALL, category=2), 3).traits.identity != person


@pytest.mark.parametrize("category", [1, 3])
def test_a_frame_does_not_depend_on_the_frames_before_it(category: int) -> None:
    settings = replace(category_settings(category), count=16, size=64)
    whole, script = render_clip(settings, 2), write_script(settings, 2)
    for index in (15, 8):
        face = render_frame(script, index)
        np.testing.assert_array_equal(face.image, whole.frames[index])
        np.testing.assert_array_equal(face.points, whole.truth[index])
        np.testing.assert_array_equal(face.visible, whole.visible[index])


def test_a_still_of_the_pose_and_expression_of_a_frame_is_that_frame() -> None:
    script, plain = (
        write_script(CLEAN, 5),
        FaceSettings(size=80, noise=0.0, blur=0, low_resolution=0, compression=0, grey=0),
    )
    frames = [render_frame(script, index) for index in (0, 6, 11)]

    def still(face: Face) -> tuple[np.ndarray, np.ndarray]:
        """Drawn from the frame's traits alone, put where its eyes are."""
        head = build_head(face.traits)
        eyes = landmarks(head.at(1.0, np.zeros(2)))[0][[36, 45]]
        scale = np.linalg.norm(face.points[45] - face.points[36]) / np.linalg.norm(eyes[1] - eyes[0])
        geometry = head.at(float(scale), face.points[36] - scale * eyes[0])
        drawing = draw_person(script.random(PERSON), face.traits, geometry, plain, texel=SUPERSAMPLE * script.unit)
        return photograph(script.random(EXPOSURE), drawing.scene.image, plain), landmarks(geometry)[0]

    stills = [still(face) for face in frames]
    for face, (image, points) in zip(frames, stills, strict=True):
        np.testing.assert_allclose(points, face.points, atol=1e-9)
        assert np.abs(image.astype(int) - face.image).mean() < 2.0  # JPEG of quality 100
    assert np.abs(stills[0][0].astype(int) - frames[2].image).mean() > 4.0


@pytest.mark.parametrize("yaw", [18.0, 35.0])
def test_the_truth_moves_as_optical_flow_says_that_the_picture_does(yaw: float) -> None:
    settings = replace(CLEAN, count=5, size=160, yaw=yaw, talking=0.0, blinks=0.0)
    near = [36, 39, 42, 45, 48, 54, 30, 33, 31, 35]  # corners: flow along an edge is not seen
    errors, still = [], []
    for seed in range(4):
        made = render_clip(settings, seed)
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in made.frames]
        start, stop = made.truth[0, near], made.truth[4, near]
        found = start.astype(np.float32)[:, None]
        for before, after in pairwise(grey):
            found, _, _ = cv2.calcOpticalFlowPyrLK(before, after, found, None, winSize=(13, 13), maxLevel=1)
        errors.extend(np.linalg.norm(found[:, 0] - stop, axis=1))
        still.extend(np.linalg.norm(start - stop, axis=1))
    assert np.median(errors) < 0.2 and np.quantile(errors, 0.9) < 0.5  # pixels
    assert np.median(still) > 5 * np.median(errors)


@given(st.integers(0, 2**31), st.floats(0.1, 5.0), st.floats(0.0, 100.0))
def test_a_wave_stays_within_one_and_within_its_band(seed: int, high: float, time: float) -> None:
    wave, step = Wave.draw(np.random.default_rng(seed), 0.2 * high, high), 0.04
    before, now, after = (wave(time + step * at) for at in (-1, 0, 1))
    assert abs(now) <= 1.0 and 0.0 <= wave.share(time) <= 1.0
    assert (0.2 * high <= wave.frequency).all() and (wave.frequency <= high).all()
    assert abs(after - 2 * now + before) <= (2 * np.pi * high * step) ** 2 + 1e-9


@pytest.mark.parametrize("category", [1, 3])
def test_motion_is_smooth(category: int) -> None:
    settings = replace(category_settings(category), passes=0.0)
    coarse, fine = 0.3 + np.arange(16) / 25.0, 0.3 + np.arange(64) / 100.0
    bends = []
    for seed in range(2):
        script = write_script(settings, seed)
        for times in (coarse, fine):
            points = truth_of(script, times)
            bends.append(np.linalg.norm(np.diff(points, 2, axis=0), axis=2).max() / script.unit)
    assert max(bends[::2]) < 0.07  # outer-eye distances per frame and frame
    assert max(bends[1::2]) < 0.25 * max(bends[::2])  # a jump would stay as large
    assert max(bends[::2]) > 0.005


def test_points_move_no_faster_than_heads_do() -> None:
    for category, most in ((1, 0.06), (3, 0.16)):
        script = write_script(replace(category_settings(category), passes=0.0), 8)
        speed = np.linalg.norm(np.diff(truth_of(script, np.arange(30) / 25.0), axis=0), axis=2) / script.unit
        assert speed.mean() > 0.002 and speed.max() < most  # outer-eye distances per frame


def test_pose_place_and_size_stay_within_their_settings() -> None:
    for category in (1, 2, 3):
        settings = category_settings(category)
        script, times = write_script(replace(settings, passes=0.0), 4), np.arange(0.0, 60.0, 0.1).tolist()
        pose = np.array([(p.yaw, p.pitch, p.roll) for p in (script.traits_at(time).pose for time in times)])
        largest = np.array([settings.yaw, settings.pitch, settings.roll])
        assert (np.abs(pose) <= largest).all() and (np.abs(pose).max(0) > 0.6 * largest).all()
        scale, pivot = zip(*(script.place_at(time) for time in times), strict=True)
        assert np.abs(np.array(scale) / script.unit - 1.0).max() <= settings.zoom
        assert np.abs(np.array(pivot) - 79.5).max() <= settings.size * (settings.shift + settings.shake)


def test_the_head_turns_and_grows_about_its_pivot() -> None:
    script = write_script(category_settings(3), 2)
    for time in (0.0, 0.7, 1.9):
        scale, pivot = script.place_at(time)
        projection = script.geometry_at(time).projection
        np.testing.assert_allclose(projection(PIVOT), pivot, atol=1e-9)
        assert projection.unit == pytest.approx(scale)


def test_skin_stays_on_a_face_that_grows() -> None:
    still = dict.fromkeys(("yaw", "pitch", "roll", "shift", "expression", "talking", "blinks"), 0.0)
    script = write_script(replace(CLEAN, size=160, zoom=0.2, turning=1.0, **still), 4)
    small, large = sorted((0.0, 0.4, 0.8, 1.2), key=lambda time: script.place_at(time)[0])[::3]
    (scale, pivot), (grown, moved) = script.place_at(small), script.place_at(large)
    assert grown > 1.1 * scale
    y, x = np.mgrid[0.15:0.5:40j, -0.55:-0.25:34j].astype(np.float32)  # a cheek, in outer-eye distances

    def texture(time: float, size: float, middle: np.ndarray) -> np.ndarray:
        grey = cv2.cvtColor(draw_at(script, time).scene.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        column, row = (SUPERSAMPLE * (middle[axis] + size * at) + 0.5 for axis, at in ((0, x), (1, y)))
        cheek = cv2.remap(grey, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
        return (cheek - cv2.GaussianBlur(cheek, (0, 0), 2.0))[4:-4, 4:-4]

    first, second = texture(small, scale, pivot), texture(large, grown, moved)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.75


def test_the_grain_is_another_in_every_frame() -> None:
    still = dict.fromkeys(("yaw", "pitch", "roll", "shift", "zoom", "expression", "talking", "blinks"), 0.0)
    for grain, low, high in ((0.0, 0.0, 1.0), (8.0, 4.0, 12.0)):
        script = write_script(replace(CLEAN, grain=grain, **still), 3)
        first, second = (render_frame(script, index).image[-20:].astype(float) for index in (0, 1))
        assert low <= (first - second).std() <= high


def test_person_light_and_backdrop_stay() -> None:
    script = write_script(replace(CLEAN, count=100, shift=0.02), 9)
    frames = [render_frame(script, index) for index in (0, 33, 66, 99)]
    for face in frames:
        assert replace(face.traits, pose=script.traits.pose, expression=script.traits.expression) == script.traits
    corner = np.stack([face.image[:10, :6] for face in frames]).astype(float)
    middle = np.stack([face.image[30:50, 30:50] for face in frames]).astype(float)
    assert corner.std(0).mean() < 2.5 < middle.std(0).mean()


def test_a_blink_shuts_the_eyes_and_they_open_again() -> None:
    script = write_script(replace(SMALL, count=250, expression=0.0, talking=0.0), 0)
    assert len(script.motion.blinks) > 0 and (np.diff(script.motion.blinks) > BLINK).all()
    opening = []
    for time in (script.motion.blinks[0], script.motion.blinks[0] - BLINK):
        upper, lower = script.geometry_at(time).anatomy.lids()
        opening.append((lower - upper)[..., 1].max())
    assert opening[0] < 0.3 * opening[1]


def test_a_person_who_talks_moves_the_mouth_and_one_who_does_not_keeps_it_shut() -> None:
    times = np.arange(0.0, 10.0, 0.04).tolist()
    for talking, low, high in ((0.0, 0.0, 1e-9), (1.0, 0.15, 0.5)):
        script = write_script(replace(SMALL, talking=talking), 1)
        jaw = [script.traits_at(time).expression.jaw_drop for time in times]
        assert low <= max(jaw) <= high and min(jaw) >= 0.0


def test_what_passes_hides_points_while_it_is_there_and_only_then(held: Script) -> None:
    (thing,) = held.passes
    free, lost = replace(held, passes=()), 0
    assert thing.kind in HELD and 0.0 <= thing.start < thing.stop <= 2.0
    for index in range(0, 50, 3):
        with_it, without = render_frame(held, index), render_frame(free, index)
        np.testing.assert_array_equal(with_it.points, without.points)
        assert not (with_it.visible & ~without.visible).any()
        if with_it.occluder == "none":
            np.testing.assert_array_equal(with_it.image, without.image)
            np.testing.assert_array_equal(with_it.visible, without.visible)
            continue
        hidden = without.visible & ~with_it.visible
        x, y = np.rint(with_it.points[hidden]).astype(int).T
        changed = np.abs(with_it.image.astype(int) - without.image).max(2)[y, x]
        assert hidden.sum() == 0 or np.mean(changed > 8) > 0.7
        lost += int(hidden.sum())
    assert lost > 20


def test_what_passes_moves_over_the_face_and_comes_and_goes(held: Script) -> None:
    (thing,), free, middles = held.passes, replace(held, passes=()), []
    for share in (0.02, 0.35, 0.5, 0.65, 0.98):
        index = round((thing.start + share * (thing.stop - thing.start)) * 25)
        difference = np.abs(render_frame(held, index).image.astype(int) - render_frame(free, index).image).max(2) > 25
        middles.append(np.argwhere(difference).mean(0) if difference.sum() > 40 else None)
    first, *inside, last = middles
    assert first is None and last is None and all(middle is not None for middle in inside)
    assert np.linalg.norm(inside[2] - inside[0]) > 4.0
    size = held.settings.size
    assert (
        np.linalg.norm(thing.offset(thing.start)) > 0.7 * size and np.linalg.norm(thing.offset(thing.stop)) > 0.7 * size
    )


def test_smearing_blurs_along_the_motion_and_moves_nothing() -> None:
    image, motion = np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60, 2), np.float32)
    cv2.circle(image, (30, 25), 6, (240, 240, 240), -1, cv2.LINE_AA)
    motion[..., 0] = 9.0
    np.testing.assert_array_equal(smear(image, 0.0 * motion), image)
    y, x = np.mgrid[:60, :60]

    def moments(picture: np.ndarray) -> tuple[float, float, float, float]:
        weight = picture[..., 0].astype(float) / picture[..., 0].sum()
        middle = (weight * x).sum(), (weight * y).sum()
        return *middle, (weight * (x - middle[0]) ** 2).sum(), (weight * (y - middle[1]) ** 2).sum()

    sharp, blurred = moments(image), moments(smear(image, motion))
    assert blurred[:2] == pytest.approx(sharp[:2], abs=0.05)
    assert blurred[2] - sharp[2] == pytest.approx(9.0**2 / 12, rel=0.15)  # the variance of an even spread over 9 px
    assert blurred[3] == pytest.approx(sharp[3], rel=0.03)


def test_an_open_shutter_blurs_a_face_that_moves() -> None:
    quick = replace(CLEAN, size=96, shake=0.05, shift=0.1, turning=1.5)

    def detail(shutter: float) -> list[float]:
        script = write_script(replace(quick, shutter=shutter), 2)
        return [cv2.Laplacian(render_frame(script, i).image[30:70, 30:70], cv2.CV_32F).std() for i in range(6)]

    assert np.mean(detail(1.0)) < 0.8 * np.mean(detail(0.0))


def test_categories_rise_in_difficulty() -> None:
    detail, hidden, yaw, clipped = [], [], [], []
    for category in (1, 2, 3):
        settings, marks = replace(category_settings(category), count=50, size=96), []
        for seed in range(8):
            script = write_script(settings, seed)
            for index in (8, 25, 41):
                face = render_frame(script, index)
                grey = cv2.cvtColor(face.image, cv2.COLOR_RGB2GRAY)[28:72, 28:72].astype(np.float32)
                half = cv2.GaussianBlur(grey, (0, 0), 1.0)  # the grain is no detail of the face
                sharp = cv2.Laplacian(half, cv2.CV_32F).std() / grey.std()
                extreme = ((grey < 25) | (grey > 245)).mean()
                marks.append((sharp, 1.0 - face.visible.mean(), abs(face.traits.pose.yaw), extreme))
        for values, value in zip((detail, hidden, yaw, clipped), np.mean(marks, axis=0), strict=True):
            values.append(float(value))
    assert detail[0] > 1.1 * detail[1] > 1.1 * 1.1 * detail[2]
    assert hidden[2] > 0.08 and hidden[2] > 2.0 * max(hidden[:2])
    assert yaw[0] < 0.7 * yaw[1] and yaw[1] < 0.9 * yaw[2]
    assert clipped[2] > clipped[1] > clipped[0]


def still_faces(face: Face, count: int) -> tuple[Script, list[Face]]:
    return write_script(replace(SMALL, count=count, noise=NoiseSettings(habit=0.0)), 6), [face] * count


def test_without_noise_the_annotations_are_the_truth() -> None:
    made = render_clip(replace(SMALL, count=4, noise=NoiseSettings(scale=0.0)), 1)
    np.testing.assert_allclose(made.annotations, made.truth, atol=1e-9)


def test_annotations_deviate_as_in_single_images_but_smoothly(frontal: Face) -> None:
    script, faces = still_faces(frontal, 1500)
    deviation = annotate_frames(script, faces) - frontal.points
    person, rng = make_annotators(1, 0, script.settings.noise)[0], np.random.default_rng(0)
    single = np.stack([annotate(frontal, person, rng, script.settings.noise) for _ in range(300)]) - frontal.points
    for region, members in SCHEME.regions.items():
        size, expected = (values[:, list(members)].std() for values in (deviation, single))
        assert size == pytest.approx(expected, rel=0.15), region
    assert np.diff(deviation, axis=0).std() < 0.15 * deviation.std()
    assert np.diff(deviation, 2, axis=0).std() < 0.05 * deviation.std()
    later = round(3 * script.settings.key_frames * script.settings.rate)
    assert abs(np.corrcoef(deviation[:-later].ravel(), deviation[later:].ravel())[0, 1]) < 0.1


def test_the_annotator_of_a_clip_keeps_his_habits(frontal: Face) -> None:
    script, faces = still_faces(frontal, 60)
    habit = replace(script, settings=replace(script.settings, noise=NoiseSettings(habit=1.0)))
    deviation = annotate_frames(habit, faces) - frontal.points
    assert np.abs(deviation).max() > 0.5 and np.abs(deviation - deviation[0]).max() < 1e-9


def test_deviations_grow_smoothly_where_points_are_hidden(frontal: Face) -> None:
    script, faces = still_faces(frontal, 120)
    covered = replace(frontal, visible=np.zeros(SCHEME.count, bool))
    some = faces[:40] + [covered] * 40 + faces[80:]
    plain, guessed = (annotate_frames(script, shown) - frontal.points for shown in (faces, some))
    eyes = list(SCHEME.regions["eyes"])
    factor = np.linalg.norm(guessed[:, eyes], axis=2).sum(1) / np.linalg.norm(plain[:, eyes], axis=2).sum(1)
    assert factor[:15] == pytest.approx(1.0, abs=0.01) and factor[60] == pytest.approx(2.0, abs=0.05)
    assert np.abs(np.diff(factor)).max() < 0.15


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"category": 4}, "category"),
        ({"count": 0}, "count"),
        ({"rate": 0.0}, "rate"),
        ({"size": 16}, "size"),
        ({"yaw": 90.0}, "yaw"),
        ({"shutter": float("nan")}, "shutter"),
        ({"resolution": 0.0}, "resolution"),
        ({"quality": 101}, "quality"),
        ({"key_frames": 0.0}, "key_frames"),
        ({"noise": NoiseSettings(habit=2.0)}, "noise.habit"),
    ],
)
def test_settings_that_make_no_clip_are_refused(change: dict[str, Any], name: str) -> None:
    with pytest.raises(SemalignError, match=rf"^{name} is .*, which makes no .*; choose [^.]*\S.*\.$"):
        render_clip(replace(ClipSettings(), **change), 0)


def test_other_categories_and_seeds_are_refused() -> None:
    with pytest.raises(SemalignError, match=r"^category is 4, which 300-VW does not have; choose 1, 2 or 3\.$"):
        category_settings(4)
    with pytest.raises(SemalignError, match=r"^seed is -1, which makes no clip; choose 0 or more\.$"):
        write_script(SMALL, -1)


@pytest.mark.parametrize("category", [1, 2, 3])
def test_the_categories_are_good_settings_also_for_short_and_small_clips(category: int) -> None:
    settings = category_settings(category)
    assert settings.category == category
    one = render_clip(replace(settings, count=1, size=32), 0, name="short")
    assert one.frames.shape == (1, 32, 32, 3) and np.isfinite(one.annotations).all() and one.name == "short"
