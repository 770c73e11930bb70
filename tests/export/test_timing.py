"""The measurement: who takes part, that they take turns, and what is made of the times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import NETWORK

from semalign.export.timing import (
    YARDSTICK,
    BenchSettings,
    Contestant,
    contestants,
    fresh_model,
    measure,
    synthetic_crops,
)
from semalign.models.hourglass import build_hourglass
from semalign.models.network import count_parameters


def contestant(name: str, calls: list[str]) -> Contestant:
    return Contestant(name, "PyTorch", 1, np.zeros((1, 3, 8, 8), np.uint8), lambda _: calls.append(name))


def test_contestants_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []
    reports: list[tuple[int, int]] = []
    # Every call takes a second in the warm-up, then 1, 2, 6 ms for the first contestant and 10 ms for the second.
    durations = iter([1.0, 1.0, 0.001, 0.01, 0.002, 0.01, 0.006, 0.01])

    def ticks() -> Iterator[float]:
        now = 0.0
        for turn in range(4):
            for _ in range(2):
                duration = next(durations)
                yield now
                now += duration
                if turn:
                    yield now

    times = ticks()
    first, second = measure(
        [contestant("a", calls), contestant("b", calls)],
        BenchSettings(rounds=3, warmup=1),
        lambda done, whole: reports.append((done, whole)),
        clock=lambda: next(times),
    )
    assert calls == ["a", "b"] * 4
    assert reports == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (first.milliseconds, second.milliseconds) == pytest.approx((2.0, 10.0))
    assert (first.lower_quartile, first.upper_quartile) == pytest.approx((1.5, 4.0))
    assert first.input_size == 8


def test_threads_are_set_while_measuring_and_put_back() -> None:
    before, seen = torch.get_num_threads(), []
    probe = Contestant("a", "PyTorch", 1, np.zeros((1, 3, 8, 8)), lambda _: seen.append(torch.get_num_threads()))
    measure([probe], BenchSettings(threads=before + 2, rounds=1, warmup=0))
    assert (seen, torch.get_num_threads()) == ([before + 2], before)


def test_pytorch_goes_from_bytes_to_coordinates(tmp_path: Path) -> None:
    (entered,) = contestants({"tiny": fresh_model(NETWORK)}, tmp_path, BenchSettings(), ["PyTorch"])
    points, confidence = entered.run(entered.crop)
    assert (points.shape, confidence.shape) == ((1, 68, 2), (1, 68))
    assert entered.parameters == count_parameters(build_hourglass(NETWORK, 68, 0))
    assert list(tmp_path.iterdir()) == []  # no file is exported that nobody runs


def test_the_yardstick_has_the_shape_it_is_named_after() -> None:
    assert (YARDSTICK.stacks, YARDSTICK.input_size, YARDSTICK.heatmap_size, YARDSTICK.width) == (4, 256, 64, 256)
    assert YARDSTICK.upsampling_factor == 1


def test_crops_are_faces_that_differ() -> None:
    crops = synthetic_crops(64, 2)
    assert (crops.shape, crops.dtype) == ((2, 3, 64, 64), np.uint8)
    assert crops.std() > 10
    assert not np.array_equal(crops[0], crops[1])
