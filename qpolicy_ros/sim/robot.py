"""A robot with sensors: any MJCF model with a description, seen through its messages' fields."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qpolicy_ros.policy import Assembler, Contract
from qpolicy_ros.policy.model import POSITION
from qpolicy_ros.policy.sources import projected_gravity
from qpolicy_ros.sim.actuators import actuator_of
from qpolicy_ros.sim.description import RobotDescription, find_robot
from qpolicy_ros.sim.display import mujoco, prepare_rendering
from qpolicy_ros.sim.mjcf import substeps
from qpolicy_ros.sim.robot_model import BuiltRobot, build_model
from qpolicy_ros.sim.sensors import Sensors
from qpolicy_ros.sim.stability import blow_up
from qpolicy_ros.sim.start import start_pose

START_SPREAD = 0.05
WARM_UP = 2.0  # s, not counted in the velocity of an episode


class RobotSimulation:
    """A described robot with the interface of :class:`qpolicy_ros.sim.Simulation`.

    The observation is put together from the sensors by the contract's ``Assembler``, as on the
    real robot. An episode starts from the default pose, a little off it by the seed; it ends by
    ``max_episode_steps``, and by a fall where ``fallen_below`` is given; the reward is NaN: tasks
    add one (:mod:`qpolicy_ros.sim.walk`).

    Args:
        robot: a name of ``config/robots``, the path of a description or of an MJCF file, or a
            description.
        render_mode: None, ``"human"`` (a window) or ``"rgb_array"``.
        max_episode_steps: control steps until an episode is truncated; None = never.
        contract: of the policy that is to run; None takes the description's own.
        fallen_below: share of the start's height below which a floating base has fallen; 0: never.
        built: the model, where it has been built already: several states share it.

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
        fallen_below: float = 0.0,
        built: BuiltRobot | None = None,
    ) -> None:
        if render_mode == "rgb_array":
            prepare_rendering()
        description = find_robot(robot) if isinstance(robot, str) else robot
        self.description = description
        self.contract = contract or description.contract()
        self._where = description.file or description.name
        if built is None:
            built = build_model(description, self.contract, visual=render_mode is not None)
        self.built = built
        self.model: Any = built.model
        self.data: Any = mujoco.MjData(self.model)
        self.step_limit = max_episode_steps
        self._substeps = substeps(self._where, self.model.opt.timestep, self.contract.period)
        self._render_mode = render_mode
        self._window: Any = None
        self._steps = 0
        self.fault = ""
        self._low, self._high = self.contract.low, self.contract.high
        self.sensors = Sensors(
            self.model, self.data, built.base, self._where, built.imu, built.odom
        )
        drives = [actuator_of(self.model, action) for action in self.contract.action]
        self._actuators = np.array([index for index, _ in drives])
        self._factors = np.array([factor for _, factor in drives])
        self._joints = self._driven()
        pose = self._pose()
        place = tuple(sorted(pose.items()))
        if place not in built.starts:
            built.starts[place] = start_pose(self.model, description, pose, built)
        self._start = built.starts[place]
        self._fallen_below = fallen_below * float(self._start[self._height]) if built.base else 0.0
        self._upright = _gravity_at(self._start, self._height)
        self._velocity = np.zeros(3)
        self._assembler = Assembler(self.contract)
        self._gather = self.sensors.gather(self._assembler.sources)

    @property
    def command(self) -> np.ndarray:
        """Commanded velocity (6,): linear x, y, z (m/s), angular x, y, z (rad/s); no reset ends it.

        ``cmd_vel`` sources read it.
        """
        return self.sensors.command

    @command.setter
    def command(self, velocity: np.ndarray) -> None:
        self.sensors.command[:] = velocity

    @property
    def fallen(self) -> bool:
        """Whether the base is too low, has tipped over, or the simulation has blown up.

        Never without ``fallen_below``.
        """
        if not self._fallen_below:
            return False
        if self.fault:  # the physics began anew from zero
            return True
        upright = float(np.dot(self.sensors.gravity(), self._upright))
        return upright < _TIPPED or bool(self.data.qpos[self._height] < self._fallen_below)

    @property
    def mean_velocity(self) -> np.ndarray:
        """Forward and left (m/s) and turning (rad/s), the base's own, after the first 2 s (3,).

        NaN before that.
        """
        counted = self._steps - round(WARM_UP / self.contract.period)
        return self._velocity / counted if counted > 0 else np.full(3, math.nan)

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
        self.data.qpos[:] = self._start
        self.data.qpos[self._joints] += rng.uniform(-spread, spread, self._joints.size)
        self.data.ctrl[self._actuators] = self.contract.default * self._factors
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        self.fault = ""
        self._velocity[:] = 0.0
        self._assembler.reset()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Apply ``action`` (m,), clipped to its limits, for one control period."""
        self.advance(action)
        if self.fault:
            return self._seen, math.nan, True, False
        truncated = self.step_limit is not None and self._steps >= self.step_limit
        return self.observe(), math.nan, self.fallen, truncated

    def advance(self, action: np.ndarray) -> None:
        """Apply ``action`` (m,), clipped to its limits, for one control period; observe nothing."""
        computed = np.asarray(action, np.float32)
        action = np.clip(computed, self._low, self._high)
        self._assembler.acted(action, computed)
        self.data.ctrl[self._actuators] = action * self._factors
        mujoco.mj_step(self.model, self.data, self._substeps)
        self.fault = blow_up(self.model, self.data)
        self._steps += 1
        if self._steps > round(WARM_UP / self.contract.period):
            x, y, _ = self.sensors.velocity()
            self._velocity += (x, y, self.sensors.turning())
        if self._render_mode == "human":
            self.render()

    def observe(self) -> np.ndarray:
        """Return the observation (n,), once a control step: it counts the ticks of histories."""
        self._seen = self._assembler.observation(self._gather())
        return self._seen

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
        q = self.sensors.base[0] if self.sensors.base else None
        size = float(self._start[self._height]) if q is not None else float(self.model.stat.extent)
        x, y = self.data.qpos[q : q + 2] if q is not None else self.model.stat.center[:2]
        camera.lookat[:] = (x, y, 0.7 * size)
        camera.distance, camera.azimuth, camera.elevation = 5 * size, 130.0, -15.0
        return camera

    @property
    def _height(self) -> int:
        """Where ``qpos`` has the height of the base."""
        return self.sensors.base[0] + 2 if self.sensors.base else 0

    def _driven(self) -> np.ndarray:
        """Where ``qpos`` has the joints that actions drive, in the model's order."""
        names = {action.name for action in self.contract.action}
        scalar = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        return np.array(
            [
                self.model.jnt_qposadr[i]
                for i in range(self.model.njnt)
                if self.model.joint(i).name in names and self.model.jnt_type[i] in scalar
            ],
            np.intp,
        )

    def _pose(self) -> dict[int, float]:
        """Where ``qpos`` has a joint -> its default position."""
        described = {name: joint.default for name, joint in self.description.joints.items()}
        for action, default in zip(self.contract.action, self.contract.default, strict=True):
            if action.kind == POSITION:
                described.setdefault(action.name, float(default))
        places = {name: mujoco.mj_name2id(self.model, _JOINT, name) for name in described}
        for name in self.description.joints:
            self.sensors.joint(name)  # refuses what the model lacks
        return {
            int(self.model.jnt_qposadr[places[name]]): value
            for name, value in described.items()
            if places[name] >= 0
        }


def _gravity_at(start: np.ndarray, height: int) -> np.ndarray:
    """Gravity's unit vector in the frame of a base that stands as at the start."""
    if not height:
        return np.array([0.0, 0.0, -1.0])
    w, x, y, z = start[height + 1 : height + 5]
    return np.array(projected_gravity(x, y, z, w))


_JOINT = mujoco.mjtObj.mjOBJ_JOINT
_TIPPED = 0.3  # cosine of the angle between up now and up at the start
