"""What the scripted trots of a four-legged robot share: the values that they read, and its legs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract, PolicyError

LINK = 0.213  # m, thigh and calf of the Go2
SIDE = np.array([1.0, -1.0, 1.0, -1.0])  # front left, front right, rear left, rear right
DIAGONAL = np.array([1.0, -1.0, -1.0, 1.0])  # feet that move together
START = -0.2  # rad, where the gait begins
_LEGS, _JOINTS = 4, 3
_SEEN = 0.25  # of an ellipse: feet nearer to its middle show no phase


class Gait:
    """Diagonal feet that move together on ellipses, ``frequency`` times a second.

    A foot swings forwards up to ``lift`` above the default pose, and goes backwards up to ``press``
    below it. Where it stands is read from the previous action, which every policy sees.

    Args:
        contract: twelve joints, hip, thigh and calf of each leg in the order of ``SIDE``, with
            their previous actions and ``sources`` among its channels.
        sources: what else the gait reads.

    Raises:
        PolicyError: another number of joints, or a channel is missing.
    """

    frequency = 2.0  # Hz
    lift, press = 0.07, 0.012  # m

    def __init__(self, contract: Contract, sources: Sequence[str]) -> None:
        names = [channel.name for channel in contract.observation]
        wanted = [*sources, *(f"previous_action:{action.name}" for action in contract.action)]
        missing = [name for name in wanted if name not in names]
        if missing or len(contract.action) != _LEGS * _JOINTS:
            wrong = f"the trot needs four legs of three joints and {missing or list(sources)}"
            raise PolicyError.at("", "contract.observation", wrong, "give another robot")
        self._index = [names.index(name) for name in wanted]
        self._offset = np.array([contract.observation[i].offset for i in self._index])
        self._scale = np.array([contract.observation[i].scale for i in self._index])
        self._sources = len(sources)
        self._period = contract.period
        self.default = contract.default.astype(np.float64)
        self.low, self.high = contract.low, contract.high
        _, thigh, calf = self.default[:_JOINTS]
        self.height = LINK * (np.cos(thigh) + np.cos(thigh + calf))  # m, of the hips

    def read(
        self, observation: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the values of ``sources`` (k,), SI units, and hips, thighs, calves (3, 4), rad."""
        raw = observation[self._index] / self._scale + self._offset
        return raw[: self._sources], raw[self._sources :].reshape(_LEGS, _JOINTS).T

    def next(self, cosine: float, rise: npt.NDArray[np.float64]) -> tuple[npt.NDArray, ...]:
        """Return the next place of each foot on its ellipse: cosines and sines (4,).

        Args:
            cosine: of the front left foot now, as the feet's places show it.
            rise: of the feet above the default pose, m (4,).
        """
        sine = float((rise * DIAGONAL).sum() / (2.0 * (self.lift + self.press)))
        phase = np.arctan2(sine, cosine) if np.hypot(sine, cosine) > _SEEN else START
        phase += 2.0 * np.pi * self.frequency * self._period
        return np.cos(phase) * DIAGONAL, np.sin(phase) * DIAGONAL

    def heights(self, sine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return how far below its hip each foot shall be, m (4,)."""
        return self.height - np.where(sine > 0, self.lift, self.press) * sine

    def targets(
        self,
        hips: npt.NDArray[np.float64],
        x: npt.NDArray[np.float64],
        leg: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Return joint targets (12,), rad: within their limits.

        Args:
            hips: rad (4,).
            x: how far each foot is before its hip, m (4,).
            leg: how far below it in the leg's own plane, m (4,).
        """
        bend = 2.0 * np.arccos(np.minimum(np.hypot(x, leg) / (2.0 * LINK), 0.999))
        joints = np.stack([hips, np.arctan2(-x, leg) + bend / 2.0, -bend], axis=1)
        return np.clip(joints.ravel(), self.low, self.high)


def foot(
    thighs: npt.NDArray[np.float64], calves: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return how far each foot is before its hip and below it in the leg's plane, m (4,) each."""
    both = thighs + calves
    return -LINK * (np.sin(thighs) + np.sin(both)), LINK * (np.cos(thighs) + np.cos(both))
