"""Training of the coordinate regressor and its way back into the image frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import TRAINING, Small, batch_of

from semalign.core.affine import transform_points
from semalign.core.metrics import distances, interocular, nme
from semalign.data.augment import AugmentationSettings
from semalign.errors import SemalignError
from semalign.paper.regression import RegressionTask, WingSettings, predict_regressor, train_regressor
from semalign.paper.regressor import Regressor, RegressorSettings, build_regressor
from semalign.training.task import PictureSource, Task

NETWORK = RegressorSettings(input_size=64, width=8, blocks=(1, 1, 1))
STILL = AugmentationSettings(*[0.0] * 12)  # nothing is changed
LONG = replace(TRAINING, epochs=90, batch_size=10, learning_rate=5e-3, ema=0.8)


def train(small: Small, folder, labels, training=LONG, seed=0) -> Regressor:
    return train_regressor(folder, small.crops, labels, small.dataset.scheme, training, STILL, NETWORK, seed)


def test_it_learns_the_faces_that_it_is_shown_from_the_labels_that_it_is_given(small, tmp_path):
    labels = small.dataset.points() + [3.0, -2.0]
    scheme = small.dataset.scheme
    network = train(small, tmp_path, labels)
    found = predict_regressor(network, small.crops, small.dataset.scheme)
    apart = interocular(labels, scheme)
    mean_face = predict_regressor(
        train(small, tmp_path / "none", labels, replace(LONG, epochs=0)), small.crops, small.dataset.scheme
    )
    begun, error = (float(nme(distances(f.points, labels), apart).mean()) for f in (mean_face, found))
    offset = (found.points - small.dataset.points()).mean(axis=(0, 1))
    assert error < 4.0 < 0.3 * begun
    assert np.abs(offset - [3.0, -2.0]).max() < 1.0
    assert found.points.dtype == np.float64 and np.isnan(found.confidence).all()
    assert not network.training


class Fixed(Regressor):
    """Says the same points of the input frame for every picture, which it checks to be the plain input square."""

    def __init__(self, points: torch.Tensor, pictures: torch.Tensor) -> None:
        super().__init__(NETWORK, points.shape[0])
        self.points, self.pictures, self.done = points, pictures, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert torch.allclose(images, self.pictures[self.done : self.done + len(images)], atol=1e-6)
        self.done += len(images)
        return self.points.expand(len(images), -1, 2)


def test_points_come_back_from_the_input_square_into_each_image(small):
    inset = (small.crops.images.shape[1] - 64) // 2
    squares = small.crops.batch(np.arange(len(small.crops)))[:, :, inset:-inset, inset:-inset]
    points = torch.tensor([[3.25, 60.0], [31.5, 31.5]])
    done: list[int] = []
    found = predict_regressor(
        Fixed(points, squares), small.crops, small.dataset.scheme, batch_size=4, advance=done.append
    )
    expected = (points.double().numpy() + inset)[None].repeat(len(small.crops), axis=0)
    np.testing.assert_allclose(small.crops.to_crop(found.points), expected, atol=1e-5)
    assert done == [4, 4, 2]


def test_a_batch_has_the_points_where_the_augmentation_puts_them(small):
    task = RegressionTask(PictureSource(small.crops, small.dataset.scheme, STILL, 64), WingSettings())
    assert isinstance(task, Task) and len(task) == 10
    rows = np.array([4, 1, 7])
    _, points = batch_of(task, rows, small.labels(), 0, slice(1, 3))
    labels = torch.from_numpy(small.labels()[rows[1:]])
    torch.testing.assert_close(points, transform_points(labels, small.crops.crop_to_input[None]).float())


def test_the_loss_is_wing_for_a_256_pixel_input_whatever_the_input(small):
    task = RegressionTask(PictureSource(small.crops, small.dataset.scheme, STILL, 64), WingSettings(10.0, 2.0))
    target = torch.rand(2, 68, 2) * 64
    small_error = task.loss(target + 1.0, target)  # 4 px of 256
    large_error = task.loss(target - 5.0, target)  # 20 px of 256
    assert float(small_error) * 256 == pytest.approx(10 * np.log(1 + 4 / 2), rel=1e-4)
    assert float(large_error) * 256 == pytest.approx(20 - (10 - 10 * np.log(1 + 10 / 2)), rel=1e-4)


def test_labels_that_are_missing_do_not_stop_it(small, tmp_path):
    labels = small.dataset.points()
    labels[:, 5] = np.nan
    labels[2, 7:30] = np.nan
    network = train(small, tmp_path, labels, replace(LONG, epochs=2))
    assert np.isfinite(predict_regressor(network, small.crops, small.dataset.scheme).points).all()


def test_a_training_that_is_done_is_not_done_again_and_the_seed_counts(small, tmp_path):
    training = replace(LONG, epochs=1)
    labels = small.dataset.points()
    first, again = (train(small, tmp_path / "a", labels, training).state_dict() for _ in range(2))
    other = train(small, tmp_path / "b", labels, training, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["trunk.layers.0.weight"], other["trunk.layers.0.weight"])


def test_crops_of_another_size_are_refused(small, tmp_path):
    settings = replace(NETWORK, input_size=96)
    with pytest.raises(SemalignError, match="input_size is 96, but the crops were made for 64"):
        train_regressor(
            tmp_path, small.crops, small.dataset.points(), small.dataset.scheme, TRAINING, STILL, settings, 0
        )
    with pytest.raises(SemalignError, match="input_size is 96"):
        predict_regressor(build_regressor(settings, 68, 0), small.crops, small.dataset.scheme)


@pytest.mark.parametrize("wrong", [{"width": 0.0}, {"curvature": -1.0}])
def test_a_wing_without_width_or_curvature_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        WingSettings(**wrong)
