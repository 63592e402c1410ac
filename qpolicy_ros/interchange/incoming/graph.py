"""The form between a source and a baseline: a graph of neutral operators, and a network.

Operators are named as in ONNX, in small letters with underscores. Tensors go by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy.model import Baseline, Float32

MOST_BYTES = 256 << 20
"""Of a source, with everything that it refers to."""
MOST_NODES = 20_000
NO_CLIP = 1e6
"""What ``clip`` is where the source cuts nothing: more standard deviations than a sensor gives."""

# What a fixed chain of layers cannot hold, in the words of the source.
HELD_BY_NONE = {
    "lstm": "an LSTM",
    "gru": "a GRU",
    "rnn": "a recurrent layer",
    "rnn_tanh": "a recurrent layer",
    "conv": "a convolution",
    "convolution": "a convolution",
    "conv1d": "a convolution",
    "conv2d": "a convolution",
    "attention": "attention",
    "multi_head_attention": "attention",
    "scaled_dot_product_attention": "attention",
    "softmax": "a softmax, as attention has",
    "loop": "a loop",
    "scan": "a loop",
    "if": "a branch",
}
TEACHER_ONLY = "distil it: import it with `--teacher-only`"


class Node(NamedTuple):
    """One operator.

    Attributes:
        op: neutral name, such as ``matmul``.
        inputs: names of tensors; empty where an optional one is left out.
        outputs: names of tensors.
        attributes: numbers, lists and texts by name.
        name: what the source calls it, for errors.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    name: str


@dataclass
class Graph:
    """A source's operators in an order in which they can be computed.

    Attributes:
        nodes: the operators.
        constants: tensors that are given.
        input: name of the observation.
        width: how many values it has.
        rank: how many axes it has; the last one is the values'.
        outputs: names of what is answered.
        parts: where the inputs of a graph with several lie in the observation, by name: first
            value and count; empty where there is one.
    """

    nodes: list[Node]
    constants: dict[str, npt.NDArray[Any]]
    input: str
    width: int
    rank: int
    outputs: list[str]
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Network:
    """What a source computes, in the terms of a baseline, float64 until it is one.

    ``output = steps(clip((x - mean) / std, -clip, clip)) * scale + bias``
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    clip: float
    steps: list[tuple[Any, ...]]
    weights: list[npt.NDArray[np.float64]]
    biases: list[npt.NDArray[np.float64]]
    norm_scales: list[npt.NDArray[np.float64]]
    norm_shifts: list[npt.NDArray[np.float64]]
    scale: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    @property
    def outputs(self) -> int:
        """How many values it answers."""
        return int(self.scale.size)

    def first_outputs(self, count: int) -> Network:
        """The same network with its first ``count`` outputs: of a distribution's, the means."""
        keep = slice(0, count)
        return Network(
            mean=self.mean,
            std=self.std,
            clip=self.clip,
            steps=self.steps,
            weights=[*self.weights[:-1], self.weights[-1][keep]],
            biases=[*self.biases[:-1], self.biases[-1][keep]],
            norm_scales=self.norm_scales,
            norm_shifts=self.norm_shifts,
            scale=self.scale[keep],
            bias=self.bias[keep],
        )

    def baseline(self, scale: npt.ArrayLike = 1.0, offset: npt.ArrayLike = 0.0) -> Baseline:
        """The baseline whose actions are ``output * scale + offset``, each ``(m,)`` or a number."""
        from qpolicy_ros.policy import Baseline  # noqa: PLC0415  a name of this function's result
        from qpolicy_ros.policy.model import plain_steps  # noqa: PLC0415

        factor, shift = (np.asarray(values, np.float64) for values in (scale, offset))
        steps = tuple(self.steps)
        return Baseline(
            mean=_float32(self.mean),
            std=_float32(self.std),
            clip=float(np.float32(self.clip)),
            weights=tuple(map(_float32, self.weights)),
            biases=tuple(map(_float32, self.biases)),
            scale=_float32(self.scale * factor),
            bias=_float32(self.bias * factor + shift),
            steps=() if steps == plain_steps(len(self.weights)) else steps,
            norm_scales=tuple(map(_float32, self.norm_scales)),
            norm_shifts=tuple(map(_float32, self.norm_shifts)),
        )


@dataclass
class Incoming:
    """A source that was read.

    Attributes:
        kind: of file, for people: ``ONNX``.
        network: what it computes; None where a baseline cannot hold it.
        run: the source's own runtime: float32 ``(N, n)`` to ``(N, m)``.
        runtime: its name and version.
        width, outputs: how many values go in and out.
        notes: what the reader decided, a sentence each.
        metadata: texts that the file holds beside the network.
        low, high: limits of the actions that the file states, ``(m,)``; None where it does not.
        facts: what else it says that a contract may take: ``period`` and so on.
    """

    kind: str
    network: Network | None
    run: Callable[[Float32], Float32]
    runtime: str
    width: int
    outputs: int
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    low: npt.NDArray[np.float64] | None = None
    high: npt.NDArray[np.float64] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def refused(file: object, field: str, wrong: str, remedy: str = TEACHER_ONLY) -> InputError:
    """The error of a source whose network a baseline cannot hold."""
    return InputError.at(file, field, wrong, remedy)


def _float32(values: npt.NDArray[Any]) -> Float32:
    with np.errstate(over="ignore"):  # the artifact's rules refuse what became infinite
        return np.ascontiguousarray(values, np.float32)
