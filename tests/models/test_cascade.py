"""The light network of points: where it looks, where its points begin, what its heatmaps say, and what it learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from worlds import TRAINING, Small, small_world

from semalign.core.heatmaps import decode_heatmaps
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropSettings, build_crops
from semalign.models.cascade import STRIDE, CascadeNetwork, CascadeSettings, Stage
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.face_mesh import face_mesh
from semalign.models.network import Located, MirroredPoints, build_network, count_parameters
from semalign.training.settings import HeatmapSettings, TrainingSettings
from semalign.training.task import DOUBT, PointTask, heatmap_task, task_for
from semalign.training.trainer import Trainer, make_accelerator, make_optimizer

SMALL = CascadeSettings(input_size=96, heatmap_size=48, width=16, features=8, hidden=8)
CHOSEN = (33, 263, 1, 61, 291, 152)  # points of the mesh: corners of eyes and mouth, nose, chin


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    small = small_world(folder, count=6)
    return Small(small.dataset, build_crops(small.dataset.samples, CropSettings(1.4, 1.3), 96))


def point_task(world: Small, network: CascadeNetwork) -> PointTask:
    task = task_for(network, world.crops, world.dataset.scheme, HeatmapSettings(), AugmentationSettings())
    assert isinstance(task, PointTask)
    return task


def made(settings: CascadeSettings, landmarks: int) -> CascadeNetwork:
    network = build_network(settings, landmarks, 0)
    assert isinstance(network, CascadeNetwork)
    return network


@given(seed=st.integers(0, 2**31), reach=st.integers(1, 3))
def test_a_stage_sees_what_lies_between_pixels_around_each_point(seed: int, reach: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    side, channels = 12, 3
    features = torch.randn(2, channels, side, side, generator=generator)
    low, high = (reach + 0.5) * STRIDE - 0.5, (side - 1 - reach + 0.5) * STRIDE - 1
    points = low + (high - low) * torch.rand(2, 5, 2, generator=generator)
    stage = Stage(5, channels, reach, 4)
    seen = stage._around(points, features.permute(0, 2, 3, 1).flatten(0, 2), side)
    steps = torch.tensor([(x, y) for y in (-1.0, 0, 1) for x in (-1.0, 0, 1)]) * reach * STRIDE
    where = (points[:, :, None] + steps + 0.5) * 2 / (side * STRIDE) - 1
    expected = functional.grid_sample(features, where, align_corners=False).permute(0, 2, 3, 1).flatten(2)
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


def test_points_beyond_the_border_are_looked_at_from_within_it() -> None:
    stage = Stage(4, 2, 2, 4)
    points = torch.tensor([[[-50.0, 3.0], [500.0, 20.0], [10.0, 1e4], [0.0, 0.0]]])
    assert stage._around(points, torch.randn(100, 2), 10).shape == (1, 4, 18)


def test_the_first_points_begin_as_ridge_regression_from_the_mesh_has_them() -> None:
    with np.load(Path(__file__).with_name("face_mesh.npz")) as kept:
        pictures = torch.from_numpy(kept["pictures"]).permute(0, 3, 1, 2).float() / 255
    generator = torch.Generator().manual_seed(0)
    moved, points = [], []
    with torch.inference_mode():
        mesh = face_mesh()(pictures)[:, CHOSEN, :2]
    for _ in range(60):
        x, y = torch.randint(-16, 17, (2,), generator=generator).tolist()
        moved.append(torch.roll(pictures, (y, x), (2, 3)))
        points.append(mesh + torch.tensor([x, y]))
    known, wanted = torch.cat(moved), torch.cat(points).double()
    network = made(CascadeSettings(input_size=192, heatmap_size=48), len(CHOSEN)).eval()
    gaps = wanted.clone()
    gaps[::3, 1] = torch.nan
    gaps[:, 4] = torch.nan
    network.begin(known[:100].split(20), gaps[:100].numpy())
    with torch.inference_mode():
        found = network.located(known[100:]).points
    there = [0, 1, 2, 3, 5]
    assert float((found[:, there] - wanted[100:, there]).norm(dim=-1).mean()) < 5
    assert float((mesh.mean(0) - wanted[100:])[:, there].norm(dim=-1).mean()) > 8  # what a constant would be off by
    assert bool((found[:, 4] == (192 - 1) / 2).all())  # a landmark that nobody has seen


def test_it_draws_the_mean_of_the_target_under_its_doubt() -> None:
    network = made(CascadeSettings(), 4).eval()
    points = torch.tensor([[[50.3, 80.1], [100.0, 20.5], [79.5, 79.5], [30.0, 130.9]]])
    doubt = torch.tensor([[0.01, 2.0, 5.0, 10.0]])
    network.located = lambda images: Located([points], doubt)  # type: ignore[method-assign]
    (heatmaps,) = network(torch.zeros(1, 3, 160, 160))
    decoded = decode_heatmaps(heatmaps, 1.0)
    torch.testing.assert_close((decoded.points + 0.5) * 4 - 0.5, points, atol=0.02, rtol=0)
    width, height = network.peaks(doubt)
    assert torch.all(width.diff() > 0) and torch.all(height.diff() < 0) and float(height[0, 0]) > 0.999
    generator = torch.Generator().manual_seed(0)
    off = torch.randn(20000, 2, generator=generator) * 5 * (2 / torch.pi) ** 0.5  # whose length has the mean 5
    drawn = torch.exp(-(off**2).sum(1) / (2 * 4.0**2)).mean()  # the target's σ is 4 pixels of the input
    assert float(height[0, 2]) == pytest.approx(float(drawn), rel=0.02)


def test_the_mean_with_the_mirror_image_is_that_of_points_and_the_same_for_both() -> None:
    network = made(SMALL, 5).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for stage in network.stages:
            stage.own.copy_(torch.randn(stage.own.shape, generator=generator) / 4)
        images, flip = torch.rand(3, 3, 96, 96, generator=generator), [1, 0, 2, 4, 3]
        own, other = network.located(images), network.located(images.flip(-1))
        both, mirrored = (MirroredPoints(network, flip).located(one) for one in (images, images.flip(-1)))
    back = other.points[:, flip] * torch.tensor([-1.0, 1.0]) + torch.tensor([95.0, 0.0])
    assert torch.allclose(both.points, (own.points + back) / 2, atol=1e-4)
    assert torch.allclose(both.doubt, (own.doubt + other.doubt[:, flip]) / 2)
    assert torch.allclose(95 - mirrored.points[:, flip, 0], both.points[..., 0], atol=1e-4)


def test_the_default_is_small_and_what_the_mesh_knows_learns_slowly() -> None:
    network = made(CascadeSettings(), 68)
    assert count_parameters(network) < 800_000
    settings = TrainingSettings(pretrained_rate=0.1)
    groups = make_optimizer(network, settings).param_groups
    slow = {p for group in groups if group["share"] == 0.1 for p in group["params"]}
    learned = {name for name, p in network.named_parameters() if p in slow}
    assert learned == {
        n for n, _ in network.named_parameters() if n.split(".")[0] in ["stem", "fine", "coarse", "squeeze", "first"]
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_size": 100},
        {"input_size": 64},
        {"heatmap_size": 24},
        {"reaches": ()},
        {"reaches": (0,)},
        {"reaches": (11,)},
    ],
)
def test_shapes_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        CascadeSettings(**wrong)  # type: ignore[arg-type]


def test_the_loss_is_the_distance_of_every_stage_and_the_doubt_s_likelihood(world: Small) -> None:
    task = point_task(world, made(SMALL, 68))
    labels = torch.tensor([[[10.0, 20.0], [46.0, 20.0], [30.0, 38.0]]])
    unit = 36 / (0.75 * 96)
    first, last = labels + torch.tensor([3.0, 4.0]), (labels + torch.tensor([0.0, 1.0])).requires_grad_()
    doubt = torch.tensor([[1.0, 2.0, 4.0]], requires_grad=True)
    loss = task.loss(Located([first, last], doubt), labels)
    expected = 5 / unit + 1 / unit + DOUBT * float((doubt.detach().log() + 1 / unit / doubt.detach()).mean())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert last.grad is not None and doubt.grad is not None
    assert torch.allclose(last.grad[..., 0], torch.zeros(3)) and bool((last.grad[..., 1] > 0).all())
    gap = labels.clone()
    gap[0, 2] = torch.nan  # the face is as wide without it
    alone = task.loss(Located([p[:, :2].detach() for p in (first, last)], doubt[:, :2].detach()), labels[:, :2])
    with_gap = task.loss(Located([first, last.detach()], doubt.detach()), gap)
    assert float(with_gap) == pytest.approx(float(alone), rel=1e-5)
    nothing = task.loss(Located([first, last], doubt), torch.full_like(labels, torch.nan))
    nothing.backward()
    assert nothing.item() == 0.0 and bool(last.grad.isfinite().all())


def trainer(folder: Path, world: Small, epochs: int) -> Trainer[CascadeNetwork]:
    network = made(SMALL, world.dataset.scheme.count)
    training = TrainingSettings(epochs=epochs, batch_size=TRAINING.batch_size, warmup=0.5, ema=0.0)
    return Trainer(folder, network, make_accelerator(), point_task(world, network), training, seed=3)


def test_it_is_trained_on_points_and_goes_on_to_the_same_bits(world: Small, tmp_path: Path) -> None:
    labels, whole = world.labels(), trainer(tmp_path / "whole", world, 3)
    whole.fit(labels)
    assert whole.records[-1]["loss"] < whole.records[0]["loss"]
    part = trainer(tmp_path / "part", world, 3)
    part.train_epoch(labels)
    again = trainer(tmp_path / "part", world, 3)
    assert again.resume() and again.epoch == 1
    again.fit(labels)
    one, other = whole.averaged.state_dict(), again.averaged.state_dict()
    assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_other_networks_are_trained_on_heatmaps(world: Small) -> None:
    task = task_for(world.network(), world.crops, world.dataset.scheme, HeatmapSettings(), AugmentationSettings())
    assert type(task) is type(
        heatmap_task(world.crops, world.dataset.scheme, SMALL, HeatmapSettings(), AugmentationSettings())
    )


def test_a_model_file_holds_it(world: Small, tmp_path: Path) -> None:
    network, scheme = made(SMALL, 68).eval(), world.dataset.scheme
    path = tmp_path / "model.safetensors"
    save_model(path, Model(network, scheme, CropSettings(1.4, 1.3), 1.2, {}))
    again, picture = load_model(path).network, torch.rand(2, 3, 96, 96)
    assert again.settings == SMALL

    def seen(which: object) -> Tensor:
        assert isinstance(which, CascadeNetwork)
        with torch.inference_mode():
            return which.located(picture).points

    assert torch.equal(seen(again), seen(network))
