"""A scripted trot with feedback: the teacher of a four-legged robot's first steps.

It has no clock. Where the gait stands is read from the previous action, which every policy sees, so
it is a function of the observation alone and a network can imitate it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract
from qpolicy_ros.sim.gait import DIAGONAL, SIDE, Gait, foot

_FRONT = np.array([1.0, 1.0, -1.0, -1.0])
_STANDING = 0.1  # m/s, slower commands are not walked
_SOURCES = (
    *("cmd_vel.linear:x", "odom.linear_velocity:x", "odom.linear_velocity:y"),
    *("imu.angular_velocity:z", "imu.orientation:z"),
)


class Trot(Gait):
    """Joint targets of a trot: float32 observation (n,) -> float64 action (m,).

    The stride follows the commanded speed and what is missing of it; a swinging foot steps to the
    side to which the body drifts or turns there; the side to which it has turned takes longer
    strides.

    Args:
        contract: as of ``Gait``.

    Raises:
        PolicyError: as ``Gait``.
    """

    stride = (0.74, 0.02)  # of what a foot covers at the commanded speed; m to begin with
    longest = 0.14  # m to either side
    catch_up = 0.25  # m of stride for each m/s that is missing
    step_aside = 0.3  # rad of the hip for each m/s to the side
    turn_back = 0.1  # rad of the front hips, less at the rear, for each rad/s of turning
    steer = (0.5, 0.1)  # the same for each rad of heading; m of stride on that side

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract, _SOURCES)

    def __call__(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the next joint targets, within their limits."""
        (wanted, forward, sideways, turning, heading), joints = self.read(observation)
        if wanted < _STANDING:
            return self.default.copy()
        hips, thighs, calves = joints
        heading = np.clip(2.0 * heading, -0.5, 0.5)
        reach = self._reach(wanted, wanted - forward, heading)
        # Places are measured by the ellipses that the feet are on now. By shorter ones the same
        # place looks further from their middle, and from 1.6 times on the gait falls back each
        # tick by as much as it goes on: it would come to rest.
        x, leg = foot(thighs, calves)
        cosine = -float((x * reach * DIAGONAL).sum() / (reach**2).sum())
        cosines, sines = self.next(cosine, self.height - leg)
        turn = self.turn_back * turning + self.steer[0] * heading
        aside = self.step_aside * sideways + turn * _FRONT
        hips = np.where(sines > 0, aside, 0.9 * hips)
        return self.targets(hips, -reach * cosines, self.heights(sines))

    def _reach(self, wanted: float, missing: float, heading: float) -> npt.NDArray[np.float64]:
        """How far each foot goes to either side, m (4,): never so little that no phase is seen."""
        factor, least = self.stride
        stride = min(factor * wanted / (2.0 * self.frequency) + least, self.longest)
        reach = stride + self.catch_up * missing + self.steer[1] * SIDE * heading
        return np.clip(reach, 0.4 * stride, self.longest)
