"""benchmarks/gpu on a CPU: its loss against the definition, its packed faces, and its commands from end to end at toy size."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.heatmaps import foreground_weights, render_gaussians, weighted_mse
from semalign.errors import SemalignError
from semalign.models.hourglass import build_hourglass

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"
sys.path.insert(0, str(FOLDER))

from experiment import ARMS, Costs, Experiment, Name, scaled  # noqa: E402
from faces import Faces, read_faces, write_faces  # noqa: E402
from learner import Crops, Learner  # noqa: E402
from loss import EnlargedLoss  # noqa: E402
from paper_size import SURE, Plan, plan, seconds_of, sizes  # noqa: E402
from state import PART, State  # noqa: E402

CPU = torch.device("cpu")
TOY = sizes()["toy"]


def ran(script: str, *arguments: str | Path, results: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, FOLDER / script, *map(str, arguments)]
    environment = os.environ | ({} if results is None else {"BENCHMARK_RESULTS": str(results)})
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300, env=environment)


def command(script: str, *arguments: str | Path, results: Path | None = None) -> str:
    """What a script prints; it must end well. Dated files go to the folder `results`."""
    done = ran(script, *arguments, results=results)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(script: str, *arguments: str | Path) -> str:
    """The sentence with which a script refuses."""
    done = ran(script, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic faces, packed by the command."""
    path = tmp_path_factory.mktemp("packed") / "faces.npz"
    assert "32 faces" in command("pack.py", "--synthetic", "24", "8", "--out", path)
    return path


@pytest.fixture(scope="module")
def faces(packed: Path) -> Faces:
    return read_faces(packed)


def experiment(faces: Faces, folder: Path, deadline: float = float("inf")) -> Experiment:
    return Experiment(faces, TOY, State(folder, {"of": "a test"}), CPU, deadline, lambda line: None)


def test_a_bare_machine_needs_no_more_than_the_wheels() -> None:
    """Of Semalign's own dependencies the commands import those that come with PyTorch, NumPy and OpenCV or are fetched."""
    script = f"""
import importlib.metadata, re, sys
sys.path.insert(0, {str(FOLDER)!r})
import torch, numpy, cv2
bare = {{name.partition(".")[0] for name in sys.modules}}
import agreement, estimate, pack, paper_size, speed
plain = lambda name: re.sub("[-_.]+", "-", name).lower()
own = [line for line in importlib.metadata.requires("semalign") if "extra" not in line or "train" in line]
lacking = {{plain(re.match("[A-Za-z0-9_.-]+", line)[0]) for line in own}} - set(map(plain, pack.NEEDED))
owners = importlib.metadata.packages_distributions()
used = {{name.partition(".")[0] for name in sys.modules}} - bare
sys.exit(str(sorted(name for name in used if lacking & set(map(plain, owners.get(name, []))))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr.strip() == "[]"


@settings(max_examples=20)
@given(
    coarse=st.integers(6, 20),
    factor=st.sampled_from([1, 2, 4]),
    sigma=st.floats(0.7, 4.0),
    foreground=st.floats(0.0, 30.0),
    seed=st.integers(0, 100),
)
def test_the_loss_without_enlarging_is_that_of_the_enlarged_maps(
    coarse: int, factor: int, sigma: float, foreground: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    size = coarse * factor
    maps = torch.randn(2, 3, coarse, coarse, generator=generator, dtype=torch.float64).requires_grad_()
    points = torch.rand(2, 3, 2, generator=generator, dtype=torch.float64) * (size + 6) - 3  # some lie outside
    loss = EnlargedLoss(coarse, factor, sigma, foreground, CPU, torch.float64)
    enlarged = maps
    if factor > 1:
        enlarged = F.interpolate(maps, scale_factor=float(factor), mode="bilinear", align_corners=False)
    target = render_gaussians(points, size, sigma)
    wanted = weighted_mse(enlarged, target, foreground_weights(target, foreground))
    found = loss(maps, loss.target(points))
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=0)
    gradients = [torch.autograd.grad(value, maps, retain_graph=True)[0] for value in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8 * float(gradients[1].abs().max()))


def test_a_learner_has_the_gradient_of_the_networks_own_heatmaps(faces: Faces) -> None:
    network = build_hourglass(TOY.network, 68, 0).train()
    learner = Learner(build_hourglass(TOY.network, 68, 0), TOY.start, TOY.heatmap, CPU)
    learner.network.train()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 64, 64, generator=generator)
    points = torch.rand(4, 68, 2, generator=generator) * 31
    target = render_gaussians(points, 32, learner.sigma)
    weight = foreground_weights(target.clone(), TOY.heatmap.foreground_weight)
    wanted = torch.stack([weighted_mse(maps, target, weight) for maps in network(images)]).sum()
    wanted.backward()
    learner.step(images, points, 0.0)
    for own, other in zip(learner.network.parameters(), network.parameters(), strict=True):
        scale = float(other.grad.abs().max())  # type: ignore[union-attr]
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-2, atol=1e-4 * scale + 1e-9)


def test_packed_faces_come_back_as_they_were(faces: Faces, tmp_path: Path) -> None:
    write_faces(tmp_path / "again.npz", faces)
    again = read_faces(tmp_path / "again.npz")
    assert (again.ids, again.name, again.side, again.scheme) == (faces.ids, faces.name, faces.side, faces.scheme)
    for name in ("points", "truth", "test", "folds", "image_to_crop"):
        np.testing.assert_array_equal(getattr(again, name), getattr(faces, name))
    assert set(faces.folds[~faces.test]) == {0, 1} and set(faces.folds[faces.test]) == {-1}


def test_packed_crops_lie_where_the_points_say(faces: Faces) -> None:
    """Enlarged or shrunk, the frames stay those of the images: the box's middle is the crop's."""
    for size in (64, 256):
        crops = Crops(faces.crops(size), faces.scheme.flip_index, CPU)
        points = crops.to_crop(faces.points)
        middle = (points.amin(1) + points.amax(1)) / 2
        torch.testing.assert_close(middle, torch.full_like(middle, (crops.pixels.shape[-1] - 1) / 2))
        np.testing.assert_allclose(crops.to_image(points), faces.points)
        side = (points.amax(1) - points.amin(1)).amax(1)
        torch.testing.assert_close(side, torch.full_like(side, size / 1.25))


def test_a_file_that_is_no_packed_data_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(SemalignError, match=name):
            read_faces(tmp_path / name)
    assert "missing.npz" in refused("paper_size.py", "run", "--packed", tmp_path / "missing.npz", "--state", tmp_path)


@given(epoch=st.floats(0.1, 20.0), look=st.floats(0, 5.0), search=st.floats(0, 20.0), seconds=st.floats(10, 5000))
def test_a_plan_ends_in_time_and_uses_it(epoch: float, look: float, search: float, seconds: float) -> None:
    size, arms, costs = sizes()["paper"], ARMS[:3], Costs(epoch, look, search, prepare=0.0)

    def wanted(start: int, arm: int) -> float:
        return seconds_of(Plan(start, arm), costs, size, arms)

    start, arm = plan(costs, size, arms, seconds)
    assert start <= size.start.epochs and arm <= size.arm.epochs
    if wanted(start, arm) > SURE * seconds:  # not even the fewest fit
        assert (start, arm) == (20, 5)
    elif start < size.start.epochs:
        assert wanted(start + 2, arm + 1) > SURE * seconds


def test_a_schedule_keeps_its_form() -> None:
    paper = sizes()["paper"]
    assert (paper.start.epochs, paper.start.milestones) == (140, (120,))
    assert scaled(paper.start, 70).milestones == (60,)
    assert scaled(paper.arm, 10).milestones == (3, 6, 9)


def test_weights_come_back_rounded_and_a_missing_part_is_named(tmp_path: Path) -> None:
    network = build_hourglass(replace(TOY.network, width=64), 68, 3)
    state = State(tmp_path, {})
    state.save_weights("one", network)
    assert all(path.stat().st_size <= PART for path in tmp_path.glob("*.npy"))
    other = build_hourglass(replace(TOY.network, width=64), 68, 4)
    state.load_weights("one", other)
    for own, given_ in zip(other.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(own, given_.half().float(), rtol=0, atol=0)
    next(iter(tmp_path.glob("*.npy"))).unlink()
    with pytest.raises(SemalignError, match=r"start-one\.\*\.npy"):
        state.load_weights("one", other)


def test_the_state_of_another_comparison_is_refused(tmp_path: Path) -> None:
    State(tmp_path, {"data": "these"}).save()
    with pytest.raises(SemalignError, match="other faces"):
        State(tmp_path, {"data": "those"})


def test_more_noise_is_another_draw_along_the_curves(faces: Faces, tmp_path: Path) -> None:
    made = experiment(faces, tmp_path)
    truth = made.train.truth
    assert truth is not None
    error = {noise: np.linalg.norm(made.annotations(Name(noise, 0)) - truth, axis=2).mean() for noise in (1, 2)}
    assert 1.2 < error[2] / error[1] < 1.65  # √2 for independent draws
    assert not np.array_equal(made.annotations(Name(1, 0)), made.annotations(Name(1, 1)))
    real = experiment(replace(faces, truth=None), tmp_path / "real")
    np.testing.assert_array_equal(real.annotations(Name(1, 0)), real.train.points)


def test_arms_are_the_same_in_one_call_and_in_two(faces: Faces, tmp_path: Path) -> None:
    names = [Name(1, 0)]
    at_once, first = experiment(faces, tmp_path / "a"), experiment(faces, tmp_path / "b")
    for made in (at_once, first):
        assert made.start(names, 2)
    for arm in ("sa", "truth"):
        at_once.arm(names, arm, 2, 2)
    first.arm(names, "sa", 2, 2)
    later = experiment(faces, tmp_path / "b")
    assert later.start(names, 2) and later.state.done("noise1-seed0", "sa")
    later.arm(names, "truth", 2, 2)
    assert set(at_once.state.arrays) == set(later.state.arrays)
    for name, points in at_once.state.arrays.items():
        np.testing.assert_array_equal(later.state.arrays[name], points)


def test_networks_side_by_side_are_those_of_their_own_calls(faces: Faces, tmp_path: Path) -> None:
    together, alone = experiment(faces, tmp_path / "a"), experiment(faces, tmp_path / "b")
    names = [Name(1, 0), Name(2, 0)]
    assert together.start(names, 2)
    together.arm(names, "sa", 1, 2)
    for name in names:
        assert alone.start([name], 2)
        alone.arm([name], "sa", 1, 2)
    for name, points in together.state.arrays.items():
        np.testing.assert_array_equal(alone.state.arrays[name], points)


def test_a_start_that_ran_out_of_time_goes_on(faces: Faces, tmp_path: Path) -> None:
    names = [Name(1, 0)]
    assert not experiment(faces, tmp_path, deadline=time.monotonic()).start(names, 3)
    later = experiment(faces, tmp_path)
    assert later.state.trained("noise1-seed0") == 1
    assert later.start(names, 3)
    assert later.state.trained("noise1-seed0") == 3
    assert [record["epoch"] for record in later.state.content["starts"]["noise1-seed0"]["log"]] == [2, 3]


@pytest.mark.slow
def test_the_whole_comparison_at_toy_size(packed: Path, tmp_path: Path) -> None:
    """The commands as they are typed: run, run again, table."""
    run = (
        "run",
        "--packed",
        packed,
        "--state",
        tmp_path / "state",
        "--size",
        "toy",
        "--noise",
        "1",
        "--epochs",
        "4",
        "2",
    )
    printed = command("paper_size.py", *run, "--seeds", "0", "1", "--arms", *ARMS)
    assert printed.rstrip().endswith("all is trained")
    assert command("paper_size.py", *run, "--arms", *ARMS).count("epoch ") == 0  # nothing is trained twice
    for file in (tmp_path / "state").iterdir():
        assert file.stat().st_size <= PART + 1024
    command("paper_size.py", "table", tmp_path / "state", "--packed", packed, results=tmp_path)
    with next(iter(tmp_path.glob("paper-size-curves_*.csv"))).open() as stream:
        curves = list(csv.DictReader(stream))
    assert {(row["network"], row["stage"]) for row in curves} == {
        (f"noise1-seed{seed}", stage) for seed in (0, 1) for stage in ("start", *ARMS)
    }
    assert [row["epoch"] for row in curves if row["network"] == "noise1-seed0" and row["stage"] == "start"] == [
        "2",
        "4",
    ]
    assert all(float(row["test_nme_interpupil"]) > 0 and float(row["train_nme_interpupil"]) > 0 for row in curves)
    with next(iter(tmp_path.glob("paper-size_*.csv"))).open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["arm"] for row in rows] == ["start", "start", *ARMS, *ARMS, "start", *ARMS]
    assert {row["seed"] for row in rows} == {"0", "1", "mean of 2"}
    assert {row["epochs"] for row in rows if row["arm"] != "start"} == {"4 + 2"}
    state = json.loads((tmp_path / "state" / "state.json").read_text())
    results = np.load(tmp_path / "state" / "results.npz")
    for row in rows:
        assert 0 < float(row["nme_interocular"]) < float(row["nme_interpupil"])
        assert float(row["train_nme_interpupil"]) > 0
        if row["arm"] == "start":
            assert row["epochs"] == "4" and row["difference"] == ""
            continue
        assert float(row["labels_truth_nme_interpupil"]) == pytest.approx(
            0.0 if row["arm"] == "truth" else 2.6, abs=1.0
        )
        if row["arm"] == "annotations":
            assert row["difference"] == "" and float(row["moved_nme_interpupil"]) == 0
        elif row["seed"] != "mean of 2":
            assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
    mean = next(row for row in rows if row["seed"] == "mean of 2" and row["arm"] == "truth")
    parts = [float(row["difference"]) for row in rows if row["arm"] == "truth" and row["seed"] != "mean of 2"]
    assert float(mean["difference"]) == pytest.approx(np.mean(parts), abs=1e-9)
    assert float(mean["difference, sd"]) == pytest.approx(np.std(parts, ddof=1), abs=1e-9)
    assert rows[0]["hardware"] and state["machines"][-1]["device"].endswith("CPU threads")
    assert results["noise1-seed0/sa/labels"].shape == (24, 68, 2)


def test_the_table_of_other_faces_is_refused(packed: Path, tmp_path: Path) -> None:
    State(tmp_path, {"data": "other faces", "size": "toy"}).save()
    assert "other faces" in refused("paper_size.py", "table", tmp_path, "--packed", packed)


@pytest.mark.slow
def test_the_estimate_needs_no_card() -> None:
    printed = command("estimate.py")
    assert "convolution_backward" in printed
    assert "1 network in 9 minutes" in printed and "2 networks in 9 minutes" in printed


@pytest.mark.slow
@pytest.mark.parametrize("what", ["training", "profile", "latency"])
def test_speed_says_what_it_measured(packed: Path, tmp_path: Path, what: str) -> None:
    command("speed.py", what, "--packed", packed, "--toy", "--out", tmp_path / "speed.json")
    command("speed.py", "table", tmp_path / "speed.json", results=tmp_path)
    with next(iter(tmp_path.glob(f"gpu-{what}_*.csv"))).open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows and all(row["hardware"] for row in rows)
    if what == "training":
        shares = [float(row["share of the matrix rate"]) for row in rows if row["share of the matrix rate"]]
        assert len(shares) == 5 and all(share > 0 for share in shares)
    if what == "profile":
        assert sum(float(row["share"]) for row in rows) <= 1.0001
    if what == "latency":
        assert [row["batch"] for row in rows] == ["1", "2", "4"]


@pytest.mark.slow
def test_the_cpu_agrees_with_itself(packed: Path, tmp_path: Path) -> None:
    printed = command("agreement.py", "--packed", packed, "--faces", "8", "--out", tmp_path / "agreement.json")
    assert "within False" not in printed
    rows = json.loads((tmp_path / "agreement.json").read_text())["rows"]
    assert [row["what"] for row in rows if "labels" in row["what"]] == [
        "labels of the paper's search in the same heatmaps",
        "labels of the paper's search",
        "labels of our search in the same heatmaps",
        "labels of our search",
    ]
