"""Learning rates as a function of the step."""

from __future__ import annotations

import math

from semalign.training.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """The rate of a step, counted from 0 over the whole stage."""
    epoch = step / steps_per_epoch
    if settings.schedule == "steps":
        passed = [d for m, d in zip(settings.milestones, settings.divisors, strict=True) if epoch >= m]
        return settings.learning_rate / math.prod(passed)
    if epoch < settings.warmup:
        return settings.learning_rate * (step + 1) / (settings.warmup * steps_per_epoch)
    share = min(1.0, (epoch - settings.warmup) / max(settings.epochs - settings.warmup, 1e-9))
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * cosine)
