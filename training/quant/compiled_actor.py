"""``QuantisedOnce`` whose passes are one call of C each, on processors with AVX2 or AVX512-BF16."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from qpolicy_training.quant.fast_quant import (
    QuantisedOnce,
    activation_step,
    code_range,
    gradient_bounds,
    weight_step,
)
from qpolicy_training.quant.processor import ACTOR, compiled_passes
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor

_MOST_LAYERS = 6
_EXACT = 2**24  # float32 holds every integer below


def quantised_once(actor: QuantActor, dtype: torch.dtype) -> QuantisedOnce:
    """``QuantisedOnce`` of ``actor``, compiled where that can be."""
    passes = compiled_passes(ACTOR, dtype) if fits(actor.spec) else None
    return QuantisedOnce(actor, dtype) if passes is None else CompiledOnce(actor, dtype, passes)


def fits(spec: ActorSpec) -> bool:
    """Whether all sums of the forward pass are integers that float32 holds."""
    code = 2 ** max(spec.b_in - 1, spec.b_core)
    weight = 2 ** (spec.b_core - 1)
    sizes = spec.layer_sizes()
    return len(sizes) - 1 <= _MOST_LAYERS and max(sizes) * code * weight < _EXACT


class CompiledOnce(QuantisedOnce):
    """See ``QuantisedOnce``: the same codes, gradients of products of ``dtype``.

    ``passes`` is ``compiled_passes(ACTOR, dtype)``.
    """

    def __init__(self, actor: QuantActor, dtype: torch.dtype, passes: Any) -> None:
        super().__init__(actor, dtype)
        self._passes = passes
        self._block = torch.empty(0, dtype=torch.uint8)
        self._room = self._given = 0  # observations that the block has room for; of the last call
        self._packed = False
        self._gradients: list[Tensor] = []

    def __call__(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """See ``fast_forward``."""
        return self._outputs(normalised, keep=True)

    def values(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """See ``QuantisedOnce.values``."""
        return self._outputs(normalised, keep=False)

    def _outputs(self, normalised: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() or not self._actor.calibrated:
            return super().__call__(normalised)
        self._given = len(normalised)
        if not self._packed or self._given > self._room:
            self._pack()
        if normalised.stride(1) != 1:
            normalised = normalised.contiguous()
        sizes = self._actor.spec.layer_sizes()
        output = torch.empty(self._given, sizes[-1])
        features = torch.empty(self._given, sizes[-2])
        self._passes.forward(
            self._block.data_ptr(), normalised.data_ptr(), normalised.stride(0), self._given,
            output.data_ptr(), features.data_ptr(), int(keep),
        )  # fmt: skip
        return output, features

    def backward(self, grad_output: Tensor, grad_features: Tensor | None) -> None:
        """Set the gradients of the actor's parameters for those of the last call's outputs."""
        parameters = self._actor.flat_parameters()
        if not self._gradients:
            self._gradients = [torch.empty_like(parameter) for parameter in parameters]
        grad_output = grad_output.contiguous()
        if grad_features is not None:
            grad_features = grad_features.contiguous()
        self._passes.backward(
            self._block.data_ptr(), grad_output.data_ptr(),
            0 if grad_features is None else grad_features.data_ptr(), self._given,
            *(gradient.data_ptr() for gradient in self._gradients),
        )  # fmt: skip
        for parameter, gradient in zip(parameters, self._gradients, strict=True):
            parameter.grad = gradient

    def changed(self) -> None:
        """Tell that the actor's parameters have new values."""
        super().changed()
        self._packed = False

    def _pack(self) -> None:
        """Quantise the parameters into the block, which is made for as many rows as come."""
        spec = self._actor.spec
        parameters = self._actor.flat_parameters()
        if self._given > self._room:
            self._room = self._given
            shape = self._room, *spec.layer_sizes()
            self._block = torch.zeros(self._passes.size(*shape), dtype=torch.uint8)
            self._passes.prepare(self._block.data_ptr(), *shape)
        count = len(spec.hidden) + 1
        table: list[float] = []
        bits = [spec.b_in, *(spec.b_core for _ in spec.hidden), spec.b_out]
        pot = spec.power_of_two
        for i, (value, b) in enumerate(zip(parameters[: count + 1], bits, strict=True)):
            signed = i in (0, count)
            step = activation_step(value.item(), b, signed=signed, power_of_two=pot)
            codes = code_range(b, signed=signed)
            table += [step.size, step.slope, *codes, gradient_bounds(b, signed=signed)[0]]
        levels = 2 ** (spec.b_core - 1) - 1
        for weight in parameters[count + 1 : 2 * count + 1]:
            values = weight.detach().numpy()
            largest = max(float(values.max()), -float(values.min()))
            step = weight_step(largest, spec.b_core, power_of_two=pot)
            table += [step.size, step.slope, levels]
        numbers = np.array(table)
        self._passes.pack(
            self._block.data_ptr(), numbers.ctypes.data,
            *(parameter.data_ptr() for parameter in parameters[count + 1 :]),
        )  # fmt: skip
        self._packed = True
