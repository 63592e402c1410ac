"""Forward and backward pass of a ``QuantActor`` in few torch operations.

Brevitas builds an autograd graph of some 200 small nodes for a step of a two-layer actor. This
module computes the same values and the same gradients from the same parameters in one
``autograd.Function`` with a backward pass written out. Every matrix product is taken on
integer-valued float32 (exact below 2**24), so the hidden codes are those of the snapped reference.

The rules of the gradients, as Brevitas has them, for a quantiser ``a = s * clip(round(h / s))``:

- rounding passes gradients straight through; clipping of an activation stops them;
- the step ``s`` receives ``sum(g * code) - sum(g * h / s)``, the second sum where nothing clips;
- the step of a weight matrix is its largest magnitude over the largest code, so what ``s`` receives
  goes to the entry of the largest magnitude;
- a bias is rounded to the accumulator's step, the product of the steps of input and weights.

Differences from Brevitas are float32 summation order alone. Where several weights tie for the
largest magnitude, the first receives what Brevitas divides among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qpolicy_training.quant.processor import multiplies_bytes
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor

SMALLEST_RANGE = 1e-10  # Brevitas' scaling_min_val
BIAS_MIN, BIAS_MAX = np.float32(-(2.0**31)), np.float32(2.0**31)  # int32 as float32 holds it
hardtanh_backward = torch.ops.aten.hardtanh_backward


def actor_forward(actor: QuantActor, normalised: Tensor) -> tuple[Tensor, Tensor]:
    """``actor(normalised)``, by the fast path as soon as the statistics phase is over."""
    return fast_forward(actor, normalised) if actor.calibrated else actor(normalised)


class QuantisedOnce:
    """``fast_forward`` for a loop that says when parameters changed, products as cheap as they go.

    Parameters are quantised once after each change. The forward products, of integers, are exact;
    they are taken on bytes with int32 sums where the codes fit and the processor multiplies bytes.
    Those of the backward pass take inputs rounded to ``dtype``. Until the statistics phase is over
    the actor itself is called.
    """

    def __init__(self, actor: QuantActor, dtype: torch.dtype) -> None:
        self._actor, self._dtype = actor, dtype
        self._network: _Network | None = None
        self._quantised: list[_Quantised] = []

    def __call__(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """See ``fast_forward``."""
        actor = self._actor
        if not actor.calibrated:
            return actor(normalised)
        if self._network is None:
            self._network = _quantise_network(actor.spec, actor.flat_parameters(), self._dtype)
        if torch.is_grad_enabled():
            return _Forward.apply(normalised, self._network, *actor.flat_parameters())
        self._quantised, outputs = _run(normalised, self._network)
        return outputs

    def values(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """The same of observations for which no ``backward`` follows."""
        return self(normalised)

    def backward(self, grad_output: Tensor, grad_features: Tensor | None) -> None:
        """Set the gradients of the actor's parameters for those of the last call's outputs.

        The last call was made without gradients: this is their shorter way.
        """
        assert self._network is not None
        parameters, layers = self._actor.flat_parameters(), self._network.layers
        weights = parameters[len(layers) + 1 : 2 * len(layers) + 1]
        _, *gradients = _gradients(self._quantised, layers, weights, grad_output, grad_features)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient

    def changed(self) -> None:
        """Tell that the actor's parameters have new values."""
        self._network = None


def fast_forward(actor: QuantActor, normalised: Tensor) -> tuple[Tensor, Tensor]:
    """Pre-tanh action ``(batch, m)`` and last hidden layer ``(batch, h)`` of a calibrated actor.

    ``normalised`` is float32 ``(batch, n)``. Raises ``RuntimeError`` during the statistics phase,
    when ranges are measured and not yet parameters.
    """
    if not actor.calibrated:
        raise RuntimeError("the actor still collects statistics; call the actor itself")
    parameters = actor.flat_parameters()
    network = _quantise_network(actor.spec, parameters)
    if not torch.is_grad_enabled():
        return _run(normalised, network)[1]
    return _Forward.apply(normalised, network, *parameters)


@dataclass(frozen=True)
class Step:
    """Step ``size`` of a quantiser and its derivative by the parameter behind it."""

    size: float
    slope: float


def activation_step(value: float, bits: int, *, signed: bool, power_of_two: bool) -> Step:
    """Step of an activation quantiser whose range parameter has this value, as float32."""
    levels = 2 ** (bits - 1) if signed else 2**bits - (0 if power_of_two else 1)
    if power_of_two:
        size = 2.0 ** math.ceil(value) / levels
        return Step(size, size * math.log(2.0))
    size = float(np.float32(max(abs(value), SMALLEST_RANGE) / levels))
    return Step(size, math.copysign(1.0 / levels, value))


def weight_step(largest: float, bits: int, *, power_of_two: bool) -> Step:
    """Step of a weight matrix with this largest magnitude, as float32."""
    largest = max(largest, SMALLEST_RANGE)
    if power_of_two:
        # float32 logarithm: just above a power of two it decides as Brevitas does.
        size = 2.0 ** math.ceil(float(np.log2(np.float32(largest)))) / 2 ** (bits - 1)
        return Step(size, size / largest)
    levels = 2 ** (bits - 1) - 1
    return Step(float(np.float32(largest / levels)), 1.0 / levels)


@dataclass
class _Quantised:
    """Result of an activation quantiser: ``codes``, and ``scaled`` = value / step before them."""

    codes: Tensor
    scaled: Tensor
    step: Step
    low: float  # gradients pass where low < scaled < high
    high: float

    def backward(self, grad: Tensor, extra: float) -> tuple[Tensor, Tensor]:
        """Gradients of the value and of the range parameter.

        ``grad`` is the gradient of the quantised value, ``extra`` one of the step by other ways.
        """
        passed = hardtanh_backward(grad, self.scaled, self.low, self.high)
        total = _dot(grad, self.codes) - _dot(passed, self.scaled) + extra
        return passed, grad.new_tensor(total * self.step.slope)


def code_range(bits: int, *, signed: bool) -> tuple[float, float]:
    """Lowest and highest code."""
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)


def gradient_bounds(bits: int, *, signed: bool) -> tuple[float, float]:
    """Between which values, in steps, the gradient passes."""
    low, high = code_range(bits, signed=signed)
    if not signed:
        return 0.0, high + 0.5
    # A half below the lowest code still rounds to it (it is even), one above the highest not.
    return float(np.nextafter(np.float32(low - 0.5), np.float32(-np.inf))), high + 0.5


def _quantise(scaled: Tensor, step: Step, bits: int, *, signed: bool) -> _Quantised:
    codes = scaled.round().clamp_(*code_range(bits, signed=signed))
    return _Quantised(codes, scaled, step, *gradient_bounds(bits, signed=signed))


@dataclass
class _Layer:
    """Quantised weights of a linear layer and what its backward pass needs.

    A residual is what rounding added, in steps. ``largest`` is the weight that sets the step.
    """

    codes: Tensor
    residual: Tensor
    step: Step
    largest: float
    bias: Tensor  # rounded to ``bias_step``, the step of the accumulator
    bias_residual: Tensor
    bias_step: float
    dtype: torch.dtype | None  # of the backward products; None: float32 throughout
    low_codes: Tensor  # codes at that dtype
    bytes: Tensor | None  # codes as int8 (in, out), where the input's codes are bytes too


@dataclass
class _Network:
    """The quantised parameters of an actor."""

    steps: list[Step]
    bits: list[int]
    layers: list[_Layer]


def _quantise_network(
    spec: ActorSpec, parameters: list[Tensor], dtype: torch.dtype | None = None
) -> _Network:
    """Quantise the parameters, as ``flat_parameters`` lists them.

    On every call of ``fast_forward``: torch's count of changes in place, by which one could keep
    the result between optimiser steps, misses those of a fused optimiser.
    """
    count = len(spec.hidden) + 1
    bits = [spec.b_in, *(spec.b_core for _ in spec.hidden), spec.b_out]
    steps = [
        activation_step(r.item(), b, signed=i in (0, count), power_of_two=spec.power_of_two)
        for i, (r, b) in enumerate(zip(parameters[: count + 1], bits, strict=True))
    ]
    pairs = zip(parameters[count + 1 : 2 * count + 1], parameters[2 * count + 1 :], strict=True)
    layers = [_quantise_layer(w, b, steps[i].size, spec) for i, (w, b) in enumerate(pairs)]
    if dtype is not None:
        for i, layer in enumerate(layers):
            layer.dtype, layer.low_codes = dtype, layer.codes.to(dtype)
            # Hidden codes are unsigned.
            if multiplies_bytes() and (bits[i] < 8 or i == 0):
                layer.bytes = layer.codes.to(torch.int8).t()
    return _Network(steps, bits, layers)


def _quantise_layer(weight: Tensor, bias: Tensor, step_in: float, spec: ActorSpec) -> _Layer:
    """Round a weight matrix and its bias.

    NumPy here: its calls on small arrays cost a quarter of torch's, and the values are the same.
    """
    values, biases = weight.detach().numpy(), bias.detach().numpy()
    highest, lowest = float(values.max()), float(values.min())
    largest = highest if highest >= -lowest else lowest
    step = weight_step(abs(largest), spec.b_core, power_of_two=spec.power_of_two)
    residual = values / np.float32(step.size)
    codes = np.rint(residual)
    if spec.power_of_two:  # a free scale makes the largest magnitude the largest code
        levels = 2 ** (spec.b_core - 1) - 1
        np.clip(codes, -levels, levels, out=codes)
    np.subtract(codes, residual, out=residual)
    bias_step = float(np.float32(step_in * step.size))
    bias_residual = biases / np.float32(bias_step)
    bias_codes = np.rint(bias_residual)
    np.clip(bias_codes, BIAS_MIN, BIAS_MAX, out=bias_codes)
    np.subtract(bias_codes, bias_residual, out=bias_residual)
    bias_codes *= np.float32(bias_step)
    tensors = [torch.from_numpy(x) for x in (codes, residual, bias_codes, bias_residual)]
    return _Layer(
        codes=tensors[0], residual=tensors[1], step=step, largest=largest, bias=tensors[2],
        bias_residual=tensors[3], bias_step=bias_step, dtype=None, low_codes=tensors[0], bytes=None,
    )  # fmt: skip


def _run(x: Tensor, network: _Network) -> tuple[list[_Quantised], tuple[Tensor, Tensor]]:
    """Every quantiser's result, and the outputs: pre-tanh action and features."""
    steps, bits, last = network.steps, network.bits, len(network.layers)
    quantised = [_quantise(x / steps[0].size, steps[0], bits[0], signed=True)]
    for i, layer in enumerate(network.layers, start=1):
        codes = quantised[-1].codes
        if layer.bytes is None:
            h = torch.addmm(layer.bias, codes, layer.codes.t(), alpha=layer.bias_step)
        else:
            sums = torch._int_mm(codes.to(torch.int8), layer.bytes)  # noqa: SLF001 no other name
            h = torch.add(layer.bias, sums, alpha=layer.bias_step)
        h.div_(steps[i].size)
        quantised.append(_quantise(h, steps[i], bits[i], signed=i == last))
    features, output = (q.codes * q.step.size for q in quantised[-2:])
    return quantised, (output, features)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, network: _Network, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        count = len(network.layers)
        quantised, outputs = _run(x, network)
        ctx.save_for_backward(*parameters[count + 1 : 2 * count + 1])
        ctx.quantised, ctx.layers = quantised, network.layers
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        d_x, *rest = _gradients(ctx.quantised, ctx.layers, ctx.saved_tensors, *grads)
        return (d_x, None, *rest)


def _gradients(
    quantised: list[_Quantised],
    layers: list[_Layer],
    weights: Sequence[Tensor],
    grad_output: Tensor | None,
    grad_features: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of the input and of the parameters, as ``flat_parameters`` lists them."""
    count = len(layers)
    d_ranges: list[Tensor | None] = [None] * (count + 1)
    d_weights: list[Tensor | None] = [None] * count
    d_biases: list[Tensor | None] = [None] * count
    grad, extra = grad_output, 0.0
    for i in reversed(range(count)):
        if i == count - 2 and grad_features is not None:
            grad = grad_features if grad is None else grad + grad_features
        if grad is None:  # only the features were used: the last layer has no gradient
            continue
        before, after, layer = quantised[i], quantised[i + 1], layers[i]
        dh, d_ranges[i + 1] = after.backward(grad, extra)
        d_biases[i] = d_bias = dh.sum(0)
        d_bias_step = _dot(d_bias, layer.bias_residual)
        low = dh if layer.dtype is None else dh.to(layer.dtype)
        d_weights[i] = _weight_gradient(low, before, layer, weights[i], d_bias_step)
        grad = torch.mm(low, layer.low_codes).float().mul_(layer.step.size)
        extra = d_bias_step * layer.step.size
    d_x = None
    if grad is not None:
        d_x, d_ranges[0] = quantised[0].backward(grad, extra)
    return (d_x, *d_ranges, *d_weights, *d_biases)


def _weight_gradient(
    dh: Tensor, before: _Quantised, layer: _Layer, weight: Tensor, d_bias_step: float
) -> Tensor:
    grad = torch.mm(dh.t(), before.codes.to(dh.dtype)).float().mul_(before.step.size)
    d_step = _dot(grad, layer.residual) + d_bias_step * before.step.size
    values = weight.detach().numpy()
    index = int(values.argmax() if layer.largest > 0 else values.argmin())
    grad.view(-1)[index] += math.copysign(layer.step.slope, layer.largest) * d_step
    return grad


def _dot(a: Tensor, b: Tensor) -> float:
    return torch.dot(a.reshape(-1), b.reshape(-1)).item()
