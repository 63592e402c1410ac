"""Forward and backward pass of a ``TwinCritic`` in few torch operations, products at any precision.

The parameters of both critics become views of one flat float32 tensor: one cast, one Adam step and
one step of the target network are one operation each, and the twins share every batched product.
With ``dtype`` bfloat16 products take inputs rounded to 8 bits of mantissa, which AVX512-BF16 and
AMX multiply twice as fast and sum in float32; weights, last layer, Q values and Adam stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qpolicy_training.rl.networks import TwinCritic

threshold_backward = torch.ops.aten.threshold_backward
_EPSILON = 1e-5  # of nn.LayerNorm


class Pass(NamedTuple):
    """A forward pass: ``(2, batch)`` float32, and what the backward passes need."""

    q: Tensor
    inputs: Tensor  # (2, batch, n + m), dtype of the products
    first: Tensor  # (2, batch, width) behind ReLU
    second: Tensor
    sums: list[tuple[Tensor, Tensor, Tensor]]
    """With layer normalisation, of each hidden layer: its sums, their means, 1 / their spreads."""


class _Parts(NamedTuple):
    """Views of a flat tensor: weights ``(2, out, in)`` and biases ``(2, 1, out)``."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor


class FlatTwinCritic:
    """``critic`` with its parameters in one flat tensor.

    Attributes:
        flat: float32, all parameters; those of ``critic`` are views of it from now on.
        gradient: float32, as ``flat``; ``backward`` fills it.
    """

    def __init__(self, critic: TwinCritic, dtype: torch.dtype) -> None:
        twins: Any = critic.critics
        layers = [[part for part in twin if isinstance(part, nn.Linear)] for twin in twins]
        self._norm = critic.norm
        self._shapes = []
        for layer in layers[0]:
            outputs, inputs = layer.weight.shape
            self._shapes += [(2, outputs, inputs), (2, 1, outputs)]
        sizes = [torch.Size(shape).numel() for shape in self._shapes]
        self.flat = torch.empty(sum(sizes))
        self.gradient = torch.empty_like(self.flat)
        self._dtype = dtype
        # At float32 the products take the parameters themselves.
        low = dtype != torch.float32
        self._low = torch.empty_like(self.flat, dtype=dtype) if low else self.flat
        self._low_gradient = torch.empty_like(self._low) if low else self.gradient
        self._wide = sum(sizes[:4])  # the first two layers: what is computed in `dtype`
        self._parts, self._gradients = self._split(self.flat), self._split(self.gradient)
        self._low_parts = self._split(self._low)
        self._low_gradients = self._split(self._low_gradient)
        with torch.no_grad():
            for index, twin in enumerate(layers):
                for place, layer in enumerate(twin):
                    weight, bias = (
                        self._parts[2 * place][index],
                        self._parts[2 * place + 1][index, 0],
                    )
                    weight.copy_(layer.weight)
                    bias.copy_(layer.bias)
                    layer.weight.data, layer.bias.data = weight, bias
        self.changed()

    def changed(self) -> None:
        """Tell that ``flat``, or a view of it, has new values."""
        if self._low is not self.flat:
            self._low.copy_(self.flat)

    def forward(self, observation: Tensor, action: Tensor) -> Pass:
        """Both critics' Q values of observations ``(batch, n)``, normalised, and actions."""
        low = self._low_parts
        x = torch.cat((observation, action), dim=1).to(self._dtype).expand(2, -1, -1)
        sums: list[tuple[Tensor, Tensor, Tensor]] = []
        first = self._normalise(torch.baddbmm(low.b1, x, low.w1.transpose(1, 2)), sums).relu_()
        second = self._normalise(torch.baddbmm(low.b2, first, low.w2.transpose(1, 2)), sums).relu_()
        # Q values need more than 8 bits of mantissa.
        exact = self._parts
        q = torch.baddbmm(exact.b3, second.float(), exact.w3.transpose(1, 2))
        return Pass(q.squeeze(2), x, first, second, sums)

    def values(self, observation: Tensor, action: Tensor) -> Tensor:
        """``forward``'s ``q`` alone: of a critic that is only asked for this."""
        return self.forward(observation, action).q

    def backward(self, done: Pass, d_q: Tensor) -> None:
        """Fill ``gradient`` for the gradient ``d_q`` ``(2, batch)`` of the Q values."""
        d_q = d_q.unsqueeze(2)
        low, exact = self._low_gradients, self._gradients
        d_second = torch.bmm(d_q.to(self._dtype), self._low_parts.w3)
        d_first, d_second = self._hidden(done, d_second)
        torch.bmm(d_second.transpose(1, 2), done.first, out=low.w2)
        torch.sum(d_second, dim=1, keepdim=True, out=low.b2)
        torch.bmm(d_first.transpose(1, 2), done.inputs, out=low.w1)
        torch.sum(d_first, dim=1, keepdim=True, out=low.b1)
        if self._low is not self.flat:
            self.gradient[: self._wide].copy_(self._low_gradient[: self._wide])
        torch.bmm(d_q.transpose(1, 2), done.second.float(), out=exact.w3)
        torch.sum(d_q, dim=1, keepdim=True, out=exact.b3)

    def action_gradient(self, done: Pass, d_value: Tensor, actions: int) -> Tensor:
        """Gradient of the last ``actions`` inputs, float32 ``(batch, actions)``.

        ``d_value`` ``(2, batch)``: that of the Q values.
        """
        d_second = d_value.unsqueeze(2) * self._parts.w3
        d_first, _ = self._hidden(done, d_second.to(self._dtype))
        return torch.bmm(d_first, self._low_parts.w1[:, :, -actions:]).float().sum(0)

    def _hidden(self, done: Pass, d_second: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the sums of the first and of the second layer from that behind them."""
        low = self._low_parts
        d_second = self._to_sums(threshold_backward(d_second, done.second, 0), done, 1)
        d_first = threshold_backward(torch.bmm(d_second, low.w2), done.first, 0)
        return self._to_sums(d_first, done, 0), d_second

    def _normalise(self, sums: Tensor, kept: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Layer normalisation, where the critic has it; ``kept`` gets what ``_to_sums`` needs."""
        if not self._norm:
            return sums
        result, mean, scale = torch.native_layer_norm(sums, sums.shape[2:], None, None, _EPSILON)
        kept.append((sums, mean, scale))
        return result

    def _to_sums(self, gradient: Tensor, done: Pass, layer: int) -> Tensor:
        """Backward pass of ``_normalise``."""
        if not self._norm:
            return gradient
        sums, mean, scale = done.sums[layer]
        result: Tensor = torch.ops.aten.native_layer_norm_backward(
            gradient, sums, sums.shape[2:], mean, scale, None, None, [True, False, False]
        )[0]
        return result

    def per_parameter(self, flat: Tensor) -> list[Tensor]:
        """Views of a tensor like ``flat``, shaped and ordered as the critic's own parameters."""
        parts = self._split(flat)
        return [
            part[twin] if index % 2 == 0 else part[twin, 0]
            for twin in range(2)
            for index, part in enumerate(parts)
        ]

    def _split(self, flat: Tensor) -> _Parts:
        def parts() -> Iterator[Tensor]:
            start = 0
            for shape in self._shapes:
                size = torch.Size(shape).numel()
                yield flat[start : start + size].view(shape)
                start += size

        return _Parts(*parts())
