"""A scripted trot with feedback: the teacher of a four-legged robot's first steps.

It has no clock. Where the gait stands is read from the previous action, which every policy sees, so
it is a function of the observation alone and a network can imitate it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract, PolicyError

LINK = 0.213  # m, thigh and calf of the Go2
_DIAGONAL = np.array([0.0, np.pi, np.pi, 0.0])  # of front left, front right, rear left, rear right
_SIDE = np.array([1.0, -1.0, 1.0, -1.0])
_FRONT = np.array([1.0, 1.0, -1.0, -1.0])
_STANDING = 0.1  # m/s, slower commands are not walked
_START = -0.2  # rad, where the gait begins
_LEGS, _JOINTS = 4, 3


class Trot:
    """Joint targets of a trot: float32 observation (n,) -> float64 action (m,).

    Diagonal feet move together on ellipses, ``frequency`` times a second: forwards and up to
    ``lift`` above the default pose, backwards and ``press`` below it. The stride follows the
    commanded speed and what is missing of it; a swinging foot steps to the side to which the body
    drifts or turns there; the side to which it has turned takes longer strides.

    Args:
        contract: twelve joints, hip, thigh and calf of each leg in the order of the legs above,
            with the channels that are read below.

    Raises:
        PolicyError: another number of joints, or a channel is missing.
    """

    frequency = 1.8  # Hz
    lift, press = 0.09, 0.012  # m
    stride = (0.74, 0.02)  # of what a foot covers at the commanded speed; m to begin with
    longest = 0.14  # m to either side
    catch_up = 0.25  # m of stride for each m/s that is missing
    step_aside = 0.3  # rad of the hip for each m/s to the side
    turn_back = 0.1  # rad of the front hips, less at the rear, for each rad/s of turning
    steer = (0.5, 0.1)  # the same for each rad of heading; m of stride on that side

    def __init__(self, contract: Contract) -> None:
        names = [channel.name for channel in contract.observation]
        wanted = ["cmd_vel.linear:x", "odom.linear_velocity:x", "odom.linear_velocity:y"]
        wanted += ["imu.angular_velocity:z", "imu.orientation:z"]
        wanted += [f"previous_action:{action.name}" for action in contract.action]
        missing = [name for name in wanted if name not in names]
        if missing or len(contract.action) != _LEGS * _JOINTS:
            wrong = f"the trot needs four legs of three joints and {missing or wanted[:5]}"
            raise PolicyError.at("", "contract.observation", wrong, "give another robot")
        self._index = [names.index(name) for name in wanted]
        self._default = contract.default.astype(np.float64)
        self._offset = np.array([contract.observation[i].offset for i in self._index])
        self._scale = np.array([contract.observation[i].scale for i in self._index])
        self._low, self._high = contract.low, contract.high
        self._period = contract.period
        _, thigh, calf = self._default[:_JOINTS]
        self._height = LINK * (np.cos(thigh) + np.cos(thigh + calf))

    def __call__(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the next joint targets, within their limits."""
        raw = observation[self._index] / self._scale + self._offset
        wanted, forward, sideways, turning, heading = raw[:5]
        if wanted < _STANDING:
            return self._default.copy()
        hips, thighs, calves = raw[5:].reshape(_LEGS, _JOINTS).T
        factor, least = self.stride
        stride = min(factor * wanted / (2.0 * self.frequency) + least, self.longest)
        phase = self._phase(thighs, calves, stride) + _DIAGONAL
        phase += 2.0 * np.pi * self.frequency * self._period
        heading = np.clip(2.0 * heading, -0.5, 0.5)
        reach = stride + self.catch_up * (wanted - forward) + self.steer[1] * _SIDE * heading
        rise = np.sin(phase)
        x = -np.clip(reach, 0.0, self.longest) * np.cos(phase)
        z = self._height - np.where(rise > 0, self.lift, self.press) * rise
        bend = 2.0 * np.arccos(np.minimum(np.hypot(x, z) / (2.0 * LINK), 0.999))
        turn = self.turn_back * turning + self.steer[0] * heading
        aside = self.step_aside * sideways + turn * _FRONT
        hips = np.where(rise > 0, aside, 0.9 * hips)
        targets = np.stack([hips, np.arctan2(-x, z) + bend / 2.0, -bend], axis=1).ravel()
        return np.clip(targets, self._low, self._high)

    def _phase(
        self, thighs: npt.NDArray[np.float64], calves: npt.NDArray[np.float64], stride: float
    ) -> float:
        """Where on its ellipse the front left foot was sent last, rad: the mean of all feet."""
        x = -LINK * (np.sin(thighs) + np.sin(thighs + calves))
        rise = self._height - LINK * (np.cos(thighs) + np.cos(thighs + calves))
        sine = np.where(rise > 0, rise / self.lift, rise / self.press)
        mean = np.mean((-x / stride + 1j * sine) * np.exp(-1j * _DIAGONAL))
        return float(np.angle(mean)) if abs(mean) > 0.25 else _START
