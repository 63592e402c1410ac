"""What stands between a message and the policy, and between the policy and the robot."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract, ObservationError

_NO_RATE = 1e30  # actuator units a second


class ObservationReader:
    """Puts an observation together by name, never by index alone.

    The order of a list of names is worked out once and remembered as long as the same list comes.

    NumPy warns of a value beyond float32's range unless it is told not to, which takes as long as
    the rest: whoever serves tells it once, ``np.seterr(over="ignore")``.

    Args:
        contract: gives the ordered names of the n observation values.
    """

    def __init__(self, contract: Contract) -> None:
        self._expected = [channel.name for channel in contract.observation]
        self._names: list[str] = []
        self._same: Sequence[str] = ()  # the last list given: not compared again
        self._order: npt.NDArray[np.intp] | None = None
        self._vector = np.zeros(len(self._expected), np.float32)

    def take(self, message: Any) -> npt.NDArray[np.float32]:
        """Return the observation of a ``JointState`` as ``read`` does; it lasts until the next.

        A message in C copies its values in one call where its names are the last one's.
        """
        floats = getattr(message, "floats", None)
        if floats is not None and floats(self._same, self._order, self._vector):
            return self._vector
        return self.read(message.name, message.position)

    def read(self, names: Sequence[str], values: Sequence[float]) -> npt.NDArray[np.float32]:
        """Return the observation in the contract's order, float32 (n,).

        Args:
            names: one name a value in any order, or empty for the contract's own order.
            values: the values (float64 from a message), rounded to float32 here.

        Raises:
            ObservationError: ``wrong_length``, ``missing``, ``extra`` or ``misnamed``.
        """
        expected = len(names) if names else len(self._expected)
        if len(values) != expected:
            whose = "names" if names else "the policy's values"
            raise ObservationError(
                "wrong_length", f"observation: {len(values)} values for {expected} {whose}"
            )
        if names and names is not self._same:
            if names != self._names:
                self._order = self._match(names)
                self._names = list(names)
            self._same = names
        # A float64 beyond float32's range becomes infinite, which the backend refuses.
        observation = np.array(values, dtype=np.float32)
        if not names or self._order is None:
            return observation
        return observation[self._order]

    def _match(self, names: Sequence[str]) -> npt.NDArray[np.intp] | None:
        """Return for each expected name its place in ``names``; None if the order is the same."""
        place = {name: index for index, name in enumerate(names)}
        missing = [name for name in self._expected if name not in place]
        unknown = sorted(place.keys() - set(self._expected))
        if missing and unknown:
            raise ObservationError(
                "misnamed", f"observation: {_list(unknown)} given, {_list(missing)} expected"
            )
        if missing:
            raise ObservationError("missing", f"observation: {_list(missing)} missing")
        if unknown:
            raise ObservationError("extra", f"observation: {_list(unknown)} not expected")
        if len(place) != len(names):
            twice = [name for name, count in Counter(names).items() if count > 1]
            raise ObservationError("extra", f"observation: {_list(twice)} given more than once")
        if list(names) == self._expected:
            return None
        return np.array([place[name] for name in self._expected], dtype=np.intp)


class ActionGuard:
    """Keeps actions within their limits and, if asked, within a rate of change.

    The rate counts over the time since the last action, but over one control period at most: a
    pause earns no jump. The safe action is exempt: it is safe at any time.

    Args:
        contract: gives limits, each joint's rate, safe action (m,) and control period (s).
        rate_limit: largest change of every joint, actuator units a second; 0 is off.
        clock: monotonic time, ns.
        library: the hot path's C part, which looks faster; None where it is not there.

    Attributes:
        elapsed_ns: from the action before to the last one, ns; the rate limit counts one control
            period of it at most.
    """

    def __init__(
        self,
        contract: Contract,
        rate_limit: float = 0.0,
        clock: Callable[[], int] = time.monotonic_ns,
        library: Any = None,
    ) -> None:
        self.safe = contract.safe
        self._inside_in_c = library.inside if library is not None else None
        self._low, self._high = contract.low, contract.high
        self._limits = list(zip(self._low.tolist(), self._high.tolist(), strict=True))
        self._period_ns = round(contract.period * 1e9)
        self._clock = clock
        # Infinite times no time at all would be NaN.
        self._joint_rates = np.minimum(contract.rate.astype(np.float64), _NO_RATE)
        self.set_rate_limit(rate_limit)
        self._last, self._last_ns = self.safe, clock()
        self.elapsed_ns = 0

    def set_rate_limit(self, rate_limit: float) -> None:
        """Change the rate limit (actuator units/s, 0 = off) from the next action on."""
        self._rate = np.minimum(self._joint_rates, rate_limit or _NO_RATE)
        self._limits_rate = bool((self._rate < _NO_RATE).any())

    def begin(self, pose: npt.NDArray[np.float32]) -> None:
        """Let the rates count from ``pose`` (m,), where the robot stands."""
        self._last, self._last_ns = np.clip(pose, self._low, self._high), self._clock()

    def is_inside(self, action: npt.NDArray[np.float32]) -> bool:
        """Whether every value of ``action`` (m,) is within its limits, and so finite."""
        if self._inside_in_c is not None:
            return bool(self._inside_in_c(action, self._low, self._high))
        for value, (low, high) in zip(action.tolist(), self._limits, strict=True):
            if not low <= value <= high:
                return False
        return True

    def limit(
        self, action: npt.NDArray[np.float32], *, inside: bool = False
    ) -> npt.NDArray[np.float32]:
        """Return ``action`` (m,) within limits and not too far from the last one returned.

        Args:
            action: that was computed.
            inside: whether ``is_inside`` has said so already.
        """
        limited = action
        if not inside and not self.is_inside(action):  # looking takes less than NumPy's clip
            limited = np.clip(action, self._low, self._high)
        now = self._clock()
        self.elapsed_ns = now - self._last_ns
        if self._limits_rate:
            elapsed = min(self.elapsed_ns, self._period_ns)
            step = (self._rate * (elapsed * 1e-9)).astype(np.float32)
            limited = np.clip(limited, self._last - step, self._last + step)
        # Kept without a limit too: one that is set while serving starts from here.
        self._last, self._last_ns = limited, now
        return limited

    def hold(self) -> npt.NDArray[np.float32]:
        """Return the safe action (m,); the rate limit starts from it again."""
        self._last, self._last_ns = self.safe, self._clock()
        return self.safe


def _list(names: Sequence[str], shown: int = 3) -> str:
    """Quote the first few names."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(repr(name) for name in names[:shown]) + more
