"""What every backend is, and the error it raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from qpolicy_ros.common.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from qpolicy_ros.policy.model import Float32


class BackendError(RuntimeError):
    """A backend does not compute what its policy says; the text is one line."""


class Backend(Protocol):
    """Serves one policy, one observation at a time, from one thread at a time."""

    @property
    def name(self) -> str:
        """The name it has in ``BACKENDS``."""
        ...

    @property
    def quantise_ns(self) -> int:
        """Time spent on quantising or normalising the input in the last ``act``, ns."""
        ...

    @property
    def trouble(self) -> str:
        """Why it cannot act at the moment, empty if it can."""
        ...

    def act(self, observation: npt.ArrayLike) -> Float32:
        """Action for one observation: float32 ``(n,)`` to a new float32 ``(m,)``.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        ...

    def close(self) -> None:
        """Release what the backend holds; it cannot act afterwards."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A backend that may count codes that were never seen by itself, beside the node."""

    @property
    def ranges(self) -> int:
        """Which ranges it compares with (``policy.seen.ranges_id``), 0 where it counts nothing."""
        ...

    def facts(self) -> dict[str, object]:
        """What ``/diagnostics`` shall say of it; from the thread that serves."""
        ...

    def forget(self) -> None:
        """Begin to count anew; BackendError where what it drives does not answer."""
        ...


def take_options(
    backend: str, options: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return ``defaults`` overridden by ``options``.

    Raises:
        PolicyError: an option that ``defaults`` does not have.
    """
    for name in options:
        if name not in defaults:
            known = ", ".join(sorted(defaults)) or "none"
            wrong = f"{name!r} is unknown"
            raise PolicyError.at("", f"option of backend {backend!r}", wrong, f"known: {known}")
    return {**defaults, **options}
