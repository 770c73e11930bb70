"""The shape model against least squares done another way, and its fit to heatmaps against known shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semalign.core.heatmaps import decode_heatmaps, render_gaussians
from semalign.errors import SemalignError
from semalign.paper.shape_fit import ShapeFitSettings, _levels, _mean_shift, _robust_fit, fit_to_heatmaps
from semalign.paper.shape_model import ShapeFit, ShapeModel

POINTS, MODES, SIZE, SIGMA = 40, 5, 64, 1.5
SPREADS = np.array([0.12, 0.08, 0.06, 0.05, 0.03])  # of the components; the face's radius is about 1
SETTINGS = ShapeFitSettings()


def planted(rng: np.random.Generator, faces: int) -> np.ndarray:
    """Faces of a known model, complex: a disc of points, bent by smooth components, moved by similarities."""
    fixed = np.random.default_rng(7)
    angle, radius = fixed.uniform(0, 2 * math.pi, POINTS), np.sqrt(fixed.uniform(0.05, 2.0, POINTS))
    mean = radius * np.exp(1j * angle)
    waves = np.exp(1j * (fixed.normal(0, 1.2, (MODES, 1)) * mean.real + fixed.normal(0, 1.2, (MODES, 1)) * mean.imag))
    components = waves * np.exp(1j * fixed.uniform(0, 2 * math.pi, (MODES, 1)))
    shapes = mean + (rng.normal(size=(faces, MODES)) * SPREADS) @ components
    pose = rng.uniform(14, 17, (faces, 1)) * np.exp(1j * rng.normal(0, 0.2, (faces, 1)))
    return shapes * pose + (SIZE - 1) / 2 * (1 + 1j) + rng.normal(0, 1, (faces, 2)) @ np.array([[1], [1j]])


def plane(points: np.ndarray) -> np.ndarray:
    return np.stack([points.real, points.imag], axis=-1)


def flat(points: np.ndarray) -> np.ndarray:
    return points[..., 0] + 1j * points[..., 1]


def error(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of each face."""
    return np.linalg.norm(points - truth, axis=2).mean(axis=1)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return plane(planted(np.random.default_rng(0), 300))


@pytest.fixture(scope="module")
def model(faces: np.ndarray) -> ShapeModel:
    return ShapeModel.fit(faces, components=MODES)


def members(model: ShapeModel, count: int, seed: int = 1) -> np.ndarray:
    """Shapes of the model itself, where faces are."""
    rng = np.random.default_rng(seed)
    shapes = plane(planted(rng, count))
    return model.project(shapes, limit=2.0).points


def test_the_planted_components_are_found(faces: np.ndarray) -> None:
    model = ShapeModel.fit(faces, explained=0.98)
    assert 3 <= len(model.eigenvalues) <= MODES
    assert ShapeModel.fit(faces, components=MODES).explained > 0.98
    flattened = model.components.reshape(len(model.components), -1)
    np.testing.assert_allclose(flattened @ flattened.T, np.eye(len(flattened)), atol=1e-10)
    assert (np.diff(model.eigenvalues) <= 0).all()


def test_the_mean_is_centred_of_unit_size_and_upright(faces: np.ndarray) -> None:
    model = ShapeModel.fit(faces, components=3)
    np.testing.assert_allclose(model.mean.mean(axis=0), 0, atol=1e-12)
    assert (model.mean**2).sum(axis=1).mean() == pytest.approx(1)
    maps = model.place(faces).model_to_target
    turns = np.arctan2(maps[:, 1, 0], maps[:, 0, 0])
    assert abs(np.angle(np.exp(1j * turns).sum())) < 0.02


def test_components_neither_move_nor_turn_nor_scale(model: ShapeModel) -> None:
    components, mean = flat(model.components), flat(model.mean)
    assert np.abs(components.sum(axis=1)).max() < 1e-9
    assert np.abs(components @ mean.conj()).max() < 1e-6


@pytest.mark.parametrize("explained", [0.5, 0.8, 0.95, 1.0])
def test_components_are_as_many_as_the_share_needs(faces: np.ndarray, explained: float) -> None:
    rng = np.random.default_rng(3)
    noisy = faces + rng.normal(0, 0.1, faces.shape)
    model = ShapeModel.fit(noisy, explained)
    count = len(model.eigenvalues)
    assert model.explained >= explained - 1e-9
    assert ShapeModel.fit(noisy, components=count - 1).explained < explained
    every = ShapeModel.fit(noisy, components=1000)
    assert len(every.eigenvalues) == 2 * POINTS - 4  # what similarities leave
    assert model.explained == pytest.approx(every.eigenvalues[:count].sum() / every.eigenvalues.sum())


def test_a_model_without_components_is_the_mean(faces: np.ndarray) -> None:
    model = ShapeModel.fit(faces, components=0)
    assert model.explained == 0.0
    np.testing.assert_allclose(model.project(faces).points, model.place(faces).points, atol=1e-9)


def test_coefficients_are_in_standard_deviations(faces: np.ndarray, model: ShapeModel) -> None:
    coefficients = model.project(faces, limit=100.0).coefficients
    np.testing.assert_allclose(coefficients.std(axis=0), 1, atol=0.1)


def oracle(model: ShapeModel, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nearest shape of one face by dense least squares, pose and coefficients in turn until neither changes."""
    target, root = flat(points), np.sqrt(weights)
    basis = flat(model.components) * np.sqrt(model.eigenvalues)[:, None]
    coefficients = np.zeros(len(basis))
    for _ in range(300):
        shape = flat(model.mean) + coefficients @ basis
        design = np.stack([shape, np.ones_like(shape)], axis=1) * root[:, None]
        scale, shift = np.linalg.lstsq(design, target * root, rcond=None)[0]
        columns = (scale * basis * root).T
        rest = (target - shift - scale * flat(model.mean)) * root
        real = np.concatenate([columns.real, columns.imag]), np.concatenate([rest.real, rest.imag])
        coefficients = np.linalg.lstsq(*real, rcond=None)[0]
    return plane(scale * (flat(model.mean) + coefficients @ basis) + shift)


def test_projection_is_least_squares(model: ShapeModel, faces: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    points = faces[:6] + rng.normal(0, 3, faces[:6].shape)
    weights = rng.uniform(0, 1, points.shape[:2]) ** 3
    found = model.project(points, weights, limit=1000.0).points
    expected = np.stack([oracle(model, *pair) for pair in zip(points, weights, strict=True)])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_coefficients_are_clamped_and_the_pose_fits_the_clamped_shape(model: ShapeModel) -> None:
    strange = model.synthesize(np.eye(MODES)[:2] * 6, np.array([[[15.0, 2, 30], [-2, 15, 28]]] * 2))
    fit = model.project(strange, limit=3.0)
    np.testing.assert_allclose(np.abs(fit.coefficients).max(axis=1), 3.0)
    best = error(fit.points, strange)
    for step in np.eye(4):
        a, b, x, y = 0.01 * step
        maps = fit.model_to_target + np.array([[a, -b, x], [b, a, y]])
        squared = ((model.synthesize(fit.coefficients, maps) - strange) ** 2).sum(axis=(1, 2))
        assert (squared > ((fit.points - strange) ** 2).sum(axis=(1, 2))).all()
    assert (best > 0.1).all()


@given(st.integers(0, 10_000), st.floats(0.5, 3.0))
def test_projection_is_idempotent(model: ShapeModel, seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    points = plane(planted(rng, 2)) + rng.normal(0, 2, (2, POINTS, 2))
    once = model.project(points, rng.uniform(0.2, 1, (2, POINTS)), limit)
    twice = model.project(once.points, limit=limit)
    np.testing.assert_allclose(twice.points, once.points, atol=1e-6)
    np.testing.assert_allclose(twice.coefficients, once.coefficients, atol=1e-6)


@given(
    st.integers(0, 10_000),
    st.floats(0.1, 10.0),
    st.floats(-math.pi, math.pi),
    st.floats(-500, 500),
    st.floats(-500, 500),
)
def test_projection_moves_with_the_points(
    model: ShapeModel, seed: int, scale: float, angle: float, x: float, y: float
) -> None:
    rng = np.random.default_rng(seed)
    points = planted(rng, 2) + rng.normal(0, 2, (2, POINTS))
    weights = rng.uniform(0, 1, (2, POINTS))
    turn, shift = scale * np.exp(1j * angle), complex(x, y)
    plain = model.project(plane(points), weights)
    moved = model.project(plane(points * turn + shift), weights)
    np.testing.assert_allclose(moved.points, plane(flat(plain.points) * turn + shift), atol=1e-6 * (1 + scale))
    np.testing.assert_allclose(moved.coefficients, plain.coefficients, atol=1e-6)


def test_points_without_weight_and_absent_points_do_not_count(model: ShapeModel) -> None:
    truth = members(model, 3)
    points, weights = truth.copy(), np.ones(truth.shape[:2])
    points[:, ::4] = 1e4
    weights[:, ::4] = 0.0
    np.testing.assert_allclose(model.project(points, weights).points, truth, atol=1e-6)
    points[:, ::4] = np.nan
    np.testing.assert_allclose(model.project(points).points, truth, atol=1e-6)


def test_too_few_points_leave_the_components_at_the_mean(model: ShapeModel) -> None:
    truth = model.place(members(model, 2)).points
    weights = np.zeros(truth.shape[:2])
    weights[:, [3, 20]] = 1.0
    np.testing.assert_allclose(model.project(truth, weights).points, truth, atol=1e-3)


def test_garbage_gives_a_finite_shape(model: ShapeModel) -> None:
    points = np.random.default_rng(0).uniform(0, SIZE, (50, POINTS, 2))
    fit = model.project(points)
    assert np.isfinite(fit.points).all()
    assert np.abs(fit.coefficients).max() <= 3.0


def test_a_step_finds_the_most_probable_shape(model: ShapeModel) -> None:
    """At the end of the steps the gradient of Σ w·‖t - x‖² + noise²·‖c‖² vanishes, by differences of the definition."""
    rng = np.random.default_rng(5)
    targets = plane(planted(rng, 3)) + rng.normal(0, 2, (3, POINTS, 2))
    weights, noise = rng.uniform(0, 1, targets.shape[:2]), np.array([0.5, 2.0, 5.0])
    fit = model.place(targets, weights)
    for _ in range(30):
        fit = model.step(fit, targets, weights, noise)

    def cost(coefficients: np.ndarray, maps: np.ndarray) -> np.ndarray:
        squared = ((model.synthesize(coefficients, maps) - targets) ** 2).sum(axis=2)
        return (weights * squared).sum(axis=1) + noise**2 * (coefficients**2).sum(axis=1)

    for change in np.eye(MODES) * 1e-3:
        up, down = (cost(fit.coefficients + sign * change, fit.model_to_target) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-3, 0, atol=1e-4)
    for a, b, x, y in np.eye(4) * 1e-3:
        change = np.array([[a, -b, x], [b, a, y]])
        up, down = (cost(fit.coefficients, fit.model_to_target + sign * change) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-3, 0, atol=1e-4)


def test_a_model_survives_as_arrays(model: ShapeModel, tmp_path) -> None:
    np.savez(tmp_path / "model.npz", **model.to_arrays())
    with np.load(tmp_path / "model.npz") as arrays:
        back = ShapeModel.from_arrays(arrays)
    assert np.array_equal(back.mean, model.mean)
    assert np.array_equal(back.components, model.components)
    assert np.array_equal(back.eigenvalues, model.eigenvalues)
    assert back.explained == model.explained


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, "no array 'mean'"),
        ({"eigenvalues": np.ones(3)}, "do not go together"),
        ({"mean": np.zeros(())}, "do not go together"),
        ({"mean": np.full((POINTS, 2), np.nan)}, "not finite"),
    ],
)
def test_bad_arrays_are_told(model: ShapeModel, change: dict, message: str) -> None:
    arrays = {name: array for name, array in {**model.to_arrays(), **change}.items() if array is not None}
    with pytest.raises(SemalignError, match=message):
        ShapeModel.from_arrays(arrays)


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda faces: faces[:1], {}, "two faces"),
        (lambda faces: np.where(faces > 40, np.nan, faces), {}, "not finite"),
        (lambda faces: faces * 0, {}, "coincide"),
        (lambda faces: faces, {"explained": 98.0}, "make no sense"),
        (lambda faces: faces, {"components": -1}, "make no sense"),
    ],
)
def test_bad_faces_are_told(faces: np.ndarray, spoil, options: dict, message: str) -> None:
    with pytest.raises(SemalignError, match=message):
        ShapeModel.fit(spoil(faces), **options)


def test_bad_points_are_told(model: ShapeModel, faces: np.ndarray) -> None:
    with pytest.raises(SemalignError, match=f"{POINTS} landmarks and the faces have 7"):
        model.project(faces[:, :7])
    with pytest.raises(SemalignError, match="face 1 has no two points apart"):
        model.project(faces[:2], np.stack([np.ones(POINTS), np.eye(POINTS)[0]]))
    with pytest.raises(SemalignError, match="not negative"):
        model.project(faces[:2], np.full((2, POINTS), -1.0))


# --- the fit to heatmaps -------------------------------------------------------------------------------------------


def maps_of(points: np.ndarray, size: int = SIZE, sigma: float = SIGMA) -> torch.Tensor:
    return render_gaussians(torch.from_numpy(points), size, sigma).float()


def spoilt(truth: np.ndarray, missing: int, displaced: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Heatmaps of which so many are empty and so many peak 6 to 20 px away; and which landmarks are spoilt."""
    rng = np.random.default_rng(seed)
    points, bad = truth.copy(), np.zeros(truth.shape[:2], bool)
    empty = np.zeros_like(bad)
    for face in range(len(truth)):
        chosen = rng.permutation(POINTS)[: missing + displaced]
        bad[face, chosen] = True
        empty[face, chosen[:missing]] = True
        turn = rng.uniform(0, 2 * math.pi, displaced)
        shift = rng.uniform(6, 20, (displaced, 1)) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        points[face, chosen[missing:]] += shift
    heatmaps = maps_of(points)
    heatmaps[torch.from_numpy(empty)] = 0.0
    return heatmaps, bad


@pytest.mark.parametrize(("size", "sigma"), [(64, 1.5), (96, 1.5), (128, 1.5), (256, 3.0)])
def test_clean_heatmaps_give_the_shape(model: ShapeModel, size: int, sigma: float) -> None:
    truth = (members(model, 4) + 0.5) * size / SIZE - 0.5
    found = fit_to_heatmaps(model, maps_of(truth, size, sigma), sigma, SETTINGS).numpy()
    assert error(found, truth).max() < 0.1


def test_missing_and_displaced_peaks_are_put_back(model: ShapeModel) -> None:
    truth = members(model, 30)
    heatmaps, bad = spoilt(truth, missing=POINTS // 5, displaced=POINTS // 10)
    found = fit_to_heatmaps(model, heatmaps, SIGMA, SETTINGS).double().numpy()
    decoded = decode_heatmaps(heatmaps, SIGMA)
    plain = model.project(decoded.points.double().numpy(), decoded.confidence.double().numpy()).points
    distance = np.linalg.norm(found - truth, axis=2)
    assert distance[bad].mean() < 0.2
    assert distance.max() < 1.0
    assert error(found, truth).mean() < 0.2 * error(plain, truth).mean()


def test_the_start_already_leaves_stray_peaks_out(model: ShapeModel) -> None:
    truth = members(model, 30)
    decoded = decode_heatmaps(spoilt(truth, missing=8, displaced=8)[0], SIGMA)
    peaks, weights = decoded.points.double().numpy(), decoded.confidence.double().numpy()
    start = _robust_fit(model, peaks, weights, noise=0.25, steps=15)
    assert error(start.points, truth).mean() < 0.2
    assert error(model.project(peaks, weights).points, truth).mean() > 1.0


@pytest.mark.parametrize("blur", [4.0, 6.0, 8.0, 16.0])
def test_a_clean_peak_has_height_1_and_pulls_in_proportion_at_every_blur(blur: float) -> None:
    """The blurred Gaussian's value and slope are known: reducing the map adds the variance of a square of pixels."""
    sigma, size = 4.0, 128
    truth = np.array([[[60.3, 66.8]]])
    (level,) = _levels(maps_of(truth, size, sigma), (blur,), sigma)
    variance = sigma**2 + (level.factor**2 - 1) / 12
    for away in ([0.0, 0.0], [2.0, -1.0], [-4.0, 3.0]):
        shift, height = _mean_shift(level, truth + away)
        squared = away[0] ** 2 + away[1] ** 2
        assert height.item() == pytest.approx(math.exp(-squared / (2 * (variance + blur**2))), rel=0.01)
        np.testing.assert_allclose(
            shift[0, 0], -np.array(away) * blur**2 / (variance + blur**2), atol=0.02 * level.factor
        )


def test_a_few_displaced_peaks_of_half_a_region_are_put_back(model: ShapeModel) -> None:
    """Neighbours that move together look like a shape, but not like one of the model."""
    truth = members(model, 10)
    points = truth.copy()
    for face in range(len(truth)):
        near = np.linalg.norm(truth[face] - truth[face, 0], axis=1).argsort()[:5]
        points[face, near] += [7.0, -4.0]
    found = fit_to_heatmaps(model, maps_of(points), SIGMA, SETTINGS).numpy()
    assert error(found, truth).max() < 0.3
    assert error(points, truth).min() > 0.9


def test_weak_peaks_count_beside_noise(model: ShapeModel) -> None:
    truth = members(model, 10)
    generator = torch.Generator().manual_seed(0)
    heatmaps = 0.4 * maps_of(truth) + 0.02 * torch.randn(10, POINTS, SIZE, SIZE, generator=generator)
    found = fit_to_heatmaps(model, heatmaps, SIGMA, SETTINGS).numpy()
    assert error(found, truth).max() < 0.25


def brute_force(
    model: ShapeModel, heatmaps: np.ndarray, coefficients: np.ndarray, maps: np.ndarray, settings: ShapeFitSettings
) -> float:
    """The objective of shape_fit's docstring at one image and the last blur, by sums over the whole map."""
    scale = SIZE / 256
    blur = max(settings.blurs[-1] * scale, SIGMA)
    grid = np.arange(SIZE)
    total = 0.0
    for heatmap, (x, y) in zip(heatmaps, model.synthesize(coefficients, maps)[0], strict=True):
        window = np.exp(-((grid[:, None] - y) ** 2 + (grid[None] - x) ** 2) / (2 * blur**2))
        area = 2 * math.pi * SIGMA**2 * blur**2 / (SIGMA**2 + blur**2)
        total += math.log(settings.floor + (window * heatmap).sum() / area)
    prior = (settings.noise * scale) ** 2 / (SIGMA**2 + blur**2)
    return total - prior * float((coefficients**2).sum()) / 2


def test_the_result_is_a_maximum_of_the_objective(model: ShapeModel) -> None:
    truth = members(model, 1, seed=8)
    heatmaps, _ = spoilt(truth + np.random.default_rng(0).normal(0, 0.5, truth.shape), missing=6, displaced=4)
    settings = ShapeFitSettings(iterations=500, tolerance=1e-6, noise=4.0)
    found = fit_to_heatmaps(model, heatmaps.double(), SIGMA, settings).numpy()
    fit = ShapeFit(*model.project(found, limit=100.0))
    np.testing.assert_allclose(fit.points, found, atol=1e-5)
    maps = heatmaps[0].double().numpy()
    best = brute_force(model, maps, fit.coefficients, fit.model_to_target, settings)
    for change in np.concatenate([np.eye(MODES), -np.eye(MODES)]) * 0.02:
        assert brute_force(model, maps, fit.coefficients + change, fit.model_to_target, settings) < best
    for a, b, x, y in np.concatenate([np.eye(4), -np.eye(4)]) * 0.03:
        moved = fit.model_to_target + np.array([[a, -b, x], [b, a, y]])
        assert brute_force(model, maps, fit.coefficients, moved, settings) < best


def test_images_do_not_influence_each_other_beyond_the_tolerance(model: ShapeModel) -> None:
    heatmaps, _ = spoilt(members(model, 4), missing=8, displaced=4)
    settings = ShapeFitSettings(tolerance=1e-4, iterations=200)
    together = fit_to_heatmaps(model, heatmaps, SIGMA, settings)
    alone = torch.cat([fit_to_heatmaps(model, heatmap[None], SIGMA, settings) for heatmap in heatmaps])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)


def test_an_image_that_shows_nothing_keeps_its_peaks_and_spoils_no_other(model: ShapeModel) -> None:
    truth = members(model, 2)
    heatmaps = maps_of(truth)
    heatmaps[0] = 0.0
    found = fit_to_heatmaps(model, heatmaps, SIGMA, SETTINGS)
    assert torch.equal(found[0], torch.zeros(POINTS, 2))
    assert error(found[1:].numpy(), truth[1:]).max() < 0.1
    assert torch.equal(fit_to_heatmaps(model, heatmaps[:1], SIGMA, SETTINGS), torch.zeros(1, POINTS, 2))


def test_a_map_of_nan_is_a_missing_peak(model: ShapeModel) -> None:
    truth = members(model, 2)
    heatmaps = maps_of(truth)
    heatmaps[0, 3] = float("nan")
    found = fit_to_heatmaps(model, heatmaps, SIGMA, SETTINGS).numpy()
    assert np.linalg.norm(found - truth, axis=2).max() < 0.1


def test_maps_need_not_be_square_nor_float32(model: ShapeModel) -> None:
    truth = members(model, 2) - [0.0, 4.0]
    heatmaps = maps_of(truth)[:, :, :57]
    found = fit_to_heatmaps(model, heatmaps.half(), SIGMA, SETTINGS)
    assert found.dtype == torch.float32
    assert error(found.numpy(), truth).max() < 0.1


def test_reducing_the_maps_moves_nothing(model: ShapeModel) -> None:
    """Odd sizes leave half a square of pixels over at each halving."""
    size, sigma = 251, 3.0
    truth = (members(model, 3) + 0.5) * size / SIZE - 0.5
    settings = ShapeFitSettings(blurs=(16.0,), noise=0.1)
    found = fit_to_heatmaps(model, maps_of(truth, size, sigma), sigma, settings).numpy()
    assert np.linalg.norm(found - truth, axis=2).max() < 0.02


@pytest.mark.parametrize(
    "wrong", [{"blurs": ()}, {"blurs": (4.0, 0.0)}, {"noise": 0.0}, {"floor": -0.1}, {"iterations": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="must"):
        ShapeFitSettings(**wrong)
