"""What the nodes' ``ActionGuard`` does to an action, for many commands at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract
from qpolicy_ros.policy.model import Float32

Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

_NO_RATE = 1e30  # as ActionGuard's


class Limits:
    """What the policy node does to an action before it is sent.

    Args:
        contract: gives limits, each joint's rate and the control period.
    """

    def __init__(self, contract: Contract) -> None:
        self.low, self.high = contract.low, contract.high
        self.period_ns = round(contract.period * 1e9)
        self._joint_rates = np.minimum(contract.rate.astype(np.float64), _NO_RATE)

    def clip(self, actions: Float32) -> Float32:
        """Return actions (k, m) within the limits of each joint."""
        return np.asarray(np.clip(actions, self.low, self.high), np.float32)

    def rates(self, limit: Doubles) -> Doubles:
        """Return each joint's rate (k, m), actuator units a second, with ``rate_limit`` (k,)."""
        common = np.where(limit > 0, limit, _NO_RATE)
        return np.minimum(self._joint_rates, common[:, None])

    def active(self, limit: Doubles) -> Flags:
        """Whether any rate is limited (k,)."""
        return np.asarray((self.rates(limit) < _NO_RATE).any(axis=1))

    def rated(self, clipped: Float32, before: Float32, rates: Doubles, elapsed: Doubles) -> Float32:
        """Return actions (k, m) not too far from the ones ``before``.

        Args:
            clipped: from :meth:`clip`.
            before: the commands before, (k, m).
            rates: from :meth:`rates`.
            elapsed: since then, ns (k,).
        """
        counted = np.minimum(elapsed, self.period_ns)
        with np.errstate(over="ignore"):
            step = (rates * (counted * 1e-9)[:, None]).astype(np.float32)
        return np.asarray(np.clip(clipped, before - step, before + step), np.float32)

    def explain(
        self, clipped: Float32, before: Float32, rates: Doubles, sent: Float32
    ) -> tuple[Flags, Doubles]:
        """Find a time since the command before with which ``sent`` is what goes out.

        More time brings a command nearer to what the policy wants, never farther. So for each
        joint the times that fit are an interval, and it is found by halving.

        Returns:
            Whether there is one, (k,), and the smallest, ns (k,).
        """
        least = np.zeros(len(sent), np.int64)
        most = np.full(len(sent), self.period_ns, np.int64)
        for joint in range(sent.shape[1]):
            low, high = self._fitting(clipped, before, rates, sent, joint)
            least, most = np.maximum(least, low), np.minimum(most, high)
        return least <= most, least.astype(np.float64)

    def _fitting(
        self, clipped: Float32, before: Float32, rates: Doubles, sent: Float32, joint: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        want, start, aim = clipped[:, [joint]], before[:, [joint]], sent[:, joint]
        up = want[:, 0] >= start[:, 0]

        def reached(elapsed: npt.NDArray[np.int64], *, beyond: bool) -> Flags:
            at = self.rated(want, start, rates[:, [joint]], elapsed.astype(np.float64))[:, 0]
            if beyond:
                return np.where(up, at > aim, at < aim)
            return np.where(up, at >= aim, at <= aim)

        first = _first(lambda t: reached(t, beyond=False), len(sent), self.period_ns)
        last = _first(lambda t: reached(t, beyond=True), len(sent), self.period_ns) - 1
        # A step backwards, or one that ends elsewhere, fits at no time.
        end = self.rated(want, start, rates[:, [joint]], first.astype(np.float64))[:, 0]
        return np.where(end == aim, first, self.period_ns + 1), last


def _first(holds: object, count: int, most: int) -> npt.NDArray[np.int64]:
    """Return the smallest time, ns, from which on ``holds``; ``most + 1`` if it never does."""
    low = np.full(count, -1, np.int64)
    high = np.full(count, most + 1, np.int64)
    while (high - low > 1).any():
        middle = (low + high) // 2
        yes = holds(np.clip(middle, 0, most))  # type: ignore[operator]
        high = np.where(yes & (high - low > 1), middle, high)
        low = np.where(~yes & (high - low > 1), middle, low)
    return high
