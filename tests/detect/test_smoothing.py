"""Smoothing: against a loop of weighted polynomials, exact where nothing is noise, less jitter without lag."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.detect.smoothing import OneEuro, SmoothingSettings, smooth_causal, smooth_centred

SETTINGS = SmoothingSettings()
RATE, SIDE = 25.0, 100.0
TIMES = np.arange(150) / RATE


def centred(points: np.ndarray, times: np.ndarray = TIMES, chosen: SmoothingSettings = SETTINGS) -> np.ndarray:
    reach, result = int(chosen.reach * RATE + 1e-6), []
    for row in range(len(points)):
        first, last = max(0, row - reach), row + reach + 1
        part = points[first:last]
        result.append(smooth_centred(part, np.full(part.shape[:2], 0.8), times[first:last], row - first, chosen))
    return np.array(result)


def causal(points: np.ndarray) -> np.ndarray:
    state: OneEuro | None = None
    result = []
    for seen, seconds in zip(points, TIMES.tolist(), strict=True):
        state = smooth_causal(state, seen, seconds, SIDE, SETTINGS)
        result.append(state.points)
    return np.array(result)


def motion(kind: str) -> np.ndarray:
    """(m, 40, 2) true points of a face of 100 pixels."""
    base = np.random.default_rng(1).uniform(0, SIDE, (40, 2))
    if kind == "still":
        return np.repeat(base[None], len(TIMES), axis=0)
    turn = 0.25 * np.sin(2 * np.pi * 0.5 * TIMES)
    spun = (base - 50) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]).transpose(2, 0, 1)
    return spun + 50 + (30 * np.sin(2 * np.pi * 0.8 * TIMES))[:, None, None] * np.array([1.0, 0.4])


@pytest.mark.parametrize("smooth", [centred, causal])
@pytest.mark.parametrize("kind", ["still", "moving"])
def test_jitter_falls_and_nothing_lags(smooth, kind):
    truth = motion(kind)
    seen = truth + np.random.default_rng(0).normal(0, 1.0, truth.shape)
    before, after = (seen - truth)[15:-15], (smooth(seen) - truth)[15:-15]
    jitter = [np.diff(error, axis=0).std() for error in (before, after)]
    assert jitter[1] < (0.35 if smooth is centred else 0.55) * jitter[0]
    assert after.std() < 0.7 * before.std()
    speed = np.gradient(truth, axis=0)[15:-15]
    if kind == "moving":
        lag = -(after * speed).sum() / (speed**2).sum()  # frames
        assert abs(lag) < 0.05


def test_a_blink_keeps_its_course():
    truth = motion("still")
    truth[:, :6, 1] += 8 * np.exp(-(((TIMES - 3) / 0.07) ** 2) / 2)[:, None]
    seen = truth + np.random.default_rng(0).normal(0, 0.3, truth.shape)
    smooth = centred(seen)
    low = smooth[:, :6, 1].mean(axis=1) - truth[0, :6, 1].mean()
    assert low.max() > 6.4  # of 8
    assert abs(int(low.argmax()) - 75) <= 1


@given(data=st.data(), frames=st.integers(4, 9))
@settings(max_examples=20)
def test_without_noise_a_parabola_stays(data, frames):
    coefficients = np.array(data.draw(st.lists(st.floats(-50, 50), min_size=6, max_size=6))).reshape(3, 1, 2)
    row = data.draw(st.integers(0, frames - 1))
    times = np.cumsum(np.array(data.draw(st.lists(st.floats(0.02, 0.03), min_size=frames, max_size=frames))))
    points = sum(coefficients[power] * (times**power)[:, None, None] for power in range(3))
    smooth = smooth_centred(points, np.ones((frames, 1)), times, row, SmoothingSettings(curvature=0.0))
    assert np.allclose(smooth, points[row], atol=1e-6)


@given(seed=st.integers(0, 1000), frames=st.integers(4, 9))
@settings(max_examples=25)
def test_it_is_the_blend_of_two_weighted_fits(seed, frames):
    rng = np.random.default_rng(seed)
    points, confidence = rng.normal(0, 5, (frames, 3, 2)), rng.uniform(0.1, 1, (frames, 3))
    times, row = np.cumsum(rng.uniform(0.02, 0.04, frames)), int(rng.integers(frames))
    unit = SETTINGS.reach * (1 + 1e-9) + np.ptp(times) * 1e-3
    time = (times - times[row]) / unit
    kernel = np.clip(1 - np.abs(time) ** 3, 0, None) ** 3
    lines, curves, bends, spreads, residuals = [], [], [], [], []
    for landmark in range(3):
        weight = kernel * (confidence[:, landmark] + 0.05) ** 2
        weight /= weight.mean()
        if (weight > 1e-9).sum() < 4:
            return
        root = np.sqrt(weight)
        basis = np.stack([np.ones(frames), time, time**2], axis=1)
        line = [np.polyfit(time, points[:, landmark, c], 1, w=root)[-1] for c in range(2)]
        fit = np.array([np.polyfit(time, points[:, landmark, c], 2, w=root)[::-1] for c in range(2)])
        inverse = np.linalg.inv(basis.T @ (weight[:, None] * basis))
        spreads.append((inverse @ (basis.T @ (weight[:, None] ** 2 * basis)) @ inverse)[2, 2])
        residuals.append(weight[:, None] * (points[:, landmark] - basis @ fit.T) ** 2)
        lines.append(line), curves.append(fit[:, 0]), bends.append((fit[:, 2] ** 2).sum())
    noise = np.mean(residuals) * frames / max(frames - 3, 1)
    share = [max(0.0, 1 - SETTINGS.curvature * s * noise / b) for s, b in zip(spreads, bends, strict=True)]
    expected = [w * np.array(c) + (1 - w) * np.array(n) for w, c, n in zip(share, curves, lines, strict=True)]
    assert np.allclose(smooth_centred(points, confidence, times, row, SETTINGS), expected, atol=1e-6)


def test_unsure_frames_count_less():
    points = np.zeros((7, 1, 2))
    points[3] = 10.0
    times = np.arange(7) / RATE
    sure = np.full((7, 1), 0.9)
    unsure = sure.copy()
    unsure[3] = 0.05
    seen = [abs(smooth_centred(points, value, times, 3, SETTINGS)).max() for value in (sure, unsure)]
    assert seen[1] < 0.2 * seen[0]


def test_few_frames_and_frames_of_one_time_come_back_as_they_are():
    points = np.random.default_rng(0).normal(size=(6, 2, 2))
    sure = np.ones((6, 2))
    assert np.array_equal(smooth_centred(points[:3], sure[:3], np.arange(3) / RATE, 1, SETTINGS), points[1])
    assert np.array_equal(smooth_centred(points, sure, np.zeros(6), 2, SETTINGS), points[2])


def test_the_causal_filter_starts_anew_where_time_does_not_go_on():
    points = np.random.default_rng(0).normal(size=(3, 2))
    state = smooth_causal(None, points, 1.0, SIDE, SETTINGS)
    assert np.array_equal(state.points, points)
    assert np.array_equal(smooth_causal(state, points + 5, 1.0, SIDE, SETTINGS).points, points + 5)


def test_the_causal_filter_follows_a_single_landmark():
    state = smooth_causal(None, np.zeros((1, 2)), 0.0, SIDE, SETTINGS)
    assert np.allclose(smooth_causal(state, np.full((1, 2), 9.0), 0.04, SIDE, SETTINGS).points, 9.0)


@pytest.mark.parametrize("wrong", [{"reach": 0.0}, {"min_cutoff": -1.0}, {"most_frames": 0}, {"beta": -1.0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="positive"):
        SmoothingSettings(**wrong)
