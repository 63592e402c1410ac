"""Proof that an exported network computes what the trained module computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from qpolicy_ros.policy import IntegerNetwork, accumulator_bounds, engine_kinds, make_engine
from qpolicy_training.quant.export import CHUNK, EXHAUSTIVE
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.quant.snapped import SnappedLayer, SnappedPolicy


@dataclass(frozen=True)
class Comparison:
    """How many codes were compared, and how many differed in the input and in each layer."""

    compared: int
    mismatches: dict[str, int]

    @property
    def equal(self) -> bool:
        """Whether no code differed."""
        return not any(self.mismatches.values())


def compare_with_snapped(
    network: IntegerNetwork, snapped: SnappedPolicy, observations: npt.ArrayLike
) -> Comparison:
    """Compare every code on observations ``(N, n)`` between each engine and the snapped module."""
    reference = snapped.codes(observations)
    names = ["input", *(layer.name for layer in snapped.layers)]
    compared, mismatches = 0, dict.fromkeys(names, 0)
    for kind in engine_kinds():
        trace = make_engine(network, kind).codes_batch(observations)
        for name, ours, theirs in zip(names, trace, reference, strict=True):
            mismatches[name] += int((ours != theirs).sum())
            compared += theirs.size
    return Comparison(compared, mismatches)


@torch.no_grad()
def compare_accumulators(network: IntegerNetwork, snapped: SnappedPolicy) -> Comparison:
    """Compare the thresholds with the snapped tail over the accumulators of every neuron.

    All reachable accumulators of a neuron that has at most 2**16 of them; else both ends and T - 1,
    T and T + 1 of every threshold, which suffices since the tail is monotone. Input codes need no
    comparison here; a weight that differs (but for a negated row) counts as a mismatch.
    """
    compared, mismatches = 0, {}
    for i, layer in enumerate(snapped.layers):
        ours, theirs = network.weights[i].astype(np.int64), layer.integer_weight().astype(np.int64)
        same = (ours == theirs).all(axis=1)
        sign = np.where(same, 1, -1)
        wrong = int((ours != theirs * sign[:, None]).sum())
        low, high = accumulator_bounds(ours, *layer.input_range)
        # Sorted: the contract counts thresholds, whatever their order.
        thresholds = np.sort(network.thresholds[i].astype(np.int64), axis=1)
        for neurons, points in _points(low, high, thresholds):
            codes = _tail(layer, points * sign[neurons], neurons) - layer.code_range[0]
            for column, neuron in enumerate(neurons):
                count = np.searchsorted(thresholds[neuron], points[:, column], side="right")
                wrong += int((count != codes[:, column]).sum())
            compared += points.size
        mismatches[layer.name] = wrong
    return Comparison(compared, mismatches)


def _points(
    low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], thresholds: npt.NDArray[np.int64]
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]]:
    """Neurons in groups, with the accumulators ``(k, neurons)`` to compare for each."""
    groups = []
    span = high - low
    small = np.flatnonzero(span < EXHAUSTIVE)
    order = small[np.argsort(span[small])]  # alike spans together: little is compared twice
    while order.size:
        steps = np.arange(int(span[order[0]]) + 1)
        size = max(1, min(order.size, CHUNK // len(steps)))
        neurons, order = order[:size], order[size:]
        steps = np.arange(int(span[neurons].max()) + 1)[:, None]
        groups.append((neurons, np.minimum(low[neurons] + steps, high[neurons])))
    large = np.flatnonzero(span >= EXHAUSTIVE)
    if large.size:
        around = np.concatenate([thresholds[large] + d for d in (-1, 0, 1)], axis=1)
        ends = np.stack([low[large], high[large]], axis=1)
        points = np.clip(np.concatenate([around, ends], axis=1).T, low[large], high[large])
        groups.append((large, points))
    return groups


def _tail(
    layer: SnappedLayer, accumulators: npt.NDArray[np.int64], neurons: npt.NDArray[np.intp]
) -> npt.NDArray[np.int64]:
    """The layer's tail for some of its neurons: int64 ``(k, neurons)``."""
    rows = torch.from_numpy(neurons)
    codes = layer.tail(torch.from_numpy(accumulators.astype(np.float64)), rows)
    return codes.numpy().astype(np.int64)


@torch.no_grad()
def brevitas_disagreement_ppm(
    actor: QuantActor, snapped: SnappedPolicy, observations: npt.ArrayLike, std: npt.ArrayLike
) -> dict[str, float]:
    """Codes of the plain Brevitas graph that differ from the snapped module, parts per million.

    The graph normalises in float32 by ``std`` ``(n,)`` and sums in an order of its own, so this is
    reported, never required to be zero. Differences in a layer carry over to those behind it.
    """
    observed = torch.as_tensor(np.asarray(observations, np.float32))
    divisor = torch.as_tensor(np.asarray(std, np.float32))
    was_training = actor.training
    actor.eval()
    x = actor.input((observed - snapped.mean) / divisor)
    trace = [x.int()]
    for layer, quantiser in zip(actor.layers, actor.quantisers()[1:], strict=True):
        x = quantiser(layer(x))
        trace.append(x.int())
    actor.train(was_training)
    names = ["input", *(layer.name for layer in snapped.layers)]
    reference = snapped.codes(observed)
    return {
        name: float((ours.numpy() != theirs).mean() * 1e6)
        for name, ours, theirs in zip(names, trace, reference, strict=True)
    }


def sample_observations(
    mean: npt.ArrayLike, std: npt.ArrayLike, count: int, seed: int
) -> npt.NDArray[np.float32]:
    """Random observations, float32 ``(count, n)``: normal around ``mean``, some far outside.

    One row in eight is stretched tenfold, so that input codes clip.
    """
    rng = np.random.default_rng(seed)
    centre, spread = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    noise = rng.standard_normal((count, centre.size))
    noise[::8] *= 10.0
    return (centre + noise * spread).astype(np.float32)
