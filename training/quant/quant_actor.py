"""The quantised actor: Brevitas layers after the paper's code.

Learning Quantized Continuous Controllers for Integer Hardware (Kresse & Lampert, arXiv
2511.07046): the normalised observation is quantised to ``b_in`` signed bits, every hidden layer has
``b_core``-bit narrow-range weights (scale = largest magnitude) and ``b_core``-bit unsigned ReLU
outputs, the last layer's output is quantised to ``b_out`` signed bits. Activation ranges are the
99.999th percentile of the first 300 training batches, then learned. Biases carry 32 bits at the
scale of the accumulator. The action, ``tanh(u) * scale + bias``, is applied outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import brevitas.config
import brevitas.nn as qnn
import torch
from brevitas.core.scaling import ParameterFromRuntimeStatsScaling
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerTensorFloat,
    Int32Bias,
    Uint8ActPerTensorFloat,
)
from brevitas.quant.fixed_point import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerTensorFixedPoint,
    Uint8ActPerTensorFixedPoint,
)
from torch import Tensor, nn

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.model import MAX_BITS, MIN_BITS

# By default Brevitas builds new quantisers when a state dict is loaded; an optimiser would go on
# with the old range parameters, and ranges would silently stop learning after a resume.
brevitas.config.REINIT_ON_STATE_DICT_LOAD = False


@dataclass(frozen=True)
class ActorSpec:
    """Architecture of a quantised actor.

    ``observations`` and ``actions`` are vector lengths, ``hidden`` the widths of the hidden layers,
    ``b_in``, ``b_core`` and ``b_out`` bits (2 to 8) of the input, of weights and hidden
    activations, and of the output. ``power_of_two`` restricts every scale to a power of two.
    ``fan_in``: at most so many weights of a neuron that are not 0, one number a layer, 0 = all;
    empty: all of every layer.

    Raises ``PolicyError`` naming the field and its value.
    """

    observations: int
    actions: int
    hidden: tuple[int, ...]
    b_in: int
    b_core: int
    b_out: int = 8
    power_of_two: bool = False
    fan_in: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("b_in", "b_core", "b_out"):
            if not MIN_BITS <= getattr(self, name) <= MAX_BITS:
                raise PolicyError(
                    f"{name}: {getattr(self, name)} bits; use {MIN_BITS} to {MAX_BITS}"
                )
        if not self.hidden or min(self.observations, self.actions, *self.hidden) < 1:
            raise PolicyError(
                f"layer sizes: {self.layer_sizes()}; use at least one hidden layer "
                "and sizes of at least 1"
            )
        if self.fan_in and len(self.fan_in) != len(self.hidden) + 1:
            raise PolicyError(
                f"fan_in: {self.fan_in}: give one number for each of {len(self.hidden) + 1} layers"
            )
        for layer, (most, inputs) in enumerate(zip(self.fan_in, self.layer_sizes(), strict=False)):
            if not 0 <= most <= inputs:
                raise PolicyError(
                    f"fan_in: {most} in layer {layer}, which has {inputs} inputs; "
                    f"give 1 to {inputs}, or 0 for all"
                )

    def layer_sizes(self) -> tuple[int, ...]:
        """Vector lengths from the observation through the hidden layers to the action."""
        return (self.observations, *self.hidden, self.actions)


class QuantActor(nn.Module):
    """Brevitas network from a normalised observation to the quantised pre-tanh action.

    ``input`` and ``output`` are the quantisers at both ends, ``layers`` the linear layers (hidden
    ones, then the last), ``activations`` the quantised ReLUs of the hidden layers. ``state_dict``
    also holds the progress of the statistics phase, so a run resumes exactly within it.
    """

    def __init__(self, spec: ActorSpec) -> None:
        super().__init__()
        self.spec = spec
        pot = spec.power_of_two
        signed = Int8ActPerTensorFixedPoint if pot else Int8ActPerTensorFloat
        unsigned = Uint8ActPerTensorFixedPoint if pot else Uint8ActPerTensorFloat
        weight = Int8WeightPerTensorFixedPoint if pot else Int8WeightPerTensorFloat
        sizes = spec.layer_sizes()
        self.input = qnn.QuantIdentity(
            act_quant=signed, bit_width=spec.b_in, return_quant_tensor=True
        )
        # Any: ModuleList would hide what Brevitas layers have beside forward.
        self.layers: Any = nn.ModuleList(
            qnn.QuantLinear(
                fan_in,
                fan_out,
                bias=True,
                weight_quant=weight,
                weight_bit_width=spec.b_core,
                bias_quant=Int32Bias,
            )
            for fan_in, fan_out in pairwise(sizes)
        )
        self.activations: Any = nn.ModuleList(
            qnn.QuantReLU(act_quant=unsigned, bit_width=spec.b_core, return_quant_tensor=True)
            for _ in spec.hidden
        )
        self.output = qnn.QuantIdentity(
            act_quant=signed, bit_width=spec.b_out, return_quant_tensor=True
        )
        for weight, most in limited_weights(self):
            with torch.no_grad():
                weight.mul_(math.sqrt(weight.shape[1] / most))  # as a layer of so few inputs begins
                prune(weight, most)
        self._scalings: list[ParameterFromRuntimeStatsScaling] | None = None
        self.register_load_state_dict_post_hook(_restore_statistics)

    def forward(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(batch, n)`` to the pre-tanh action ``(batch, m)`` and the last hidden layer.

        Both are quantised values in float; the second, ``(batch, h)``, feeds the exploration head.
        """
        x = self.input(normalised)
        for layer, activation in zip(self.layers[:-1], self.activations, strict=True):
            x = activation(layer(x))
        return self.output(self.layers[-1](x)).value, x.value

    def train(self, mode: bool = True) -> QuantActor:
        """Set training mode.

        A calibrated actor computes the same in both modes, so its 290 Brevitas modules are left
        alone: walking them twice an update costs more than a fast forward and backward pass.
        """
        if self.calibrated:
            self.training = mode
            return self
        return super().train(mode)

    def quantisers(self) -> list[Any]:
        """Activation quantisers in order: input, hidden layers, output."""
        return [self.input, *self.activations, self.output]

    def scalings(self) -> list[ParameterFromRuntimeStatsScaling]:
        """Brevitas modules that hold the activation ranges, in the order of ``quantisers``."""
        if self._scalings is None:  # found once: the chain of attributes is slow
            self._scalings = [scaling_of(quantiser) for quantiser in self.quantisers()]
        return self._scalings

    def flat_parameters(self) -> list[Tensor]:
        """Range parameters, then weight matrices, then biases, each in order of the layers."""
        layers = [(layer.weight, layer.bias) for layer in self.layers]
        ranges = [scaling.value for scaling in self.scalings()]
        return [*ranges, *(weight for weight, _ in layers), *(bias for _, bias in layers)]

    @property
    def calibrated(self) -> bool:
        """Whether the statistics phase is over, so that the activation ranges are parameters."""
        return all(s.counter > s.collect_stats_steps for s in self.scalings())

    def get_extra_state(self) -> Tensor:
        """Range parameter, running statistic and batch counter of each quantiser, ``(k, 3)``."""
        rows = [[s.value.item(), s.buffer.item(), float(s.counter)] for s in self.scalings()]
        return torch.tensor(rows, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Keep the rows of ``get_extra_state`` until the submodules are loaded."""
        self._pending = state


def _restore_statistics(actor: nn.Module, incompatible: Any) -> None:
    """Apply ``get_extra_state`` after loading.

    Brevitas drops its counter from the state dict, and the range too before the first batch.
    """
    assert isinstance(actor, QuantActor)
    rows = actor.__dict__.pop("_pending", None)
    if rows is None:
        return
    set_statistics(actor, rows)
    incompatible.missing_keys[:] = [
        key for key in incompatible.missing_keys if not key.endswith("scaling_impl.value")
    ]


@torch.no_grad()
def set_statistics(actor: QuantActor, rows: Tensor) -> None:
    """Give an actor's quantisers the ranges and statistics ``(k, 3)`` of ``get_extra_state``."""
    for scaling, (value, buffer, counter) in zip(actor.scalings(), rows.tolist(), strict=True):
        scaling.value.fill_(value)
        scaling.buffer.fill_(buffer)
        scaling.counter = int(counter)


def scaling_of(quantiser: Any) -> ParameterFromRuntimeStatsScaling:
    """The module inside a Brevitas activation quantiser that holds its range."""
    scaling = quantiser.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
    assert isinstance(scaling, ParameterFromRuntimeStatsScaling)
    return scaling


def set_range(quantiser: Any, largest: float, *, power_of_two: bool) -> None:
    """Set an activation quantiser's range to ``largest`` (> 0) and end its statistics phase."""
    scaling = scaling_of(quantiser)
    largest = max(largest, 1e-6)
    with torch.no_grad():
        scaling.value.fill_(math.log2(largest) if power_of_two else largest)
    scaling.counter = scaling.collect_stats_steps + 1


def get_range(quantiser: Any, *, power_of_two: bool) -> float:
    """Range of a calibrated activation quantiser: bits divide it into steps."""
    value = scaling_of(quantiser).value.item()
    return 2.0**value if power_of_two else abs(value)


def limited_weights(actor: QuantActor) -> list[tuple[Tensor, int]]:
    """Weight matrices whose neurons keep few inputs, with how many."""
    limits = zip(actor.layers, actor.spec.fan_in, strict=bool(actor.spec.fan_in))
    return [(layer.weight, most) for layer, most in limits if most]


@torch.no_grad()
def prune(weight: Tensor, most: int) -> None:
    """Set all but the ``most`` largest magnitudes of each row to 0."""
    if most < weight.shape[1]:
        smallest = weight.abs().topk(weight.shape[1] - most, dim=1, largest=False).indices
        weight.scatter_(1, smallest, 0.0)


def weight_quantiser(values: Tensor, bits: int) -> Tensor:
    """Narrow-range quantisation of ``values`` with the scale of their largest magnitude."""
    scale = values.abs().max().clamp_min(1e-10) / (2 ** (bits - 1) - 1)
    return (values / scale).round() * scale


def clip_weights(weight: Tensor, bits: int) -> Tensor:
    """Clip a weight matrix to the range with the least quantisation error at ``bits`` bits.

    The scale is the largest magnitude, so at 2 or 3 bits one outlier would round most weights to
    zero; clipping it first makes the step from a finer network smooth.
    """
    largest = weight.abs().max().item()
    candidates = [weight.clamp(-largest * f, largest * f) for f in torch.linspace(0.2, 1.0, 33)]
    errors = [(weight_quantiser(c, bits) - weight).square().sum().item() for c in candidates]
    return candidates[errors.index(min(errors))]


@torch.no_grad()
def calibrate(actor: QuantActor, normalised: Tensor) -> None:
    """Set every activation range to the one with the least squared error on observations.

    ``normalised`` is ``(samples, n)``. Ranges are set from the input to the output, each on the
    values that the quantised layers before it produce.
    """
    was_training = actor.training
    actor.eval()
    pot = actor.spec.power_of_two
    _fit_range(actor.input, normalised, power_of_two=pot)
    x = actor.input(normalised)
    for layer, activation in zip(actor.layers[:-1], actor.activations, strict=True):
        h = layer(x)
        _fit_range(activation, h.relu(), power_of_two=pot)
        x = activation(h)
    _fit_range(actor.output, actor.layers[-1](x), power_of_two=pot)
    actor.train(was_training)


def _fit_range(quantiser: Any, values: Tensor, *, power_of_two: bool) -> None:
    largest = values.abs().max().item()
    best, least = largest, math.inf
    for factor in torch.linspace(0.1, 1.0, 37).tolist():
        set_range(quantiser, largest * factor, power_of_two=power_of_two)
        error = (quantiser(values).value - values).square().sum().item()
        if error < least:
            best, least = largest * factor, error
    set_range(quantiser, best, power_of_two=power_of_two)


@torch.no_grad()
def from_float(
    weights: Sequence[Tensor], biases: Sequence[Tensor], spec: ActorSpec, normalised: Tensor
) -> QuantActor:
    """Post-training quantisation of a ReLU network: clip weights, calibrate activations.

    ``weights`` are ``(out, in)``, one for each layer of ``spec``; ``normalised`` observations
    ``(samples, n)``.
    """
    actor = QuantActor(spec)
    for layer, weight, bias in zip(actor.layers, weights, biases, strict=True):
        layer.weight.copy_(clip_weights(torch.as_tensor(weight), spec.b_core))
        layer.bias.copy_(torch.as_tensor(bias))
    for weight, most in limited_weights(actor):
        prune(weight, most)
    calibrate(actor, normalised)
    return actor


@torch.no_grad()
def with_bits(actor: QuantActor, spec: ActorSpec, normalised: Tensor | None = None) -> QuantActor:
    """Rebuild a calibrated actor at other bit-widths: one step of lowering bits gradually.

    Where the bits of the core fall, weights are clipped to the best range of the new width.
    Activation ranges are refitted on ``normalised`` observations ``(samples, n)`` where their bits
    change, and kept otherwise (all kept without observations). ``actor`` is left alone.

    Raises ``PolicyError`` where ``spec`` has other layer sizes.
    """
    if spec.layer_sizes() != actor.spec.layer_sizes():
        raise PolicyError(
            f"layer sizes: {spec.layer_sizes()}, the actor's are "
            f"{actor.spec.layer_sizes()}; only bit-widths may change"
        )
    new = QuantActor(spec)
    for layer, old in zip(new.layers, actor.layers, strict=True):
        lower = spec.b_core < actor.spec.b_core
        layer.weight.copy_(clip_weights(old.weight, spec.b_core) if lower else old.weight)
        layer.bias.copy_(old.bias)
    for weight, most in limited_weights(new):
        prune(weight, most)
    if normalised is not None:
        calibrate(new, normalised)
    kept = [spec.b_in == actor.spec.b_in]
    kept += [spec.b_core == actor.spec.b_core] * len(spec.hidden)
    kept += [spec.b_out == actor.spec.b_out]
    pairs = zip(new.quantisers(), actor.quantisers(), kept, strict=True)
    for quantiser, old, same in pairs:
        if same or normalised is None:
            largest = get_range(old, power_of_two=actor.spec.power_of_two)
            set_range(quantiser, largest, power_of_two=spec.power_of_two)
    return new.train(actor.training)
