"""Walking where one is told: forwards, backwards, sideways and in a turn.

Registered as ``Go2Steer-v0``; :data:`qpolicy_ros.sim.TASKS` knows it as ``go2_steer``. It is the
task of :mod:`qpolicy_ros.sim.walk` with all three commands of ``cmd_vel``.
"""

from __future__ import annotations

import numpy as np

from qpolicy_ros.sim.commanded import command_ranges, draw_command
from qpolicy_ros.sim.rollout import Policy
from qpolicy_ros.sim.steered_trot import SteeredTrot
from qpolicy_ros.sim.walk import WalkEnv, register

ENV_ID = "qpolicy_ros.sim.steer:Go2Steer-v0"


class SteerEnv(WalkEnv):
    """A described robot that is asked to move at the ``commands`` of its description.

    Args:
        robot: a name of ``config/robots`` with two ``groups`` of ``feet`` and its ``commands``.
        render_mode: None, ``"human"`` or ``"rgb_array"``.
        randomise: False plays without pushes, at nominal friction and gains.
    """

    task, env_id = "go2_steer", ENV_ID

    def __init__(
        self,
        robot: str = "unitree_go2_steer",
        render_mode: str | None = None,
        *,
        randomise: bool = True,
    ) -> None:
        super().__init__(robot, render_mode, randomise=randomise)
        self._ranges = command_ranges(self.contract, self.robot.description)

    def _expert(self) -> Policy:
        return SteeredTrot(self.contract)

    def _commanded(self) -> np.ndarray:
        return draw_command(self.np_random, self._ranges)


register(ENV_ID, "qpolicy_ros.sim.steer:SteerEnv")
