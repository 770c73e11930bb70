"""The face mesh trained on by the commands: it learns in a few steps, and a stopped training ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from semalign.core.metrics import mean_errors
from semalign.data import open_dataset
from semalign.data.crops import build_crops
from semalign.inference import Landmarker
from semalign.models.checkpoint import load_model
from semalign.pipeline import load_recipe, train
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset
from semalign.training.trainer import Trainer

FACES = SynthesisSettings(count=60, test_count=12, seed=0, face=FaceSettings(size=128))
TINY = (
    "crop={scale=1.6, margin=1.25}",
    "network={kind='mesh'}",
    "heatmap.sigma=4.8",
    "start={epochs=2, batch_size=10, learning_rate=5e-4}",
    "label_adaptation.components=[]",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mesh")
    write_dataset(out / "data", FACES, workers=1)
    train(load_recipe("demo", TINY), out / "data", out / "whole")
    return out


def test_a_few_steps_make_a_detector(trained):
    model = load_model(trained / "whole" / "model.safetensors")
    faces = open_dataset(trained / "data").select(split="test")
    truth = np.stack([faces.truth[name] for name in faces.ids()])
    crops = build_crops(faces.samples, model.crop, model.input_size)
    assert mean_errors(Landmarker(model).on_crops(crops).points, truth, model.scheme)["nme_interocular"] < 10


def test_a_stopped_training_ends_as_one_that_was_not(trained, tmp_path, monkeypatch):
    whole = Trainer.train_epoch

    def stopped(self: Trainer, *arguments: object) -> None:
        if self.epoch == 1:
            raise KeyboardInterrupt
        whole(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "train_epoch", stopped)
        train(load_recipe("demo", TINY), trained / "data", tmp_path / "cut")
    train(load_recipe("demo", TINY), trained / "data", tmp_path / "cut", resume=True)
    ends = (trained / "whole", tmp_path / "cut")
    one, other = (load_model(folder / "model.safetensors").network.state_dict() for folder in ends)
    assert all(torch.equal(one[name], other[name]) for name in one)
