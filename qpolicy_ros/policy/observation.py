"""Checks of an observation, shared by every engine and backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import ObservationError
from qpolicy_ros.policy.model import Float32


def as_observation(observation: npt.ArrayLike, length: int) -> Float32:
    """Return ``observation`` as contiguous float32 ``(length,)``.

    Raises:
        ObservationError: ``wrong_length``, also for anything that is not a vector.
    """
    vector = _as_float32(observation)
    if vector.shape != (length,):
        found = f"{vector.size} values" if vector.ndim == 1 else f"an array of shape {vector.shape}"
        message = f"observation: {found} where the policy expects {length}"
        raise ObservationError("wrong_length", message)
    return vector


def as_observations(observations: npt.ArrayLike, length: int) -> Float32:
    """Return ``observations`` as contiguous float32 ``(N, length)``.

    Raises:
        ObservationError: ``wrong_length``, also for anything that is not a matrix.
    """
    matrix = _as_float32(observations)
    if matrix.ndim != 2 or matrix.shape[1] != length:
        message = f"observations: shape {matrix.shape} where the policy expects (N, {length})"
        raise ObservationError("wrong_length", message)
    return matrix


def refuse_non_finite(values: npt.NDArray[Any]) -> None:
    """Raise ObservationError ``non_finite`` for the first NaN or infinity in ``values``.

    ``values`` is one observation ``(n,)`` or a batch ``(N, n)``; the error names the index and,
    for a batch, the row.
    """
    finite = np.isfinite(values)
    if finite.all():
        return
    *row, index = (int(i) for i in np.unravel_index(int(np.argmin(finite)), values.shape))
    prefix = f"observation {row[0]}, " if row else "observation "
    message = f"{prefix}value {index}: {values[(*row, index)]} is not finite"
    raise ObservationError("non_finite", message, index)


def _as_float32(values: npt.ArrayLike) -> Float32:
    # A float64 beyond float32's range becomes infinite and is refused as such afterwards.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)
