"""Random quantised actors for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor


def random_actor(spec: ActorSpec, seed: int = 0) -> QuantActor:
    """Random weights and biases; the ranges fit the values and clip a few."""
    torch.manual_seed(seed)
    actor = QuantActor(spec).train()
    with torch.no_grad():
        for layer in actor.layers:
            layer.weight.normal_()
            layer.bias.normal_(std=0.3)
        actor(torch.randn(512, spec.observations))
        finish_statistics(actor)
        for scaling in actor.scalings():
            # An octave less in the logarithm of a power of two, a factor in a free scale.
            scaling.value.add_(-1.0) if spec.power_of_two else scaling.value.mul_(0.71)
    return actor.eval()


def finish_statistics(actor: QuantActor) -> None:
    """End the statistics phase after the batches seen: ranges become parameters."""
    for scaling in actor.scalings():
        scaling.init_scale()


def shorten_statistics(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Let ranges be measured over so many training batches, not 300, each of which takes 20 ms."""
    made = QuantActor.__init__

    def make(self: QuantActor, *args: Any, **more: Any) -> None:
        made(self, *args, **more)
        for scaling in self.scalings():
            scaling.collect_stats_steps = batches

    monkeypatch.setattr(QuantActor, "__init__", make)


def random_statistics(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of observations, float32 ``(size,)`` each."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=size).astype(np.float32)
    return mean, rng.uniform(0.1, 3.0, size).astype(np.float32)
