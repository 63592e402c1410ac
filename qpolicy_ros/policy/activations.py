"""The steps that a baseline may have between and after its layers, in NumPy, float32.

==================  ==========================================================================
``linear``          the next layer: ``W h + b``
``layer_norm eps``  ``(h - mean(h)) / sqrt(var(h) + eps) * scale + shift``, over the layer's width
``clip low high``   also the output of a policy whose actions are cut
``relu``            ``max(h, 0)``
``leaky_relu a``    ``h`` above 0, ``a h`` below
``elu a``           ``h`` above 0, ``a (exp(h) - 1)`` below
``selu``            Klambauer et al. 2017
``silu``            ``h / (1 + exp(-h))``, also called swish
``gelu``            ``h (1 + erf(h / sqrt 2)) / 2``
``gelu_tanh``       its approximation by tanh
``tanh``, ``sigmoid``
``softplus b``      ``log(1 + exp(b h)) / b``
==================  ==========================================================================

The numbers are PyTorch's: what a network of ours answers, its source answers within rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.model import Step

Array = Any  # float32, in the graph reader float64; any shape

LINEAR, LAYER_NORM, CLIP = "linear", "layer_norm", "clip"
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _relu(x: Array) -> Array:
    return np.maximum(x, 0, out=x)


def _leaky_relu(x: Array, slope: float) -> Array:
    return np.where(x >= 0, x, x * x.dtype.type(slope))


def _elu(x: Array, alpha: float) -> Array:
    below = np.expm1(np.minimum(x, 0)) * x.dtype.type(alpha)
    return np.where(x > 0, x, below)


def _selu(x: Array) -> Array:
    return _elu(x, SELU_ALPHA) * x.dtype.type(SELU_SCALE)


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):  # 1 / inf is the 0 that is meant
        return 1 / (1 + np.exp(-x))


def _silu(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))


def _gelu(x: Array) -> Array:
    wide = x.astype(np.float64)
    return (wide * (0.5 * (1 + erf(wide * math.sqrt(0.5))))).astype(x.dtype)


def _gelu_tanh(x: Array) -> Array:
    wide = x.astype(np.float64)
    inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide * wide * wide)
    return (wide * (0.5 * (1 + np.tanh(inner)))).astype(x.dtype)


def _tanh(x: Array) -> Array:
    return np.tanh(x, out=x)


def _softplus(x: Array, beta: float) -> Array:
    beta = x.dtype.type(beta)
    return np.logaddexp(x.dtype.type(0), x * beta) / beta


def _clip(x: Array, low: float, high: float) -> Array:
    kind = x.dtype.type
    return np.clip(x, kind(low), kind(high), out=x)


def erf(x: Array) -> Array:
    """Return the error function, float64, within 1.2e-7 of it.

    Source: Numerical Recipes, 2nd edition, section 6.2 (a Chebyshev fit by Press et al.).
    """
    size = np.abs(x)
    t = 1 / (1 + 0.5 * size)
    fit = np.zeros_like(t)
    for factor in _ERFC:
        fit = fit * t + factor
    tail = t * np.exp(fit - size * size)
    return np.where(x >= 0, 1 - tail, tail - 1)


# Highest power of t first.
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418,
    0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip

#: Kind -> how many numbers it has, and its function, which may overwrite what it is given.
ACTIVATIONS: dict[str, tuple[int, Callable[..., Array]]] = {
    "relu": (0, _relu),
    "leaky_relu": (1, _leaky_relu),
    "elu": (1, _elu),
    "selu": (0, _selu),
    "silu": (0, _silu),
    "gelu": (0, _gelu),
    "gelu_tanh": (0, _gelu_tanh),
    "tanh": (0, _tanh),
    "sigmoid": (0, _sigmoid),
    "softplus": (1, _softplus),
    CLIP: (2, _clip),
}
#: Kind -> how many numbers a step of it has.
STEPS = {LINEAR: 0, LAYER_NORM: 1, **{kind: count for kind, (count, _) in ACTIVATIONS.items()}}


def activate(step: Step, values: Array) -> Array:
    """Return ``values``, of any shape, after an activation; they may be overwritten."""
    kind, *numbers = step
    return ACTIVATIONS[str(kind)][1](values, *numbers)


def layer_norm(values: Array, eps: float, scale: Array, shift: Array) -> Array:
    """Return ``values`` normalised over their last axis; the variance is the population's."""
    centred = values - values.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + values.dtype.type(eps)) * scale + shift


def bound(step: Step, largest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the largest magnitudes after an activation, of those before it."""
    kind, *numbers = step
    first = abs(float(numbers[0])) if numbers else 0.0
    last = abs(float(numbers[-1])) if numbers else 0.0
    bounds: dict[str, Callable[[], npt.NDArray[np.float64]]] = {
        "tanh": lambda: np.minimum(largest, 1.0),
        "sigmoid": lambda: np.ones_like(largest),
        CLIP: lambda: np.full_like(largest, max(first, last)),
        "leaky_relu": lambda: largest * max(1.0, first),
        "elu": lambda: np.maximum(largest, first),
        "selu": lambda: np.maximum(largest, SELU_ALPHA) * SELU_SCALE,
        "softplus": lambda: largest + math.log(2) / first,
    }
    return bounds.get(str(kind), lambda: largest)()
