"""The engines of the integer arithmetic behind one interface: ``c`` and ``numpy``, bit-equal."""

from __future__ import annotations

import functools
import importlib
import logging
from typing import Protocol

import numpy.typing as npt

from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.model import Float32, Int32, IntegerNetwork
from qpolicy_ros.policy.numpy_engine import NumpyEngine

_BUILD = "install a C compiler and build qpolicy_ros again, or choose engine 'numpy'"


class Engine(Protocol):
    """Computes an integer network; every engine gives the same bits.

    One instance reuses its buffers and serves one thread at a time.
    """

    @property
    def kind(self) -> str:
        """``c`` or ``numpy``."""
        ...

    @property
    def quantise_ns(self) -> int:
        """Time spent on the input codes in the last ``act``, ns."""
        ...

    @property
    def network(self) -> IntegerNetwork:
        """The network that it computes."""
        ...

    def act(self, observation: npt.ArrayLike) -> Float32:
        """Action for one observation: float32 ``(n,)`` to a new float32 ``(m,)``.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        ...

    def trace(self, observation: npt.ArrayLike) -> list[Int32]:
        """All codes for one observation: input, each hidden layer's, output (signed)."""
        ...

    def act_batch(self, observations: npt.ArrayLike) -> Float32:
        """Actions for many observations: float32 ``(N, n)`` to ``(N, m)``, equal to ``act``'s."""
        ...

    def codes_batch(self, observations: npt.ArrayLike) -> list[Int32]:
        """All codes for many observations, as ``trace``: a list of int32 ``(N, width)``."""
        ...


def engine_kinds() -> tuple[str, ...]:
    """Engines that work here, the fastest first."""
    return ("numpy",) if _kernel_problem() else ("c", "numpy")


def make_engine(network: IntegerNetwork, kind: str = "auto") -> Engine:
    """Build an engine for a valid ``network``.

    Args:
        network: checked already (``make_artifact`` and ``load_policy`` do).
        kind: ``auto`` (the fastest there is), ``c`` or ``numpy``.

    Raises:
        PolicyError: ``kind`` is unknown or not built here.
    """
    if kind not in ("auto", "c", "numpy"):
        raise PolicyError.at("", "engine", f"{kind!r} is unknown", "choose auto, c or numpy")
    problem = _kernel_problem() if kind != "numpy" else ""
    if kind == "numpy" or (kind == "auto" and problem):
        return NumpyEngine(network)
    if problem:
        raise PolicyError.at("", "engine", f"'c' is not available: {problem}", _BUILD)
    from qpolicy_ros.policy.c_engine import CEngine  # noqa: PLC0415 needs the compiled kernel

    return CEngine(network)


@functools.lru_cache(maxsize=1)
def _kernel_problem() -> str:
    """Why the compiled kernel cannot be used, empty if it can; says so once in the log."""
    try:
        importlib.import_module("qpolicy_ros.policy._kernel")
    except ImportError as error:
        logging.getLogger("qpolicy_ros.policy").warning(
            "C kernel not available (%s): integer policies run on NumPy, same results, slower",
            error,
        )
        return str(error)
    return ""
