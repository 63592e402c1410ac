"""From the last flow of a graph back to the observation: layers, activations, normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from qpolicy_ros.interchange.incoming.elementwise import (
    Affine,
    Cut,
    Element,
    Known,
    Other,
    identify,
    merged,
)
from qpolicy_ros.interchange.incoming.graph import NO_CLIP, Network, refused
from qpolicy_ros.interchange.incoming.values import Base, Flow
from qpolicy_ros.policy.activations import CLIP, LAYER_NORM, LINEAR


def unwind(last: Flow, file: object) -> Network:
    """Return the network that ends with ``last``.

    Raises:
        InputError: a function between two layers is none that a baseline has.
    """
    flows = [last]
    while flows[0].base.parent is not None:
        flows.insert(0, flows[0].base.parent)
    return _Builder(flows[0].width, file).build(flows)


class _Builder:
    """Collects a network's parts, from the observation to the answer."""

    def __init__(self, width: int, file: object) -> None:
        self._file = file
        self._mean, self._std = np.zeros(width), np.ones(width)
        self._clip = NO_CLIP
        self._steps: list[tuple[Any, ...]] = []
        self._weights: list[Any] = []
        self._biases: list[Any] = []
        self._norms: list[tuple[Any, Any]] = []
        self._carried: Affine | None = None  # an affine step that the next layer takes in

    def build(self, flows: Sequence[Flow]) -> Network:
        """Take all flows in, the observation's first."""
        self._input(flows[0].steps, last=len(flows) == 1)
        for index, flow in enumerate(flows[1:], 1):
            self._layer(flow.base)
            if index < len(flows) - 1:
                self._between(flow.steps)
        if not self._weights:
            raise refused(self._file, "graph", "has no layer", "give a policy's network")
        scale, bias = self._output(flows[-1].steps)
        return Network(
            mean=self._mean,
            std=self._std,
            clip=self._clip,
            steps=self._steps,
            weights=self._weights,
            biases=self._biases,
            norm_scales=[scale for scale, _ in self._norms],
            norm_shifts=[shift for _, shift in self._norms],
            scale=scale,
            bias=bias,
        )

    def _input(self, steps: Sequence[Element], *, last: bool) -> None:
        """The normalisation; what comes after it is between input and first layer."""
        chain = merged(steps)
        width = self._mean.size
        if chain and isinstance(chain[0], Affine):
            scale = np.broadcast_to(chain[0].scale, (width,))
            shift = np.broadcast_to(chain[0].shift, (width,))
            if (scale > 0).all() and np.isfinite(scale).all():
                self._mean, self._std = -shift / scale, 1 / scale
                chain = chain[1:]
        if chain and isinstance(chain[0], Cut) and chain[0].uniform:
            low, high = float(chain[0].low.flat[0]), float(chain[0].high.flat[0])
            if math.isfinite(high) and low == -high:
                self._clip = high
                chain = chain[1:]
        if not last:
            self._between(chain)

    def _layer(self, base: Base) -> None:
        if base.weight is None:
            self._norm(base)
            return
        weight, bias = base.weight, base.bias
        assert bias is not None
        if self._carried is not None:
            width = weight.shape[1]
            bias = bias + weight @ np.broadcast_to(self._carried.shift, (width,))
            weight = weight * np.broadcast_to(self._carried.scale, (width,))
            self._carried = None
        if self._steps and self._steps[-1][0] == LINEAR:  # two in a row are one
            self._biases[-1] = weight @ self._biases[-1] + bias
            self._weights[-1] = weight @ self._weights[-1]
            return
        self._steps.append((LINEAR,))
        self._weights.append(weight)
        self._biases.append(bias)

    def _norm(self, base: Base) -> None:
        eps = base.eps
        if self._carried is not None:
            if not self._carried.uniform or not self._carried.scale.flat[0] > 0:
                wrong = "a scale a value before a layer normalisation"
                raise refused(self._file, "graph", wrong)
            # Normalised anew, a common scale changes the share of eps alone.
            eps /= float(self._carried.scale.flat[0]) ** 2
            self._carried = None
        scale = np.ones(base.width) if base.scale is None else np.array(base.scale)
        shift = np.zeros(base.width) if base.shift is None else np.array(base.shift)
        self._steps.append((LAYER_NORM, float(f"{eps:.9g}")))
        self._norms.append((scale, shift))

    def _between(self, steps: Sequence[Element]) -> None:
        shape = identify(steps)
        if shape is None:
            raise self._unknown(steps)
        if shape.before is not None and not self._folded_back(shape.before):
            if shape.steps:
                raise self._unknown(steps)
            self._carried = shape.before
            return
        self._steps += shape.steps
        self._carried = shape.after

    def _folded_back(self, affine: Affine) -> bool:
        """Let the layer before take an affine step in, if there is one."""
        kind = self._steps[-1][0] if self._steps else ""
        if kind == LINEAR:
            width = self._biases[-1].size
            scale = np.broadcast_to(affine.scale, (width,))
            self._weights[-1] = self._weights[-1] * scale[:, None]
            self._biases[-1] = self._biases[-1] * scale + affine.shift
        elif kind == LAYER_NORM:
            scale, shift = self._norms[-1]
            self._norms[-1] = (scale * affine.scale, shift * affine.scale + affine.shift)
        else:
            return False
        return True

    def _output(self, steps: Sequence[Element]) -> tuple[Any, Any]:
        width = self._biases[-1].size
        one, zero = np.ones(width), np.zeros(width)
        chain = merged(steps)
        if self._steps[-1][0] == LAYER_NORM:
            width = self._norms[-1][0].size
            one, zero = np.ones(width), np.zeros(width)
        scale, bias = one, zero
        cut = next((e for e in chain if isinstance(e, Cut)), None)
        if cut is not None and not cut.uniform and chain.index(cut) == len(chain) - 1:
            # Limits of each action's own: the last layer is scaled so that they become -1 and 1.
            chain = chain[:-1]
            middle, half = (cut.low + cut.high) / 2, (cut.high - cut.low) / 2
            if not (np.isfinite(half).all() and (half > 0).all()):
                raise self._unknown([cut])
            chain = merged([*chain, Affine(1 / half, -middle / half)])
            chain.append(Known((CLIP, -1.0, 1.0)))
            scale, bias = np.broadcast_to(half, (width,)), np.broadcast_to(middle, (width,))
        shape = identify(chain)
        if shape is None:
            raise self._unknown(chain)
        if shape.before is not None and not shape.steps:
            return scale * shape.before.scale, bias + scale * shape.before.shift
        if shape.before is not None:
            self._folded_back(shape.before)
        self._steps += shape.steps
        if shape.after is not None:
            bias = bias + scale * shape.after.shift
            scale = scale * shape.after.scale
        return np.array(scale), np.array(bias)

    def _unknown(self, steps: Sequence[Element]) -> Exception:
        names = [step.label for step in steps if isinstance(step, Other)]
        where = f"after layer {len(self._weights)}" if self._weights else "before the first layer"
        said = ", ".join(names) or "limits of each value's own"
        wrong = f"the function {where} ({said}) is none that a policy file can hold"
        return refused(self._file, "graph", wrong)
