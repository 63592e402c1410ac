"""The snapped module: the torch reference that every integer engine must equal bit for bit.

The plain Brevitas graph multiplies rounded float32 weights and activations and sums them in an
order that depends on the batch size. Snapping takes the same trained module and

1. computes the input codes by the contract's float32 formula,
2. sums integers exactly (float32 where every partial sum stays below 2**24, else float64),
3. applies the module's own elementwise tail to the sum: folded scale, quantised bias, ReLU and
   activation quantiser, each operation as Brevitas has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.bounds import partial_sum_bound
from qpolicy_training.experience.normaliser import STD_FLOOR
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor

EXACT_FLOAT32 = 2**24  # every integer up to here is a float32


@dataclass(frozen=True, eq=False)
class SnappedLayer:
    """One linear layer on integer codes, with the tail behind it.

    Attributes:
        name: ``hidden 0``, ``hidden 1``, ... or ``output``.
        weight: integer values ``(out, in)`` in float32 or float64, whichever sums exactly.
        scale: step of the accumulator, float32 scalar.
        bias: quantised bias in float, float32 ``(out,)``.
        activation: ReLU in a hidden layer, identity in the last.
        quantiser: Brevitas' integer quantiser behind it, stateless.
        step, bits: its step and bit-width, float32 scalars.
        input_range, code_range: lowest and highest code before and behind the layer.
    """

    name: str
    weight: Tensor
    scale: Tensor
    bias: Tensor
    activation: nn.Module
    quantiser: nn.Module
    step: Tensor
    bits: Tensor
    input_range: tuple[int, int]
    code_range: tuple[int, int]

    def accumulate(self, codes: Tensor) -> Tensor:
        """Exact ``W q`` of codes ``(N, in)``: ``(N, out)``, integers in the weight's type."""
        return linear(codes.to(self.weight.dtype), self.weight)

    def tail(self, accumulators: Tensor, neurons: Tensor | None = None) -> Tensor:
        """Codes of accumulators ``(..., out)``, float32 integers within ``code_range``.

        With ``neurons``, ``(k,)`` indices, accumulators are of these alone: ``(..., k)``.
        """
        bias = self.bias if neurons is None else self.bias[neurons]
        h = accumulators.to(torch.float32) * self.scale + bias
        zero_point = torch.zeros(())
        codes: Tensor = self.quantiser.to_int(self.step, zero_point, self.bits, self.activation(h))
        return codes

    def integer_weight(self) -> npt.NDArray[np.int8]:
        """The weight matrix as int8 ``(out, in)``."""
        return self.weight.numpy().astype(np.int8)


@dataclass(frozen=True, eq=False)
class SnappedPolicy:
    """A trained actor with its normalisation folded, in exact arithmetic.

    ``mean`` and ``gain`` are float32 ``(n,)``; ``output_step`` is the float32 step of the output
    codes, so that ``tanh(code * output_step)`` is the action before scaling.
    """

    spec: ActorSpec
    mean: Tensor
    gain: Tensor
    layers: tuple[SnappedLayer, ...]
    output_step: Tensor

    def input_codes(self, observations: Tensor) -> Tensor:
        """Step 1 of the contract: float32 ``(N, n)`` to float32 integers of the same shape."""
        low, high = self.layers[0].input_range
        return ((observations - self.mean) * self.gain).round().clamp(low, high)

    @torch.no_grad()
    def codes(self, observations: npt.ArrayLike) -> list[npt.NDArray[np.int32]]:
        """Every code: input, each hidden layer, output, int32 ``(N, width)`` each.

        ``observations`` is float32 ``(N, n)``, finite.
        """
        codes = self.input_codes(torch.as_tensor(np.asarray(observations, np.float32)))
        trace = [codes]
        for layer in self.layers:
            codes = layer.tail(layer.accumulate(codes))
            trace.append(codes)
        return [codes.to(torch.int32).numpy() for codes in trace]


@torch.no_grad()
def snap(actor: QuantActor, mean: npt.ArrayLike, std: npt.ArrayLike) -> SnappedPolicy:
    """Take a calibrated actor and its normalisation, ``(n,)`` each, to exact arithmetic.

    Raises:
        PolicyError: the actor still collects statistics, or a value of mean, std, weights or
            scales is not finite.
    """
    if not actor.calibrated:
        raise PolicyError.at("", "actor", "still collects statistics", "train it further")
    was_training = actor.training
    actor.eval()
    try:
        return _snap(actor, mean, std)
    finally:
        actor.train(was_training)


def _snap(actor: QuantActor, mean: npt.ArrayLike, std: npt.ArrayLike) -> SnappedPolicy:
    spec = actor.spec
    quantised = actor.input(torch.zeros(1, spec.observations))
    mean32, gain = _fold_input(mean, std, float(quantised.scale), spec.observations)
    input_range = _code_range(spec.b_in, signed=True)
    layers = []
    quantisers = actor.quantisers()[1:]
    for i, (layer, quantiser) in enumerate(zip(actor.layers, quantisers, strict=True)):
        last = i == len(spec.hidden)
        name = "output" if last else f"hidden {i}"
        _require_finite(name, weight=layer.weight, bias=layer.bias, scale=quantised.scale)
        weight = layer.quant_weight()
        integers = weight.int(float_datatype=True).to(torch.float32)
        exact = partial_sum_bound(integers.numpy(), *input_range) < EXACT_FLOAT32
        code_range = _code_range(spec.b_out if last else spec.b_core, signed=last)
        before, quantised = quantised, quantiser(torch.zeros(1, layer.out_features))
        proxy = quantiser.act_quant.fused_activation_quant_proxy
        layers.append(
            SnappedLayer(
                name=name,
                weight=integers if exact else integers.double(),
                scale=(before.scale * weight.scale).reshape(()),
                bias=layer.bias_quant(layer.bias, before, weight).value,
                activation=proxy.activation_impl,
                quantiser=proxy.tensor_quant.int_quant,
                step=quantised.scale.clone(),
                bits=quantised.bit_width.clone(),
                input_range=input_range,
                code_range=code_range,
            )
        )
        input_range = code_range
    _require_finite("output", scale=quantised.scale)
    return SnappedPolicy(spec, mean32, gain, tuple(layers), layers[-1].step)


def _fold_input(
    mean: npt.ArrayLike, std: npt.ArrayLike, step: float, size: int
) -> tuple[Tensor, Tensor]:
    mean32, std32 = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    for field, value in (("mean", mean32), ("std", std32)):
        if value.shape != (size,):
            wrong = f"shape {value.shape}, the actor has {size} inputs"
            raise PolicyError.at("", field, wrong, "use the normalisation it was trained with")
        if not np.isfinite(value).all():
            index = int(np.argmin(np.isfinite(value)))
            wrong = f"value {index} is {value[index]}"
            raise PolicyError.at("", field, wrong, "check the training observations")
    floored = np.maximum(std32, np.float32(STD_FLOOR))
    gain = np.float32(1) / (floored * np.float32(step))
    if not (np.isfinite(gain) & (gain > 0)).all():
        raise PolicyError.at("", "gain", f"input step {step} is out of range", "train it again")
    return torch.from_numpy(mean32.copy()), torch.from_numpy(gain)


def _code_range(bits: int, *, signed: bool) -> tuple[int, int]:
    if signed:
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _require_finite(name: str, **tensors: Tensor) -> None:
    for field, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            wrong = f"{field} holds a value that is not finite"
            remedy = "training diverged; take an earlier checkpoint"
            raise PolicyError.at("", f"layer {name}", wrong, remedy)
