"""Rendered faces: reproducible, exact, framed as asked, with cues where the landmarks are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from semalign.schemes import load_scheme
from semalign.synthetic import Face, FaceSettings, contact_sheet, render_face
from semalign.synthetic import render as rendering
from semalign.synthetic.picture import front_picture
from semalign.synthetic.render import Geometry, landmarks, project_face
from semalign.synthetic.scene import Scene
from semalign.synthetic.traits import draw_traits

SCHEME = load_scheme("ibug68")


def same(first: Face, second: Face) -> bool:
    return np.array_equal(first.image, second.image) and np.array_equal(first.points, second.points)


def test_a_seed_gives_the_same_face_again_and_another_seed_another(plain: FaceSettings) -> None:
    first, again, other = (render_face(np.random.default_rng(seed), plain) for seed in (1, 1, 2))
    assert same(first, again) and first.traits == again.traits
    assert not np.array_equal(first.image, other.image) and not np.array_equal(first.points, other.points)


def test_a_face_does_not_depend_on_the_faces_before_it(faces: tuple[Face, ...]) -> None:
    assert same(faces[7], render_face(np.random.default_rng([5, 7]), FaceSettings(size=64)))


def test_every_landmark_lies_on_its_curve(faces: tuple[Face, ...]) -> None:
    for face in faces:
        assert [curve.name for curve in face.curves] == [curve.name for curve in SCHEME.curves]
        for curve in face.curves:
            points = face.points[list(curve.landmarks)]
            np.testing.assert_allclose(curve.slid(np.zeros(len(points))), points, atol=1e-6)
            np.testing.assert_array_equal(curve.line[curve.vertices], points)
            assert (np.diff(curve.positions) >= 0).all()


def test_jaw_landmarks_are_evenly_spaced_from_the_ears_to_the_chin(frontal: Face) -> None:
    positions = frontal.curves[0].positions
    for half in (positions[:9], positions[8:]):
        np.testing.assert_allclose(np.diff(half), np.diff(half).mean(), rtol=1e-3)


@pytest.mark.parametrize("size", [96, 128])
def test_a_larger_image_has_the_truth_scaled_with_it(plain: FaceSettings, size: int) -> None:
    for seed in range(5):
        small = render_face(np.random.default_rng(seed), plain)
        large = render_face(np.random.default_rng(seed), replace(plain, size=size))
        assert large.image.shape == (size, size, 3) and large.image.dtype == np.uint8
        np.testing.assert_allclose((small.points + 0.5) * size / 64 - 0.5, large.points, atol=1e-9)


def test_faces_are_framed_as_asked(faces: tuple[Face, ...]) -> None:
    sides = np.array([np.ptp(face.points, axis=0).max() for face in faces]) / 64
    assert np.abs(sides / FaceSettings().box_share - 1).max() < 0.13
    assert sides.mean() == pytest.approx(FaceSettings().box_share, rel=0.03)
    middles = np.array([0.5 * (face.points.min(0) + face.points.max(0)) for face in faces])
    assert np.abs(middles - 31.5).max() < 64 * 0.06


def test_poses_cover_what_was_asked_and_no_more() -> None:
    poses = [draw_traits(np.random.default_rng(seed), FaceSettings()).pose for seed in range(600)]
    yaw, pitch = np.array([pose.yaw for pose in poses]), np.array([pose.pitch for pose in poses])
    assert 55 < np.abs(yaw).max() <= 60 and np.abs(pitch).max() <= 25
    assert abs(yaw.mean()) < 3 and 0.1 < (np.abs(yaw) > 30).mean() < 0.3


def test_kinds_of_looks_light_and_occluders_all_occur() -> None:
    settings = FaceSettings(size=32, occlusion=0.9)
    faces = [render_face(np.random.default_rng([8, seed]), settings) for seed in range(40)]
    assert {face.occluder for face in faces} == {"none", "hand", "microphone", "strands", "card", "scarf"}
    looks = [draw_traits(np.random.default_rng(seed), settings).look for seed in range(300)]
    assert {look.hair_style for look in looks} == {"bald", "short", "parted", "fringe", "long", "curly"}
    assert {look.glasses for look in looks} == {"none", "clear", "dark"}
    assert {look.beard for look in looks} == {"none", "stubble", "moustache", "full"}
    brightness = [sum(look.skin) / 3 for look in looks]
    assert min(brightness) < 90 and max(brightness) > 200


def test_what_hides_a_point_makes_it_invisible(plain: FaceSettings) -> None:
    frontal = replace(plain, size=48, max_yaw=0.0, max_pitch=0.0, glasses=0.3)
    eyes, brows = list(SCHEME.regions["eyes"]), list(SCHEME.regions["brows"])
    hidden: dict[str, list[Face]] = {"dark": [], "fringe": [], "none": []}
    for seed in range(80):
        face = render_face(np.random.default_rng(seed), frontal)
        look = face.traits.look
        kind = "dark" if look.glasses == "dark" else "fringe" if look.hair_style == "fringe" else "none"
        hidden[kind].append(face)
    assert not any(face.visible[eyes].any() for face in hidden["dark"]) and len(hidden["dark"]) > 3
    assert any(not face.visible[brows].all() for face in hidden["fringe"])
    bare = [face for face in hidden["none"] if face.traits.look.hair_style in ("bald", "short")]
    assert np.mean([face.visible.all() for face in bare]) > 0.9


def test_the_far_side_of_a_turned_head_is_invisible(plain: FaceSettings) -> None:
    far = 0
    for seed in range(400):
        if abs(draw_traits(np.random.default_rng(seed), plain).pose.yaw) > 50:
            face = render_face(np.random.default_rng(seed), plain)
            outer, near = (45, 36) if face.traits.pose.yaw > 0 else (36, 45)
            far += not face.visible[outer]
            assert face.visible[near] or face.traits.look.hair_style in ("long", "curly", "fringe")
    assert far >= 10


def empty_scene(geometry: Geometry) -> Scene:
    traits = draw_traits(np.random.default_rng(0), FaceSettings())
    scene = rendering._empty_scene(np.random.default_rng(0), traits, geometry, FaceSettings(size=128))
    scene.image[:] = 0
    return scene


def shown(scene: Scene) -> np.ndarray:
    return cv2.resize(scene.image[..., 0], (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)


@pytest.mark.parametrize("yaw", [0.0, 35.0, -60.0])
def test_the_jaw_line_is_the_edge_of_what_is_drawn(turned: Callable[[int, float], Geometry], yaw: float) -> None:
    values = []
    for seed in range(5):
        geometry = turned(seed, yaw)
        scene = empty_scene(geometry)
        project_face(scene, front_picture(scene.unit, (255, 255, 255)), geometry)
        points, _ = landmarks(geometry)
        values.append(cv2.remap(shown(scene), points[2:15].astype(np.float32)[:, None], None, cv2.INTER_LINEAR)[:, 0])
    jaw = np.array(values) / 255
    if yaw < 0:
        jaw = jaw[:, 4:]  # the nose stands before the jaw on the far side
    assert np.abs(jaw - 0.5).mean() < 0.1 and np.abs(jaw - 0.5).max() < 0.3  # 0.1 is a tenth of a pixel


@pytest.mark.parametrize(("yaw", "tolerance"), [(0.0, 0.08), (25.0, 0.2), (-45.0, 0.3)])
def test_a_mark_painted_on_a_landmark_is_found_where_the_truth_says(
    turned: Callable[[int, float], Geometry], yaw: float, tolerance: float
) -> None:
    y, x = np.mgrid[:128, :128]
    near = (36, 37, 39, 40, 48, 17, 19) if yaw >= 0 else (45, 44, 42, 47, 54, 26, 24)  # not about to turn away
    errors = []
    for seed in range(3):
        geometry = turned(seed, yaw)
        points, curves = landmarks(geometry)
        for curve in curves[1:]:
            for index, landmark in enumerate(curve.landmarks):
                if landmark not in near:
                    continue
                scene = empty_scene(geometry)
                picture = front_picture(scene.unit, (0, 0, 0))
                picture.disc(geometry.anatomy.curves[curve.name][rendering.STEP * index], 0.03, (255, 255, 255))
                project_face(scene, picture, geometry)
                image = shown(scene)
                found = np.array([(image * x).sum(), (image * y).sum()]) / image.sum()
                errors.append(np.linalg.norm(found - points[landmark]))
    assert len(errors) == 21 and np.median(errors) < tolerance and max(errors) < 4 * tolerance


def test_a_contact_sheet_holds_all_faces(faces: tuple[Face, ...]) -> None:
    bare, marked = (contact_sheet(faces[:7], columns=3, points=points, zoom=2) for points in (False, True))
    assert bare.shape == marked.shape == (3 * 128, 3 * 128, 3)
    assert not np.array_equal(bare[:128, :128], marked[:128, :128]) and not bare[256:, 128:].any()
