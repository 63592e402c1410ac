"""Walking at a commanded speed: the Gymnasium task that trains a legged robot's policy.

Registered as ``Go2Walk-v0``; :data:`qpolicy_ros.sim.TASKS` knows it as ``go2``. The reward is made
of what the robot's state says, the observation of what its sensors say (the description's
contract), so a policy trained here runs wherever those messages exist.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from qpolicy_ros.sim.commanded import as_twist
from qpolicy_ros.sim.robot import RobotSimulation
from qpolicy_ros.sim.rollout import Policy
from qpolicy_ros.sim.trot import Trot

ENV_ID = "qpolicy_ros.sim.walk:Go2Walk-v0"
EPISODE_STEPS = 500

_COMMAND_STEPS = 250  # a command holds for 5 s
_STANDING = 0.1  # share of commands that are "stand still"
_PUSH_STEPS = 150
_PUSH = 0.4  # m/s, the largest push
_MIN_HEIGHT = 0.15  # m, of the base; below it the robot lies
_MAX_TILT = 0.5  # cosine of the tilt at which the robot has fallen
_LIFTED = 0.01  # m, a foot closer to the floor than this is not lifted
_CONTACT = 0.002  # m, and this close it carries
_LEVER = 0.24  # m, how far the feet are from the axis of turning
_AVERAGE = 0.4  # s, time constant of the velocities that are judged: a gait sways within a step


class WalkEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A described robot that is asked to walk forwards at 0 to 1 m/s.

    A task with other commands is a class of this one, with its own names below, ``_commanded`` and
    ``_expert``.

    Args:
        robot: a name of ``config/robots`` with two ``groups`` of ``feet``.
        render_mode: None, ``"human"`` or ``"rgb_array"``.
        randomise: False plays without pushes, at nominal friction and gains.

    Attributes:
        robot: the simulation; ``robot.command`` is the commanded velocity (6,), m/s and rad/s.
        contract: of the policies for this task.
    """

    task, env_id = "go2", ENV_ID
    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(
        self, robot: str = "unitree_go2", render_mode: str | None = None, *, randomise: bool = True
    ) -> None:
        self.robot = RobotSimulation(robot, render_mode)
        self.render_mode = render_mode
        description = self.robot.description
        self.contract = description.contract(self.task, self.env_id)
        self.model, self.data = self.robot.model, self.robot.data
        assert description.period is not None, "a task of ours says its period"
        self.dt: float = description.period
        self._randomise = randomise
        self._trot: Policy | None = None
        groups = description.feet["groups"]
        self._feet = np.array([self.model.geom(name).id for group in groups for name in group])
        self._first = len(groups[0])  # the feet of the first group come first
        self._radius = self.model.geom_size[self._feet, 0].copy()
        self._friction = self.model.geom_friction[self._feet, 0].copy()
        self._gain = self.model.actuator_gainprm[:, 0].copy()
        low, high = self.contract.low, self.contract.high
        self._reach = (high - low) / 2
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        size = len(self.contract.observation)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Stand the robot up, draw friction, gains and the first command.

        ``options={"speed": v}`` commands ``v`` m/s forwards for the whole episode instead,
        ``{"command": (v, w, r)}`` forward and left (m/s) and turning (rad/s).
        """
        super().reset(seed=seed)
        options = options or {}
        speed = options.get("speed")
        self._fixed = options.get("command") if speed is None else (speed, 0.0, 0.0)
        rng = self.np_random
        if self._randomise:
            self.model.geom_friction[self._feet, 0] = self._friction * rng.uniform(0.7, 1.3)
            factor = rng.uniform(0.9, 1.1)
            self.model.actuator_gainprm[:, 0] = self._gain * factor
            self.model.actuator_biasprm[:, 1] = -self._gain * factor
        self.robot.stand(rng, 0.1)
        self._steps = 0
        self._next_command()
        self._action = self.contract.default
        self._feet_now = self.data.geom_xpos[self._feet].copy()
        self._air = np.zeros(len(self._feet))
        self._velocity = np.zeros(3)
        self._seen = self.robot.observe()
        return self._seen, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Apply joint targets (m,), rad, for one control period."""
        self._steps += 1
        if self._randomise and self._steps % _PUSH_STEPS == 0:
            self.data.qvel[:2] += self.np_random.uniform(-_PUSH, _PUSH, 2)
        self.robot.advance(action)
        terms, terminated = self._judge(np.asarray(action, np.float64))
        if self._steps % _COMMAND_STEPS == 0:
            self._next_command()
        self._seen = self.robot.observe()
        return self._seen, float(sum(terms.values())), terminated, False, terms

    def guide(self) -> np.ndarray:
        """Return what a scripted trot would do now, an action (m,): a teacher to begin with.

        Raises:
            PolicyError: the robot has not four legs of three joints.
        """
        if self._trot is None:
            self._trot = self._expert()
        return self._trot(self._seen)

    def render(self) -> np.ndarray | None:
        """Return a frame, or update the window."""
        return self.robot.render()

    def close(self) -> None:
        """Close the window."""
        self.robot.close()

    def _expert(self) -> Policy:
        """Return the scripted trot."""
        return Trot(self.contract)

    def _commanded(self) -> np.ndarray:
        """Draw forward and left (m/s) and turning (rad/s) to command (3,)."""
        standing = self.np_random.random() < _STANDING
        return np.array([0.0 if standing else self.np_random.uniform(0.2, 1.0), 0.0, 0.0])

    def _next_command(self) -> None:
        command = self._commanded() if self._fixed is None else self._fixed
        self.robot.command = as_twist(command)

    def _judge(self, action: np.ndarray) -> tuple[dict[str, float], bool]:
        """Return the reward's terms and whether the robot has fallen."""
        data = self.data
        vx, vy, vz = self.robot.sensors.velocity()
        wx, wy, wz = data.qvel[3:6]
        self._velocity += self.dt / _AVERAGE * (np.array([vx, vy, wz]) - self._velocity)
        vx, vy, wz = self._velocity
        gx, gy, gz = self.robot.sensors.gravity()
        height = data.qpos[2]
        wanted = self.robot.command[[0, 1, 5]]
        change = (action - self._action) / self._reach
        self._action = action
        pose = (action - self.contract.default) / self._reach
        power = np.abs(data.actuator_force * data.qvel[6:]).sum()

        before, self._feet_now = self._feet_now, data.geom_xpos[self._feet].copy()
        clearance = self._feet_now[:, 2] - self._radius
        down = clearance < _LIFTED
        slip = (((self._feet_now - before)[:, :2] / self.dt) ** 2).sum(axis=1)
        slip = slip[clearance < _CONTACT].sum()
        landed = down & (self._air > 0)
        if wanted.any():
            # One group of feet carries while the other swings, for longer than 0.15 s.
            carry = abs(down[: self._first].mean() - down[self._first :].mean())
            lever = (1.0, 1.0, _LEVER)
            told, made = wanted * lever, self._velocity * lever
            carry *= min(max(float(made @ told / (told @ told)), 0.0), 1.0)
            gait = 0.8 * carry + 2.0 * ((np.minimum(self._air, 0.4) - 0.15) * landed).sum()
        else:
            gait = -0.3 * (~down).sum()
        self._air = np.where(down, 0.0, self._air + self.dt)

        error, vy, wz = self._velocity - wanted
        terms = {
            "speed": 2.0 * float(np.exp(-(error**2) / 0.06)) - 0.5 * abs(error),
            "sideways": 0.5 * float(np.exp(-(vy**2) / 0.02)),
            "turning": 0.8 * float(np.exp(-(wz**2) / 0.05)) - 0.3 * abs(wz),
            "bounce": -1.5 * vz**2 - 0.04 * (wx**2 + wy**2),
            "tilt": -3.0 * (gx**2 + gy**2),
            "height": -150.0 * min(0.0, height - 0.25) ** 2 - 150.0 * max(0.0, height - 0.33) ** 2,
            "smooth": -0.04 * float((change**2).sum()),
            "pose": -0.03 * float((pose**2).sum()),
            "power": -0.001 * float(power),
            "slip": -0.3 * slip,
            "gait": float(gait),
        }
        fallen = gz > -_MAX_TILT or height < _MIN_HEIGHT
        return {name: float(value) for name, value in terms.items()}, bool(fallen)


def register(env_id: str, entry_point: str) -> None:
    """Make a task of this kind known to Gymnasium, once, as ``module:name`` says."""
    name = env_id.partition(":")[2]
    if name not in gymnasium.registry:
        gymnasium.register(
            name, entry_point=entry_point, max_episode_steps=EPISODE_STEPS, order_enforce=False
        )


register(ENV_ID, "qpolicy_ros.sim.walk:WalkEnv")
