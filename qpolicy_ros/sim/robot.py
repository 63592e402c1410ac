"""A robot with sensors: any MJCF model with a description, seen through its messages' fields."""

from __future__ import annotations

import math
import os
from typing import Any

import mujoco
import numpy as np

from qpolicy_ros.policy import Assembler, Contract, PolicyError
from qpolicy_ros.sim.description import RobotDescription, find_robot
from qpolicy_ros.sim.mjcf import substeps
from qpolicy_ros.sim.robot_model import build_model
from qpolicy_ros.sim.sensors import Sensors

START_SPREAD = 0.05


class RobotSimulation:
    """A described robot with the interface of :class:`qpolicy_ros.sim.Simulation`.

    The observation is put together from the sensors by the contract's ``Assembler``, as on the
    real robot. An episode starts from the default pose, a little off it by the seed; it ends by
    ``max_episode_steps`` only, and the reward is NaN: tasks add both
    (:mod:`qpolicy_ros.sim.walk`).

    Args:
        robot: a name of ``config/robots``, the path of a description, or a description.
        render_mode: None, ``"human"`` (a window) or ``"rgb_array"``.
        max_episode_steps: control steps until an episode is truncated; None = never.
        contract: of the policy that is to run; None takes the description's own.

    Attributes:
        contract, model, data, step_limit: as of ``Simulation``.
        description: of the robot.
        sensors: what :meth:`read` reads, and the velocity of the base.

    Raises:
        PolicyError: a wrong description, no such model, or a contract that the robot cannot
            fill; the text names the joint, site or body.
    """

    def __init__(
        self,
        robot: str | RobotDescription,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        contract: Contract | None = None,
    ) -> None:
        if render_mode == "rgb_array" and not os.environ.get("DISPLAY"):
            os.environ.setdefault("MUJOCO_GL", "egl")
        description = find_robot(robot) if isinstance(robot, str) else robot
        self.description = description
        self.model: Any = build_model(description, visual=render_mode is not None)
        self.data: Any = mujoco.MjData(self.model)
        self.contract = contract or description.contract()
        self.step_limit = max_episode_steps
        self._where = description.file or description.name
        self._substeps = substeps(self._where, self.model.opt.timestep, self.contract.period)
        self._render_mode = render_mode
        self._window: Any = None
        self._steps = 0
        self._low, self._high = self.contract.low, self.contract.high
        self.sensors = Sensors(self.model, self.data, description.base, self._where)
        self._actuators = np.array([self._actuator(a.name) for a in self.contract.action])
        self._joints = np.array([self.sensors.joint(j).qposadr[0] for j in description.joints])
        self._pose = np.array([joint.default for joint in description.joints.values()])
        self._assembler = Assembler(self.contract)
        self._readers = [self.sensors.reader(source) for source in self._assembler.sources]

    @property
    def command(self) -> np.ndarray:
        """Commanded velocity (6,): linear x, y, z (m/s), angular x, y, z (rad/s); no reset ends it.

        ``cmd_vel`` sources read it.
        """
        return self.sensors.command

    @command.setter
    def command(self, velocity: np.ndarray) -> None:
        self.sensors.command[:] = velocity

    def read(self, source: str) -> float:
        """Return the raw value of a source of :mod:`qpolicy_ros.policy.sources`, in SI units.

        Raises:
            PolicyError: not a source of this robot.
        """
        return self.sensors.reader(source)()

    def reset(self, seed: int) -> np.ndarray:
        """Stand the robot in its default pose, joints off by up to 0.05 rad; observe (n,)."""
        self.stand(np.random.default_rng(seed), START_SPREAD)
        return self.observe()

    def stand(self, rng: np.random.Generator, spread: float) -> None:
        """Put the robot in its default pose, joints off by up to ``spread`` rad."""
        mujoco.mj_resetData(self.model, self.data)
        q = self.sensors.base[0]
        self.data.qpos[q : q + 7] = (0, 0, self.description.height, 1, 0, 0, 0)
        noise = rng.uniform(-spread, spread, self._pose.size)
        self.data.qpos[self._joints] = self._pose + noise
        self.data.ctrl[self._actuators] = self.contract.default
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        self._assembler.reset()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Apply ``action`` (m,), clipped to its limits, for one control period."""
        self.advance(action)
        truncated = self.step_limit is not None and self._steps >= self.step_limit
        return self.observe(), math.nan, False, truncated

    def advance(self, action: np.ndarray) -> None:
        """Apply ``action`` (m,), clipped to its limits, for one control period; observe nothing."""
        computed = np.asarray(action, np.float32)
        action = np.clip(computed, self._low, self._high)
        self._assembler.acted(action, computed)
        self.data.ctrl[self._actuators] = action
        mujoco.mj_step(self.model, self.data, self._substeps)
        self._steps += 1
        if self._render_mode == "human":
            self.render()

    def observe(self) -> np.ndarray:
        """Return the observation (n,), once a control step: it counts the ticks of histories."""
        return self._assembler.observation([read() for read in self._readers])

    def render(self) -> np.ndarray | None:
        """Return a frame (height, width, 3) uint8, or update the window."""
        if self._render_mode == "human":
            if self._window is None:
                from mujoco import viewer  # noqa: PLC0415 needs a display

                self._window = viewer.launch_passive(self.model, self.data)
            self._window.sync()
            return None
        if self._window is None:
            self._window = mujoco.Renderer(self.model, height=480, width=640)
        self._window.update_scene(self.data, self._camera())
        frame: np.ndarray = self._window.render()
        return frame

    def close(self) -> None:
        """Close the window or the renderer."""
        if self._window is not None:
            self._window.close()

    def _camera(self) -> mujoco.MjvCamera:
        """Return a camera that goes beside the robot."""
        camera = mujoco.MjvCamera()
        q = self.sensors.base[0]
        size = self.description.height
        camera.lookat[:] = (*self.data.qpos[q : q + 2], 0.7 * size)
        camera.distance, camera.azimuth, camera.elevation = 5 * size, 130.0, -15.0
        return camera

    def _actuator(self, name: str) -> int:
        """Return the actuator that drives the joint ``name``."""
        joint = self.sensors.joint(name).id
        for index in range(self.model.nu):
            drives_joint = self.model.actuator_trntype[index] == mujoco.mjtTrn.mjTRN_JOINT
            if drives_joint and self.model.actuator_trnid[index, 0] == joint:
                return index
        remedy = "give the model an actuator for it"
        raise PolicyError.at(self._where, "joint", f"{name!r} has no actuator", remedy)
