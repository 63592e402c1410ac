"""A scripted trot that goes forwards, backwards, sideways and turns: the teacher of steering.

As :mod:`qpolicy_ros.sim.trot` it has no clock, so that a network can imitate it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract
from qpolicy_ros.sim.gait import DIAGONAL, SIDE, Gait, foot

_SHOULDER = 0.0955  # m, from the hip's axis to the leg's plane
_FEET = np.array([[0.193, 0.142], [0.193, -0.142], [-0.193, 0.142], [-0.193, -0.142]])  # m
_STANDING = 0.05  # m/s, where no foot is faster the robot stands
_SOURCES = (
    *("cmd_vel.linear:x", "cmd_vel.linear:y", "cmd_vel.angular:z"),
    *("odom.linear_velocity:x", "odom.linear_velocity:y", "imu.angular_velocity:z"),
)


class SteeredTrot(Gait):
    """Joint targets of a trot: float32 observation (n,) -> float64 action (m,).

    Each foot's ellipse lies along the way that it has to go over the floor, which is that of the
    body's velocity and of its turning there. Strides follow the command and what is missing of it;
    a swinging foot steps to the side to which the body drifts.

    Args:
        contract: as of ``Gait``.

    Raises:
        PolicyError: as ``Gait``.
    """

    gain = np.array([0.7, 0.6, 0.58])  # of what a foot covers: forwards, sideways, turning
    drift = 0.05  # m/s, how fast the gait goes backwards where it steps on the spot
    twist = 0.8  # rad/s, how fast it turns for each m/s to the side
    least = 0.02  # m of the longest stride
    longest = np.array([0.17, 0.1])  # m to either side
    catch_up = np.array([0.25, 0.1, 0.1])  # s: m of stride for each m/s that is missing
    step_aside = 0.08  # s: m for each m/s that is too much

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract, _SOURCES)

    def __call__(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the next joint targets, within their limits."""
        values, joints = self.read(observation)
        told, made = values[:3], values[3:]
        if np.hypot(*_over_floor(told).T).max() < _STANDING:
            return self.default.copy()
        strides = self._strides(told, made)
        place = _place(*joints)
        cosine = -float(((place[:2].T * strides).sum(axis=1) * DIAGONAL).sum())
        cosines, sines = self.next(cosine / float((strides**2).sum()), self.height - place[2])
        x, y = -(strides.T * cosines)
        y += np.where(sines > 0, self.step_aside * (made[1] - told[1]), 0.0) + SIDE * _SHOULDER
        z = self.heights(sines)
        leg = np.sqrt(np.maximum(y**2 + z**2 - _SHOULDER**2, 0.1**2))
        hips = np.arctan2(y, z) - np.arctan2(SIDE * _SHOULDER, leg)
        return self.targets(hips, x, leg)

    def _strides(
        self, told: npt.NDArray[np.float64], made: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Half the way of each foot, forwards and to the left, m (4, 2)."""
        aim = told + np.array([self.drift, 0.0, -self.twist * told[1]])
        strides = _over_floor(aim * self.gain) / (2.0 * self.frequency)
        strides *= 1.0 + self.least / np.hypot(*strides.T).max()
        missing = _over_floor((told - made) * self.catch_up)
        # What is missing never turns a stride round: its phase would be read from the other end.
        square = np.maximum((strides**2).sum(axis=1), 1e-6)
        along = (missing * strides).sum(axis=1) / square
        back = np.maximum(-0.6 - along, 0.0)
        strides = strides + missing + back[:, None] * strides
        most = float((np.abs(strides) / self.longest).max())
        return strides / max(most, 1.0)


def _over_floor(velocity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the velocity at each foot (4, 2), m/s, of a body's: m/s, m/s, rad/s (3,)."""
    x, y, turning = velocity
    return np.array([x, y]) + turning * np.stack([-_FEET[:, 1], _FEET[:, 0]], axis=1)


def _place(
    hips: npt.NDArray[np.float64],
    thighs: npt.NDArray[np.float64],
    calves: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return where each foot is from below its hip: forwards, left and downwards, m (3, 4)."""
    x, leg = foot(thighs, calves)
    side = SIDE * _SHOULDER
    y = side * np.cos(hips) + leg * np.sin(hips) - side
    return np.stack([x, y, leg * np.cos(hips) - side * np.sin(hips)])
