"""The correction unit's training, its calibration and its uses, on a very small world."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import NETWORK, Small, batch_of

from semalign.core.affine import transform_points
from semalign.core.corruption import CorruptionSettings
from semalign.core.fusion import Fusion
from semalign.core.gate import Gate
from semalign.core.heatmaps import decode_heatmaps, render_gaussians
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.inference.heatmaps import predict
from semalign.models.checkpoint import Model
from semalign.models.ghcu import Ghcu, GhcuSettings, build_ghcu, load_ghcu, to_square
from semalign.models.hourglass import StackedHourglass
from semalign.schemes import load_scheme
from semalign.training.correction import (
    MODEL,
    CorrectionSettings,
    CorrectionTask,
    calibrate,
    correct,
    draw_resolutions,
    lower_resolution,
    predict_corrected,
    split_rows,
    train_ghcu,
)
from semalign.training.settings import TrainingSettings
from semalign.training.task import PictureSource
from semalign.training.trainer import Trainer, make_accelerator

UNTOUCHED = CorruptionSettings(group=0.0, single=0.0, height=0.0, floor=0.0)
PLAIN = AugmentationSettings(brightness=0.0, contrast=0.0, colour=0.0, grey=0.0, blur=0.0, occlusion=0.0)
SETTINGS = CorrectionSettings(unit=GhcuSettings(16), copies=2, held_out=0.3, gate_passes=1)
TRAINING = TrainingSettings(epochs=2, batch_size=4, learning_rate=3e-3, warmup=0.5)


class Knowing(StackedHourglass):
    """Its heatmaps show the points that it is told, whatever the picture."""

    def __init__(self, points: torch.Tensor, landmarks: int = 68) -> None:
        super().__init__(NETWORK, landmarks)
        self.points = points

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        size = self.settings.heatmap_size
        return [render_gaussians(self.points.expand(len(images), -1, 2), size, 1.5)]


def task(small: Small, settings: CorrectionSettings, augmentation: AugmentationSettings = PLAIN) -> CorrectionTask:
    source = PictureSource(small.crops, small.dataset.scheme, augmentation, NETWORK.input_size)
    return CorrectionTask(source, small.network().eval(), np.arange(len(small.crops)), settings)


def model(small: Small) -> Model:
    return Model(small.network().eval(), small.dataset.scheme, CropSettings(), 1.5)


def train(small: Small, folder: Path, training: TrainingSettings = TRAINING, seed: int = 5) -> Ghcu:
    return train_ghcu(
        folder, model(small), small.crops, small.labels(), training, SETTINGS, AugmentationSettings(), seed
    )


def same(first: Ghcu, second: Ghcu) -> bool:
    pairs = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    fusions = [
        (ghcu.fusion.covariance, ghcu.fusion.low, ghcu.fusion.distance) for ghcu in (first, second) if ghcu.fusion
    ]
    alike = len(fusions) == 2 and torch.equal(fusions[0][0], fusions[1][0]) and fusions[0][1:] == fusions[1][1:]
    return alike and all(torch.equal(a, b) for a, b in pairs) and first.gate == second.gate


def test_a_batch_holds_every_copy_at_the_units_resolution(small):
    maps, targets = batch_of(task(small, replace(SETTINGS, copies=3)), np.array([0, 4, 7, 9]), small.labels(), seed=1)
    assert maps.shape == (12, 68, 16, 16) and targets.shape == (12, 68, 2)
    assert not maps.requires_grad and targets.dtype == torch.float32
    assert not torch.equal(maps[:4], maps[4:8])


def test_targets_stay_on_the_peaks_when_heatmaps_are_moved_and_mirrored(small):
    """The network shows the un-augmented labels; so do the targets, in every copy of the heatmaps."""
    still = replace(PLAIN, rotation=0.0, scale=0.0, shift=0.0, flip=0.0)
    settings = replace(SETTINGS, unit=GhcuSettings(32), corruption=UNTOUCHED, low_resolution=0.0, copies=5)
    labels = small.labels()
    inset = (small.crops.images.shape[1] - NETWORK.input_size) / 2
    points = torch.from_numpy((labels[:1] - inset + 0.5) / 2 - 0.5).float()
    knowing = replace(task(small, settings, still), base=Knowing(points))
    maps, targets = batch_of(knowing, np.array([0]), labels, seed=3)
    found = decode_heatmaps(maps.contiguous(), 1.5)
    error = (to_square(found.points, 32) - targets).norm(dim=-1)[found.confidence > 0.85]
    assert len(error) > 200 and float(error.max()) < 0.3 / 32
    assert (targets[1:] - targets[:1]).abs().amax(dim=(1, 2)).min() > 0.02  # the copies are moved
    assert all(bool(face[16, 0] > face[0, 0]) for face in targets)  # left and right are exchanged where mirrored
    turn = torch.tensor([float(face[8, 0] - face[27, 0]) for face in targets])
    assert bool((turn > 0).any()) and bool(
        (turn < 0).any()
    )  # the chin is on either side of the nose: some were mirrored


def test_a_processs_share_is_its_part_of_the_batch(small):
    hard = task(small, SETTINGS, AugmentationSettings())
    rows, labels = np.array([0, 4, 7, 9]), small.labels()

    def share(start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        return batch_of(hard, rows, labels, 1, slice(start, stop))

    whole, first, second = share(0, 4), share(0, 2), share(2, 4)
    for index in (0, 1):
        by_copy = [torch.cat([first[index][a : a + 2], second[index][a : a + 2]]) for a in (0, 2)]
        assert torch.allclose(torch.cat(by_copy), whole[index], atol=1e-4)


@pytest.mark.parametrize(("loss", "expected"), [("wing", 10 * math.log1p(2.56 / 2)), ("smooth-l1", 2.56 - 1.0)])
def test_losses_are_in_pixels_of_256_and_absent_landmarks_do_not_count(small, loss, expected):
    chosen = task(small, replace(SETTINGS, loss=loss))
    outputs = torch.zeros(1, 2, 2, requires_grad=True)
    targets = torch.tensor([[[0.01, 0.01], [math.nan, math.nan]]])
    value = chosen.loss(outputs, targets)
    (gradient,) = torch.autograd.grad(value, outputs)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert (gradient[0, 0] != 0).all() and (gradient[0, 1] == 0).all()
    assert chosen.loss(outputs.detach(), torch.full((1, 2, 2), math.nan)).item() == 0


def test_low_resolution_takes_detail_and_keeps_the_mean():
    images = torch.rand(3, 3, 32, 32)
    lowered = lower_resolution(images, torch.tensor([32, 8, 1]))
    assert torch.equal(lowered[0], images[0])
    assert float(lowered[1].std()) < 0.5 * float(images[1].std())
    assert torch.allclose(lowered[2], images[2].mean(dim=(1, 2), keepdim=True).expand(3, 32, 32), atol=1e-5)
    assert float(lowered[1].mean()) == pytest.approx(float(images[1].mean()), abs=0.01)


def test_resolutions_are_lowered_as_often_and_as_far_as_asked():
    settings = CorrectionSettings(low_resolution=0.4, lowest_resolution=0.25)
    sides = draw_resolutions(settings, 4000, 64, torch.Generator().manual_seed(0))
    assert int(sides.min()) == 16 and int(sides.max()) == 64
    assert float((sides < 64).float().mean()) == pytest.approx(0.4, abs=0.03)


def test_held_out_faces_are_no_training_faces():
    taught, aside = split_rows(20, 0.25, 3)
    assert len(aside) == 5 and sorted([*taught, *aside]) == list(range(20))
    assert not np.array_equal(aside, split_rows(20, 0.25, 4)[1])
    assert [len(part) for part in split_rows(2, 0.9, 0)] == [1, 1]


def shape(count: int = 68) -> torch.Tensor:
    """(n, 2) points on a circle around the middle of a 32×32 heatmap."""
    turn = torch.arange(count) / count * 2 * math.pi
    return 15.5 + 9 * torch.stack([turn.cos(), turn.sin()], dim=-1)


def unit_that_knows(gate: Gate | None, fusion: Fusion | None = None) -> Ghcu:
    """A unit that always gives `shape`."""
    network = build_ghcu(GhcuSettings(16), 68, 0, to_square(shape()[None], 32)[0]).eval()
    torch.nn.init.zeros_(network.output.weight)
    return Ghcu(network, load_scheme("ibug68"), gate, fusion)


def failed_heatmaps() -> torch.Tensor:
    """Of `shape`; landmark 3 has failed, landmark 5 is low."""
    shown = shape().clone()
    shown[3] += torch.tensor([8.0, -6.0])
    heatmaps = render_gaussians(shown[None], 32, 1.5)
    heatmaps[0, 3] *= 0.3  # failed: low and elsewhere
    heatmaps[0, 5] *= 0.3  # low, but where it should be
    return heatmaps


def test_correcting_replaces_all_or_what_the_gate_says():
    heatmaps = failed_heatmaps()
    gate = Gate(low=1.0, distance=1.0, offset=1.0)
    whole = correct(unit_that_knows(None), heatmaps, 1.5, "alone")
    assert torch.allclose(whole.points[0], shape(), atol=1e-4) and whole.replaced.all()
    gated = correct(unit_that_knows(gate), heatmaps, 1.5, "gated")
    assert gated.replaced.nonzero().tolist() == [[0, 3]]
    assert torch.allclose(gated.points[0, 3], shape()[3], atol=1e-4)
    assert torch.equal(gated.points[0, 4:], decode_heatmaps(heatmaps, 1.5).points[0, 4:])
    assert torch.allclose(gated.confidence[0, 3:6], torch.tensor([0.3, 1.0, 0.3]), atol=0.1)
    with pytest.raises(SemalignError, match="was not calibrated to be used gated"):
        correct(unit_that_knows(None), heatmaps, 1.5, "gated")


def test_correcting_by_fusion_takes_sure_peaks_and_leaves_lost_ones_to_the_unit_and_their_neighbours():
    """All peaks lie 0.5 px right of where the unit expects them but one, which has failed; the unit errs as a whole."""
    heatmaps = failed_heatmaps().roll(1, dims=-1)
    together = torch.full((2, 68, 68), 0.04**2, dtype=torch.float64) + 1e-8 * torch.eye(68, dtype=torch.float64)
    fusion = Fusion(together, low=10.0, distance=2.0, offset=-4.0)
    unit = unit_that_knows(None, fusion)
    fused = correct(unit, heatmaps, 1.5)
    assert torch.allclose(fused.points[0], shape() + torch.tensor([1.0, 0.0]), atol=0.1)
    assert fused.replaced.all()
    with pytest.raises(SemalignError, match="was not calibrated to be used fused"):
        correct(unit_that_knows(None), heatmaps, 1.5)


def test_calibration_opens_the_gate_for_a_blind_network_and_closes_it_for_one_that_sees(small):
    """The unit gives the labels of one face, shifted by half a pixel; a network that shows them needs no correction."""
    still = replace(PLAIN, rotation=0.0, scale=0.0, shift=0.0, flip=0.0)
    labels = np.repeat(small.labels()[:1], len(small.crops), axis=0)
    inset = (small.crops.images.shape[1] - NETWORK.input_size) / 2
    points = torch.from_numpy((labels[0] - inset + 0.5) / 2 - 0.5).float()
    unit = build_ghcu(GhcuSettings(16), 68, 0, to_square(points[None] + 0.5, 32)[0]).eval()
    torch.nn.init.zeros_(unit.output.weight)
    for shown, opened in ((points, False), (torch.full_like(points, 40.0), True)):
        chosen = replace(task(small, SETTINGS, still), base=Knowing(shown))
        gate, fusion = calibrate(unit, chosen, labels, 1.5, seed=0)
        heatmaps = Knowing(shown)(torch.zeros(1, 3, 64, 64))[-1]
        ghcu = Ghcu(unit, small.dataset.scheme, gate, fusion)
        replaced = correct(ghcu, heatmaps, 1.5, "gated").replaced
        inside = ((points > 1) & (points < 30)).all(-1)
        assert (replaced[0, inside] == opened).all()
        fused = correct(ghcu, heatmaps, 1.5).points[0, inside]
        expected = points + 0.5 if opened else points  # a unit that is wrong by half a pixel everywhere
        assert torch.allclose(fused, expected[inside], atol=0.2)


class Rendered(CorrectionTask):
    """Sees clean Gaussians at the labels, as a perfect network would show them."""

    def seen(self, read, generator, device):
        _, points = super().seen(read, generator, device)
        return render_gaussians(points.float(), NETWORK.heatmap_size, 1.5), points


def test_a_unit_learns_from_corrupted_heatmaps_where_the_points_are(small, tmp_path):
    settings = replace(SETTINGS, copies=8)
    source = PictureSource(small.crops, small.dataset.scheme, PLAIN, NETWORK.input_size)
    learning = Rendered(source, small.network().eval(), np.arange(len(small.crops)), settings)
    training = replace(TRAINING, epochs=8, learning_rate=1e-2, ema=0.0)
    trainer = Trainer(tmp_path, build_ghcu(GhcuSettings(16), 68, 0), make_accelerator(), learning, training, seed=1)
    labels = small.labels()
    trainer.fit(labels)
    assert trainer.records[-1]["loss"] < 0.7 * trainer.records[0]["loss"]
    trainer.network.eval()
    maps, targets = batch_of(learning, np.arange(10), labels, seed=77)
    error = (trainer.network(maps).detach() - targets).norm(dim=-1).mean()
    constant = (targets.mean(dim=0) - targets).norm(dim=-1).mean()
    assert float(error) < 0.8 * float(constant)


def test_a_finished_unit_is_only_read(small, tmp_path):
    ghcu = train(small, tmp_path)
    assert ghcu.gate is not None and ghcu.fusion is not None and not ghcu.network.training
    written = (tmp_path / MODEL).stat().st_mtime_ns
    assert same(train(small, tmp_path), ghcu)
    assert (tmp_path / MODEL).stat().st_mtime_ns == written
    assert same(load_ghcu(tmp_path / MODEL, small.dataset.scheme), ghcu)


def test_the_landmark_network_is_left_alone(small, tmp_path):
    base = model(small)
    before = {name: value.clone() for name, value in base.network.state_dict().items()}
    train_ghcu(tmp_path, base, small.crops, small.labels(), TRAINING, SETTINGS, AugmentationSettings(), 5)
    assert all(torch.equal(before[name], value) for name, value in base.network.state_dict().items())
    assert all(parameter.grad is None for parameter in base.network.parameters())


def test_a_stopped_training_continues_to_the_same_bits_and_the_seed_decides(small, tmp_path):
    whole = train(small, tmp_path / "whole")

    def stop(done: int, note: str) -> None:
        stop.steps += done  # type: ignore[attr-defined]
        if stop.steps > 2:  # type: ignore[attr-defined]  # two steps are the first epoch of seven faces
            raise KeyboardInterrupt

    stop.steps = 0  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        train_ghcu(
            tmp_path / "cut", model(small), small.crops, small.labels(), TRAINING, SETTINGS, AugmentationSettings(), 5,
            advance=stop,
        )  # fmt: skip
    assert not (tmp_path / "cut" / MODEL).exists()
    assert same(train(small, tmp_path / "cut"), whole)
    assert not same(train(small, tmp_path / "other", seed=6), whole)


def test_predictions_come_back_into_the_images(small):
    base = model(small)
    closed, opened = (Gate(low=0.0, distance=0.0, offset=offset) for offset in (-1.0, 1.0))
    plain = predict(base.network, small.crops, base.sigma, base.scheme)
    kept = predict_corrected(base, replace(unit_that_knows(closed), scheme=base.scheme), small.crops, "gated")
    assert np.allclose(kept.points, plain.points, atol=1e-3)
    assert np.allclose(kept.confidence, plain.confidence)
    told: list[int] = []
    taken = predict_corrected(
        base,
        replace(unit_that_knows(opened), scheme=base.scheme),
        small.crops,
        "gated",
        batch_size=4,
        advance=told.append,
    )
    in_input = (shape().double() + 0.5) * 2 - 0.5
    inset = (small.crops.images.shape[1] - NETWORK.input_size) / 2
    in_crop = small.crops.to_crop(taken.points)
    assert np.allclose(in_crop, (in_input + inset).numpy(), atol=1e-3)
    assert sum(told) == len(small.crops)
    assert transform_points(torch.from_numpy(in_crop), small.crops.crop_to_input[None]).shape == (10, 68, 2)


def test_a_unit_for_something_else_is_refused(small, tmp_path):
    base = model(small)
    other = replace(unit_that_knows(None), scheme=load_scheme("aflw19"))
    with pytest.raises(SemalignError, match="landmark scheme 'aflw19'"):
        predict_corrected(base, other, small.crops)
    with pytest.raises(SemalignError, match="heatmaps of 64×64, the network gives 32×32"):
        predict_corrected(base, Ghcu(build_ghcu(GhcuSettings(64), 68, 0), base.scheme), small.crops)
    with pytest.raises(SemalignError, match="input_size must divide"):
        train_ghcu(
            tmp_path, base, small.crops, small.labels(), TRAINING, replace(SETTINGS, unit=GhcuSettings(12)),
            AugmentationSettings(), 0,
        )  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"copies": 0}, {"gate_passes": 0}, {"lowest_resolution": 0.0}, {"held_out": 1.0}, {"held_out": 0.0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        CorrectionSettings(**wrong)
