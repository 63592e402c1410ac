"""The rules of a policy's tensors, checked when it is made, saved and loaded.

Those of its contract are in ``contract_rules``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.activations import CLIP, LAYER_NORM, LINEAR, STEPS, bound
from qpolicy_ros.policy.bounds import network_bounds
from qpolicy_ros.policy.hashing import canonical_json
from qpolicy_ros.policy.model import MAX_BITS, MIN_BITS, Baseline, Contract, Golden, IntegerNetwork

MAX_WIDTH = 16384  # with 8-bit codes and weights every accumulator then fits int32
MAX_LAYERS = 16
MAX_GOLDEN = 4096
MAX_DEPTH = 32  # of provenance
INT32_MAX = 2**31 - 1
FLOAT32_MAX = float(np.finfo(np.float32).max)

_EXPORT = "export the policy again"
_MAKE = "correct it in the task or the robot's description"


class Checker:
    """Raises PolicyError with one file's name in front."""

    def __init__(self, file: object, remedy: str = "") -> None:
        self.file = file
        # What lies in no file yet is being made, from a task or a robot.
        self._remedy = remedy or (_EXPORT if str(file) else _MAKE)

    def require(self, condition: bool, field: str, wrong: str, remedy: str = "") -> None:
        """Raise unless ``condition``."""
        if not condition:
            raise PolicyError.at(self.file, field, wrong, remedy or self._remedy)

    def tensor(
        self, value: npt.NDArray[Any], field: str, dtype: str, shape: tuple[int, ...]
    ) -> None:
        """Require dtype, shape and, for floats, that every value is finite."""
        self.require(
            isinstance(value, np.ndarray), field, f"is {type(value).__name__}, not a tensor"
        )
        # A dtype's name is slow to make: only for an error.
        if value.dtype != np.dtype(dtype):
            self.require(False, field, f"dtype {value.dtype}, expected {dtype}")
        if value.shape != shape:
            self.require(False, field, f"shape {value.shape}, expected {shape}")
        if dtype == "float32":
            finite = np.isfinite(value)
            if not finite.all():
                self.require(False, field, f"{_first(value, ~finite)} is not finite")

    def all(
        self, value: npt.NDArray[Any], good: npt.NDArray[np.bool_], field: str, rule: str
    ) -> None:
        """Require ``good`` everywhere; the error names the first value that is not."""
        if not good.all():
            self.require(False, field, f"{_first(value, ~good)} {rule}")

    def is_text(self, value: object, field: str, *, empty: bool = False) -> None:
        """Require a string that can be printed."""
        good = isinstance(value, str) and (empty or bool(value)) and value.isprintable()
        self.require(good, field, f"{value!r} is not a name")

    def is_number(self, value: object, field: str) -> None:
        """Require a finite number."""
        good = (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and abs(value) <= FLOAT32_MAX  # false for NaN as well
        )
        self.require(good, field, f"{value!r} is not a finite number that fits float32")


def check_network(network: IntegerNetwork, contract: Contract, file: object = "") -> None:
    """Raise PolicyError unless the network keeps every rule of ``IntegerNetwork``."""
    check = Checker(file)
    check_bits(
        {"input": network.input_bits, "core": network.core_bits, "output": network.output_bits},
        file,
    )
    inputs, outputs = len(contract.observation), len(contract.action)
    check.tensor(network.mean, "integer.mean", "float32", (inputs,))
    check.tensor(network.gain, "integer.gain", "float32", (inputs,))
    check.all(network.gain, network.gain > 0, "integer.gain", "is not above 0")

    layers = len(network.weights)
    _check_layers(
        check, "integer.weight", [weight.shape for weight in network.weights], inputs, outputs
    )
    check.require(
        len(network.thresholds) == layers,
        "integer.threshold",
        f"{len(network.thresholds)} layers, but {layers} of integer.weight",
    )
    limit = 1 << (network.core_bits - 1)
    for index, weight in enumerate(network.weights):
        field = f"integer.weight.{index}"
        check.tensor(weight, field, "int8", weight.shape)
        inside = (weight >= -limit) & (weight < limit)
        check.all(weight, inside, field, f"does not fit {network.core_bits} bits")
    for index, (low, high) in enumerate(network_bounds(network)):
        field = f"integer.threshold.{index}"
        bits = network.output_bits if index == layers - 1 else network.core_bits
        threshold = network.thresholds[index]
        check.tensor(threshold, field, "int32", (len(low), (1 << bits) - 1))
        fits = bool(high.max() < INT32_MAX and low.min() > -INT32_MAX)
        check.require(fits, f"integer.weight.{index}", "accumulators do not fit 32 bits")
        ascending = np.ones(threshold.shape, np.bool_)
        ascending[:, 1:] = threshold[:, 1:] >= threshold[:, :-1]
        check.all(threshold, ascending, field, "is below its left neighbour")
        reachable = (threshold >= low[:, None]) & (threshold <= high[:, None] + 1)
        check.all(threshold, reachable, field, "is outside [acc_min, acc_max + 1] of its neuron")

    check.tensor(network.table, "integer.table", "float32", (outputs, 1 << network.output_bits))
    inside = (network.table >= contract.low[:, None]) & (network.table <= contract.high[:, None])
    check.all(network.table, inside, "integer.table", "is outside the action limits")


def check_bits(bits: Mapping[str, object], file: object = "") -> None:
    """Raise PolicyError unless every bit-width is an integer from 2 to 8."""
    for name, value in bits.items():
        good = isinstance(value, int) and not isinstance(value, bool)
        Checker(file).require(
            good and MIN_BITS <= value <= MAX_BITS,  # type: ignore[operator]
            f"bits.{name}",
            f"{value!r} is not a bit-width from {MIN_BITS} to {MAX_BITS}",
        )


def check_baseline(baseline: Baseline, contract: Contract, file: object = "") -> None:
    """Raise PolicyError unless the FP32 baseline fits the contract and is finite."""
    check = Checker(file)
    inputs, outputs = len(contract.observation), len(contract.action)
    check.tensor(baseline.mean, "baseline.mean", "float32", (inputs,))
    check.tensor(baseline.std, "baseline.std", "float32", (inputs,))
    check.all(baseline.std, baseline.std > 0, "baseline.std", "is not above 0")
    check.is_number(baseline.clip, "baseline.clip")
    check.require(baseline.clip > 0, "baseline.clip", f"{baseline.clip} is not above 0")
    _check_layers(
        check, "baseline.weight", [weight.shape for weight in baseline.weights], inputs, outputs
    )
    layers = len(baseline.weights)
    check.require(
        len(baseline.biases) == layers,
        "baseline.bias",
        f"{len(baseline.biases)} layers, but {layers} of baseline.weight",
    )
    for index, (weight, bias) in enumerate(zip(baseline.weights, baseline.biases, strict=True)):
        check.tensor(weight, f"baseline.weight.{index}", "float32", weight.shape)
        check.tensor(bias, f"baseline.bias.{index}", "float32", weight.shape[:1])
    _check_steps(check, baseline)
    _check_overflow(check, baseline)
    check.tensor(baseline.scale, "baseline.action_scale", "float32", (outputs,))
    check.tensor(baseline.bias, "baseline.action_bias", "float32", (outputs,))


def check_golden(golden: Golden, contract: Contract, *, integer: bool, file: object = "") -> None:
    """Raise PolicyError unless the golden vectors have the right shapes (their values: replay)."""
    check = Checker(file)
    inputs, outputs = len(contract.observation), len(contract.action)
    count = len(golden.observations)
    check.require(
        1 <= count <= MAX_GOLDEN,
        "golden.observations",
        f"{count} vectors, allowed 1 to {MAX_GOLDEN}",
    )
    check.tensor(golden.observations, "golden.observations", "float32", (count, inputs))
    check.tensor(golden.baseline_actions, "golden.baseline_actions", "float32", (count, outputs))
    for field, value, dtype in (
        ("golden.codes", golden.codes, "int32"),
        ("golden.actions", golden.actions, "float32"),
    ):
        wrong = "is missing" if integer else "is there without an integer network"
        check.require((value is not None) == integer, field, wrong)
        if value is not None:
            check.tensor(value, field, dtype, (count, outputs))


def check_provenance(provenance: object, file: object = "") -> None:
    """Raise PolicyError unless ``provenance`` is a JSON object without NaN and infinities."""
    check = Checker(file)
    check.require(isinstance(provenance, dict), "provenance", f"{provenance!r} is not an object")
    check.require(_shallow(provenance), "provenance", f"is nested deeper than {MAX_DEPTH}")
    try:
        # What prints it meets neither NaN nor half a character.
        canonical_json(provenance)
        json.dumps(provenance, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise PolicyError.at(file, "provenance", str(error), "keep plain finite JSON") from error


def _shallow(value: object) -> bool:
    """Whether lists and objects lie at most ``MAX_DEPTH`` deep, without recursion."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner = [part.values() if isinstance(part, dict) else part for part in level]
        level = [item for part in inner for item in part if isinstance(item, (dict, list, tuple))]
        if not level:
            return True
    return False


def _check_layers(
    check: Checker, field: str, shapes: Sequence[tuple[int, ...]], inputs: int, outputs: int
) -> None:
    layers = len(shapes)
    check.require(1 <= layers <= MAX_LAYERS, field, f"{layers} layers, allowed 1 to {MAX_LAYERS}")
    width = inputs
    for index, shape in enumerate(shapes):
        name = f"{field}.{index}"
        check.require(len(shape) == 2, name, f"shape {shape}, expected two axes")
        good = shape[1] == width and 1 <= shape[0] <= MAX_WIDTH
        check.require(good, name, f"shape {shape}, expected (1 to {MAX_WIDTH}, {width})")
        width = shape[0]
    check.require(width == outputs, f"{field}.{layers - 1}", f"{width} outputs, expected {outputs}")


def _check_steps(check: Checker, baseline: Baseline) -> None:
    """Raise PolicyError unless the steps are known and the tensors are theirs."""
    field = "baseline.steps"
    most = MAX_LAYERS * 4
    steps = baseline.program
    check.require(len(steps) <= most, field, f"{len(steps)} steps, at most {most}")
    for index, step in enumerate(steps):
        where = f"{field}[{index}]"
        good = len(step) > 0 and step[0] in STEPS
        wrong = f"{step[0] if step else step!r} is not one of {', '.join(STEPS)}"
        check.require(good, where, wrong, "update qpolicy_ros or export the policy again")
        count = STEPS[str(step[0])]
        wrong = f"{step[0]} has {len(step) - 1} numbers, not {count}"
        check.require(len(step) - 1 == count, where, wrong)
        for number in step[1:]:
            check.is_number(number, where)
        if step[0] in {LAYER_NORM, "softplus"}:
            check.require(float(step[1]) > 0, where, f"{step[1]} of {step[0]} is not above 0")
        if step[0] == CLIP:
            check.require(
                float(step[1]) < float(step[2]), where, f"{step[1]} to {step[2]} is not ascending"
            )
    layers = sum(step[0] == LINEAR for step in steps)
    wrong = f"{layers} layers, but {len(baseline.weights)} of baseline.weight"
    check.require(layers == len(baseline.weights), field, wrong)
    widths = _norm_widths(baseline)
    for name, tensors in (
        ("baseline.norm_scale", baseline.norm_scales),
        ("baseline.norm_shift", baseline.norm_shifts),
    ):
        wrong = f"{len(tensors)}, but {len(widths)} layer_norm steps"
        check.require(len(tensors) == len(widths), name, wrong)
        for index, (tensor, width) in enumerate(zip(tensors, widths, strict=True)):
            check.tensor(tensor, f"{name}.{index}", "float32", (width,))


def _norm_widths(baseline: Baseline) -> list[int]:
    """Widths that the ``layer_norm`` steps work on."""
    widths, width, layers = [], baseline.mean.size, iter(baseline.weights)
    for step in baseline.program:
        if step[0] == LINEAR:
            width = next(layers).shape[0]
        elif step[0] == LAYER_NORM:
            widths.append(int(width))
    return widths


def _check_overflow(check: Checker, baseline: Baseline) -> None:
    """No observation may drive a float32 sum to infinity, since infinity minus itself is NaN."""
    largest = np.full(baseline.mean.shape, baseline.clip, np.float64)
    layers = iter(zip(baseline.weights, baseline.biases, strict=True))
    norms = iter(zip(baseline.norm_scales, baseline.norm_shifts, strict=True))
    index = -1
    for step in baseline.program:
        if step[0] == LINEAR:
            weight, bias = next(layers)
            index += 1
            largest = np.abs(weight.astype(np.float64)) @ largest + np.abs(bias)
        elif step[0] == LAYER_NORM:
            scale, shift = next(norms)
            # The variance is a sum of squares of twice these at most.
            largest = np.maximum(4 * largest**2 * largest.size, 0)
            check.require(bool(largest.max() < FLOAT32_MAX), *_too_large(index))
            largest = np.sqrt(largest.size) * np.abs(scale.astype(np.float64)) + np.abs(shift)
        else:
            largest = bound(step, largest)
        check.require(bool(largest.max() < FLOAT32_MAX), *_too_large(index))


def _too_large(index: int) -> tuple[str, str]:
    return f"baseline.weight.{max(index, 0)}", "sums can exceed float32"


def _first(value: npt.NDArray[Any], bad: npt.NDArray[np.bool_]) -> str:
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), value.shape))
    return f"value {value[index]} at {list(index)}"
