"""Export of a trained actor: exact integer thresholds, found by searching torch's own output.

A neuron's code as a function of its integer accumulator is a staircase. Its thresholds are found
by bisection on the snapped module's tail, so a tie goes where torch sends it and no formula is
derived. That the tail is a staircase is checked on every reachable accumulator where a neuron has
at most 2**16 of them. Beyond that it is checked on a grid: scaling by a positive constant, adding
a constant, ReLU, dividing by a positive constant, rounding and clipping are each monotone in
IEEE arithmetic, hence so is their composition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qpolicy_ros.policy import (
    IntegerNetwork,
    PolicyArtifact,
    PolicyError,
    accumulator_bounds,
    make_artifact,
)
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.quant.snapped import SnappedPolicy, snap

Int64 = npt.NDArray[np.int64]
Tail = Callable[[Tensor], Tensor]

EXHAUSTIVE = 2**16  # accumulator values of a neuron up to which all are checked
CHUNK = 2**21  # tail evaluations at a time: memory stays below 100 MB


def export_network(
    actor: QuantActor,
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    action_scale: npt.ArrayLike,
    action_bias: npt.ArrayLike,
) -> IntegerNetwork:
    """Integer network of a calibrated actor.

    ``mean`` and ``std`` are ``(n,)``; the action is ``tanh(u) * action_scale + action_bias``,
    ``(m,)`` each, clipped to ``action_bias +- action_scale``.

    Raises:
        PolicyError: see ``snap`` and ``find_thresholds``.
    """
    return export_snapped(snap(actor, mean, std), action_scale, action_bias)


def export_snapped(
    snapped: SnappedPolicy, action_scale: npt.ArrayLike, action_bias: npt.ArrayLike
) -> IntegerNetwork:
    """``export_network`` from the snapped module."""
    weights, thresholds = [], []
    for layer in snapped.layers:
        weight = layer.integer_weight()
        low, high = accumulator_bounds(weight, *layer.input_range)
        code_min, code_max = layer.code_range

        def count(accumulators: Tensor, tail: Tail = layer.tail, lowest: int = code_min) -> Tensor:
            return tail(accumulators) - lowest

        rows, negated = find_thresholds(count, low, high, code_max - code_min, layer.name)
        weight[negated] *= -1
        weights.append(weight)
        thresholds.append(rows)
    spec = snapped.spec
    return IntegerNetwork(
        mean=snapped.mean.numpy().copy(),
        gain=snapped.gain.numpy().copy(),
        input_bits=spec.b_in,
        core_bits=spec.b_core,
        output_bits=spec.b_out,
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        table=action_table(snapped, action_scale, action_bias),
    )


@torch.no_grad()
def find_thresholds(
    count: Tail, low: Int64, high: Int64, levels: int, layer: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Thresholds ``T`` with ``count(acc) == number of T <= acc`` for every reachable ``acc``.

    Args:
        count: elementwise staircase, accumulators ``(k, out)`` float64 to ``0 .. levels``.
        low: int64 ``(out,)``, the least reachable accumulator of each neuron.
        high: the largest.
        levels: thresholds a neuron.
        layer: name for errors.

    Returns:
        int32 ``(out, levels)`` ascending, within ``[low, high + 1]``; and bool ``(out,)``, the
        neurons whose staircase falls: their thresholds are for ``-acc``, and the caller negates
        their weights.

    Raises:
        PolicyError: a neuron's staircase neither rises nor falls all the way.
    """
    ends = count(torch.from_numpy(np.stack([low, high]).astype(np.float64)))
    negated = (ends[0] > ends[1]).numpy()
    sign = np.where(negated, -1, 1)
    first, last = np.where(negated, -high, low), np.where(negated, -low, high)

    def rising(accumulators: Int64) -> npt.NDArray[Any]:
        return count(torch.from_numpy((accumulators * sign).astype(np.float64))).numpy()

    _require_monotone(rising, first, last, layer)
    wanted = np.arange(1, levels + 1)[:, None]
    left = np.broadcast_to(first, (levels, len(first))).copy()
    right = np.broadcast_to(last + 1, left.shape).copy()
    while (
        left < right
    ).any():  # the smallest accumulator that reaches `wanted` is in [left, right]
        middle = (left + right) // 2
        reached = (rising(np.minimum(middle, last)) >= wanted) | (left == right)
        right = np.where(reached, middle, right)
        left = np.where(reached, left, middle + 1)
    return np.ascontiguousarray(left.T).astype(np.int32), negated


def _require_monotone(
    rising: Callable[[Int64], npt.NDArray[Any]], first: Int64, last: Int64, layer: str
) -> None:
    """Evaluate the staircase from ``first`` to ``last``, all of it or a grid, and compare."""
    span = last - first
    steps = int(min(span.max(), EXHAUSTIVE)) + 1
    stride = np.maximum(span // EXHAUSTIVE, 1)
    rows = max(CHUNK // len(first), 2)
    previous = rising(first[None])
    for start in range(1, steps + 1, rows):
        index = np.arange(start, min(start + rows, steps + 1))[:, None]
        codes = np.concatenate([previous, rising(np.minimum(first + index * stride, last))])
        fallen = (np.diff(codes, axis=0) < 0).any(axis=0)
        if fallen.any():
            neuron = int(np.argmax(fallen))
            wrong = "the code neither rises nor falls steadily with the accumulator"
            remedy = "only monotone activations can be exported"
            raise PolicyError.at("", f"layer {layer}, neuron {neuron}", wrong, remedy)
        previous = codes[-1:]


@torch.no_grad()
def action_table(
    snapped: SnappedPolicy, action_scale: npt.ArrayLike, action_bias: npt.ArrayLike
) -> npt.NDArray[np.float32]:
    """``tanh(code * step) * scale + bias`` of every output code, float32 ``(m, 2**b_out)``."""
    low, high = snapped.layers[-1].code_range
    codes = torch.arange(low, high + 1, dtype=torch.float32)
    squashed = torch.tanh(codes * snapped.output_step).numpy()
    scale = np.asarray(action_scale, np.float32)[:, None]
    bias = np.asarray(action_bias, np.float32)[:, None]
    return np.clip(squashed * scale + bias, bias - scale, bias + scale)


def build_artifact(
    actor: QuantActor,
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    baseline_artifact: PolicyArtifact,
    provenance: dict[str, Any],
    golden_observations: npt.ArrayLike,
    action: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> PolicyArtifact:
    """Policy artifact of a trained actor, with the contract and baseline of its teacher.

    Args:
        actor: calibrated.
        mean: of its normalisation, ``(n,)``.
        std: of its normalisation, ``(n,)``.
        baseline_artifact: FP32 policy of the same task; gives contract, action range, baseline.
        provenance: JSON-able.
        golden_observations: float32 ``(k, n)``.
        action: scale and bias of ``tanh(u) * scale + bias``, ``(m,)`` each; None: the baseline's.

    Raises:
        PolicyError: the actor does not fit the task, or a part breaks a rule.
    """
    contract, baseline = baseline_artifact.contract, baseline_artifact.baseline
    spec = actor.spec
    task = (len(contract.observation), len(contract.action))
    if (spec.observations, spec.actions) != task:
        wrong = f"{spec.observations} inputs and {spec.actions} outputs, {contract.task} has {task}"
        remedy = "give the FP32 policy of the actor's task"
        raise PolicyError.at(baseline_artifact.path, "baseline", wrong, remedy)
    network = export_network(actor, mean, std, *(action or (baseline.scale, baseline.bias)))
    low, high = contract.low[:, None], contract.high[:, None]
    # bias +- scale may round to one float32 beyond the limit that it stands for.
    np.clip(network.table, low, high, out=network.table)
    return make_artifact(contract, baseline, network, provenance, golden_observations)
