"""A ``FlatTwinCritic`` whose passes are one call of C each, with AVX2 or AVX512-BF16.

The same passes in torch are some forty operations, each of which reads and writes whole batches:
half of the time goes into that and into the calls. ``_critic.c`` takes 16 rows at a time through
both layers, so that what they need stays in the second-level cache. Products of bfloat16 take
inputs rounded to 8 bits of mantissa, as torch's do; what is summed or normalised stays float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qpolicy_training.quant.processor import CRITIC, compiled_passes
from qpolicy_training.rl.networks import TwinCritic
from qpolicy_training.rl.twin_critic import FlatTwinCritic, Pass

_BLOCK, _COLUMNS = 16, 32  # rows that go through together, units that a panel holds


def flat_twin_critic(critic: TwinCritic, dtype: torch.dtype) -> FlatTwinCritic:
    """``critic`` with its parameters in one flat tensor, its passes compiled where they can be."""
    fits = critic.width % _COLUMNS == 0 and len(critic.critics) == 2
    passes = compiled_passes(CRITIC, dtype) if fits else None
    if passes is None:
        return FlatTwinCritic(critic, dtype)
    return CompiledTwinCritic(critic, dtype, passes)


class CompiledTwinCritic(FlatTwinCritic):
    """See ``FlatTwinCritic``; a pass is good until the next ``forward``.

    ``passes`` is ``compiled_passes(CRITIC, dtype)``.
    """

    def __init__(self, critic: TwinCritic, dtype: torch.dtype, passes: Any) -> None:
        self._passes = passes
        self._sizes = critic.observations, critic.actions, critic.width
        self._norm = critic.norm
        self._batch = 0
        self._back = False  # a target network never goes back
        self._block = torch.empty(0, dtype=torch.uint8)
        super().__init__(critic, dtype)

    def changed(self) -> None:
        """Tell that ``flat``, or a view of it, has new values."""
        if self._batch:
            self._passes.pack(self._block.data_ptr(), self.flat.data_ptr(), int(self._back))
        else:
            super().changed()

    def forward(self, observation: Tensor, action: Tensor) -> Pass:
        """See ``FlatTwinCritic.forward``."""
        if len(observation) != self._batch or not self._back:
            self._prepare(len(observation), back=True)
        if not self._batch:
            return super().forward(observation, action)
        q = self._q(observation, action, keep=True)
        return Pass(q, q, q, q, [])

    def values(self, observation: Tensor, action: Tensor) -> Tensor:
        """See ``FlatTwinCritic.values``."""
        if len(observation) != self._batch:
            self._prepare(len(observation), back=self._back)
        if not self._batch:
            return super().values(observation, action)
        return self._q(observation, action, keep=False)

    def _q(self, observation: Tensor, action: Tensor, *, keep: bool) -> Tensor:
        """Q values; with ``keep`` the block has afterwards what the passes back need."""
        q = torch.empty(2, len(observation))
        observation, action = _rows(observation), _rows(action)
        self._passes.forward(
            self._block.data_ptr(), self.flat.data_ptr(), observation.data_ptr(),
            observation.stride(0), action.data_ptr(), action.stride(0), q.data_ptr(), int(keep),
        )  # fmt: skip
        return q

    def backward(self, done: Pass, d_q: Tensor) -> None:
        """See ``FlatTwinCritic.backward``."""
        if not self._batch:
            super().backward(done, d_q)
            return
        d_q = d_q.contiguous()
        self._passes.backward(
            self._block.data_ptr(), self.flat.data_ptr(), d_q.data_ptr(), self.gradient.data_ptr()
        )

    def action_gradient(self, done: Pass, d_value: Tensor, actions: int) -> Tensor:
        """See ``FlatTwinCritic.action_gradient``."""
        if not self._batch:
            return super().action_gradient(done, d_value, actions)
        d_value, result = d_value.contiguous(), torch.empty(d_value.shape[1], actions)
        self._passes.action_gradient(
            self._block.data_ptr(), self.flat.data_ptr(), d_value.data_ptr(), result.data_ptr()
        )
        return result

    def _prepare(self, batch: int, *, back: bool) -> None:
        """Make the block of memory for batches of this size; 0: torch takes the passes.

        ``back``: whether the weights are packed for the passes back too.
        """
        self._back = back
        self._batch = batch if batch % _BLOCK == 0 else 0
        if self._batch:
            sizes = (*self._sizes, batch, int(self._norm))
            self._block = torch.empty(self._passes.size(*sizes), dtype=torch.uint8)
            self._passes.prepare(self._block.data_ptr(), *sizes)
        self.changed()


def _rows(values: Tensor) -> Tensor:
    """``values``, float32, with each row's numbers side by side."""
    return values if values.stride(1) == 1 else values.contiguous()
