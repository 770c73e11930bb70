"""The engine: learning, exact resume, several processes, settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from worlds import TRAINING, Small

from semalign.core.heatmaps import render_gaussians, weighted_mse
from semalign.errors import SemalignError
from semalign.training.schedule import learning_rate
from semalign.training.settings import TrainingSettings
from semalign.training.trainer import CHECKPOINT, LOG, Trainer

HERE = Path(__file__).parent


def fit(trainer: Trainer, small: Small) -> dict[str, torch.Tensor]:
    labels = small.labels()
    for epoch in trainer.epochs_left():
        trainer.train_epoch(labels, {"iteration": epoch})
    return {name: value.clone() for name, value in trainer.averaged.state_dict().items()}


def test_the_loss_falls_and_the_log_tells(small, tmp_path):
    trainer = small.trainer(tmp_path, epochs=6, learning_rate=3e-3)
    fit(trainer, small)
    records = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["iteration"] for record in records] == [0, 1, 2, 3, 4, 5]
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]


def test_the_same_seed_gives_the_same_bits(small, tmp_path):
    first, second = (fit(small.trainer(tmp_path / name), small) for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_a_run_stopped_between_epochs_continues_to_the_same_bits(small, tmp_path, optimizer):
    whole = fit(small.trainer(tmp_path / "whole", optimizer=optimizer), small)
    small.trainer(tmp_path / "cut", optimizer=optimizer).train_epoch(small.labels())
    resumed = small.trainer(tmp_path / "cut", optimizer=optimizer)
    assert resumed.resume() and resumed.epoch == 1
    continued = fit(resumed, small)
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


def test_a_killed_process_continues_to_the_same_bits(small, tmp_path):
    """A real kill (SIGKILL) in the middle of an epoch of another process."""
    arguments = [sys.executable, str(HERE / "train_small.py"), str(small.dataset.root.parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*arguments, str(tmp_path / "whole")], check=True, env=environment)
    process = subprocess.Popen([*arguments, str(tmp_path / "cut"), "slowly"], env=environment)
    log = tmp_path / "cut" / LOG  # written after the checkpoint
    deadline = time.monotonic() + 120
    while not log.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(log.read_text().splitlines()) < TRAINING.epochs
    subprocess.run([*arguments, str(tmp_path / "cut")], check=True, env=environment)
    whole, cut = (torch.load(tmp_path / name / "average.pt") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_two_processes_give_what_one_does(small, tmp_path):
    script = [str(HERE / "train_small.py"), str(small.dataset.root.parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *script, str(tmp_path / "one")], check=True, env=environment)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, *script, str(tmp_path / "two")], check=True, env=environment, timeout=240)
    one, two = (torch.load(tmp_path / name / "average.pt") for name in ("one", "two"))
    assert set(one) == set(two)
    for name, value in one.items():
        assert torch.allclose(value.float(), two[name].float(), rtol=2e-3, atol=2e-4), name


def test_bf16_learns_as_well_as_fp32_with_other_bits(small, tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        trainer = small.trainer(tmp_path / precision, epochs=4, precision=precision)
        fit(trainer, small)
        losses[precision] = trainer.records[-1]["loss"]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_a_batch_that_processes_cannot_share_is_refused(small, tmp_path, monkeypatch):
    from accelerate import Accelerator

    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 3))
    with pytest.raises(SemalignError, match="choose a multiple"):
        small.trainer(tmp_path)


def test_a_log_that_was_broken_off_after_the_checkpoint_is_completed(small, tmp_path):
    fit(small.trainer(tmp_path), small)
    log = tmp_path / "log.jsonl"
    whole = log.read_text()
    log.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    assert small.trainer(tmp_path).resume()
    assert log.read_text() == whole


def test_a_checkpoint_of_another_network_is_refused(small, tmp_path):
    fit(small.trainer(tmp_path, epochs=1), small)
    other = small.trainer(tmp_path, epochs=1)
    other.network.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(SemalignError, match="other settings"):
        other.resume()


@pytest.mark.parametrize("ema", [0.0, 0.5, 0.99])
def test_averaged_weights_are_the_definition(small, tmp_path, ema):
    """decay = min(ema, (1 + step) / (10 + step)) from the first weights on, buffers too; counters are the last ones."""
    trainer = small.trainer(tmp_path, epochs=1, ema=ema)
    expected = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    step = 0

    def follow(done: int, note: str) -> None:
        nonlocal step
        decay = min(ema, (1 + step) / (10 + step))
        for name, value in trainer.network.state_dict().items():
            expected[name] = expected[name].lerp(value, 1 - decay) if value.is_floating_point() else value.clone()
        step += 1

    trainer.advance = follow
    fit(trainer, small)
    averaged = trainer.averaged
    assert step == trainer.steps_per_epoch > 1 and not averaged.training and averaged is not trainer.network
    assert all(torch.equal(value, expected[name]) for name, value in averaged.state_dict().items())


def test_weighted_mse_is_the_definition_and_so_is_its_gradient():
    predicted = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    target = render_gaussians(torch.rand(2, 3, 2, dtype=torch.float64) * 7, 8, 1.0)
    weight = 1 + 20 * target
    loss = weighted_mse(predicted, target, weight)
    (gradient,) = torch.autograd.grad(loss, predicted)
    plain = (weight * (predicted - target).square()).mean()
    assert torch.allclose(loss, plain)
    assert torch.allclose(gradient, torch.autograd.grad(plain, predicted)[0])


def test_learning_rates_follow_their_schedules():
    steps = TrainingSettings(
        schedule="steps", learning_rate=2.5e-6, milestones=(30, 60, 90), divisors=(5.0, 2.0, 2.0), epochs=120
    )
    rates = [learning_rate(steps, epoch * 10, 10) for epoch in (0, 29, 30, 60, 90, 119)]
    assert rates == pytest.approx([2.5e-6, 2.5e-6, 5e-7, 2.5e-7, 1.25e-7, 1.25e-7])
    cosine = TrainingSettings(epochs=10, learning_rate=1e-3, warmup=1.0, final_rate=0.01)
    curve = [learning_rate(cosine, step, 10) for step in range(100)]
    assert curve[0] == pytest.approx(1e-4) and max(curve) == pytest.approx(1e-3)
    assert curve[9:] == sorted(curve[9:], reverse=True) and curve[-1] < 2e-5


@pytest.mark.parametrize("wrong", [{"milestones": (3,)}, {"epochs": -1}, {"batch_size": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        TrainingSettings(**wrong)


def test_tensorboard_gets_the_epochs_or_is_asked_for(small, tmp_path, monkeypatch):
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert folder == str(tmp_path / "a" / "events") and purge_step == 1

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    trainer = small.trainer(tmp_path / "a", epochs=2, tensorboard=True)
    fit(trainer, small)
    assert [(value, step) for name, value, step in written if name == "loss"] == [
        (record["loss"], record["epoch"]) for record in trainer.records
    ]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SemalignError, match=r"semalign\[tensorboard\]"):
        fit(small.trainer(tmp_path / "b", epochs=1, tensorboard=True), small)


def test_a_loss_that_is_no_number_names_the_batch_and_keeps_the_last_good_state(small, tmp_path, monkeypatch):
    trainer = small.trainer(tmp_path, epochs=3)
    trainer.train_epoch(small.labels())
    good = (tmp_path / CHECKPOINT).read_bytes()
    loss, calls = trainer.task.loss, iter(range(100))
    monkeypatch.setattr(
        type(trainer.task), "loss", lambda _, *given: loss(*given) * (float("nan") if next(calls) == 1 else 1.0)
    )
    sentence = rf"the loss became nan in epoch 2, batch 2 of {trainer.steps_per_epoch}; the state after epoch 1 is kept"
    with pytest.raises(SemalignError, match=sentence):
        trainer.train_epoch(small.labels())
    assert (tmp_path / CHECKPOINT).read_bytes() == good


def test_a_weight_that_is_no_number_is_never_kept(small, tmp_path):
    trainer = small.trainer(tmp_path, epochs=3)
    steps = iter(range(1, 100))

    def spoil(done: int, note: str) -> None:
        if next(steps) == trainer.steps_per_epoch:  # by the last step, whose loss was still a number
            next(trainer.network.parameters()).data[0] = float("inf")

    trainer.advance = spoil
    with pytest.raises(
        SemalignError, match=r"a weight became infinite or nan in epoch 1, .*nothing was kept before it"
    ):
        trainer.train_epoch(small.labels())
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SemalignError])
def test_a_training_that_is_stopped_leaves_no_thread_behind(small, tmp_path, error):
    def stop(done: int, note: str) -> None:
        raise error

    trainer = small.trainer(tmp_path)
    trainer.advance = stop
    with pytest.raises(error):
        trainer.train_epoch(small.labels())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
    assert not (tmp_path / CHECKPOINT).exists()


def test_pictures_that_cannot_be_read_end_the_training_with_their_sentence(small, tmp_path, monkeypatch):
    read, calls = type(small.task()).read, iter(range(100))

    def once(*given: object) -> object:
        if next(calls) == 2:
            raise SemalignError("the crops are damaged")
        return read(*given)

    monkeypatch.setattr(type(small.task()), "read", once)
    trainer, steps = small.trainer(tmp_path), []
    trainer.advance = lambda done, note: steps.append(done)
    with pytest.raises(SemalignError, match="the crops are damaged"):
        trainer.train_epoch(small.labels())
    assert len(steps) == 2
