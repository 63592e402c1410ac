"""One simulated robot behind the interface that training, evaluation and the ROS node share."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import gymnasium
import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import ActionChannel, Channel, Contract, PolicyError
from qpolicy_ros.sim.channels import action_names, observation_names
from qpolicy_ros.sim.description import is_model, is_robot
from qpolicy_ros.sim.display import mujoco, prepare_rendering
from qpolicy_ros.sim.stability import blow_up
from qpolicy_ros.sim.task_calls import TaskCalls, failed
from qpolicy_ros.sim.tasks import resolve_env_id, task_name

DEFAULT_EPISODE_STEPS = 1000
"""Control steps after which training and evaluation cut an episode that has no limit."""


class Simulated(Protocol):
    """What the simulator node and :func:`qpolicy_ros.sim.rollout.rollout` need of a robot."""

    contract: Contract
    model: Any  # mujoco.MjModel, or None
    data: Any  # mujoco.MjData, or None
    step_limit: int | None  # steps until an episode is truncated
    fault: str  # why the last step ended the episode as failed, empty if it did not

    def reset(self, seed: int) -> np.ndarray:
        """Start an episode; return the float32 observation (n,)."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Apply a float32 action (m,); return observation, reward, terminated, truncated."""

    def render(self) -> np.ndarray | None:
        """Return a frame (height, width, 3) uint8, or None in a viewer."""

    def close(self) -> None:
        """Free the simulation and its window."""


class Simulation:
    """A Gymnasium environment with float32 observations and actions.

    The environment's float64 observation is rounded to float32 once, here, and the action is
    handed over as float32: a policy sees the same values offline and over ROS.

    Args:
        task: a name of :data:`qpolicy_ros.sim.TASKS` or any Gymnasium id with a 1-D Box
            observation and a finite 1-D Box action.
        render_mode: None, ``"human"`` (a window) or ``"rgb_array"`` (frames from :meth:`render`).
        max_episode_steps: steps until an episode is truncated; None keeps the task's own limit.

    Attributes:
        contract: names, limits and control period (s), read from the MuJoCo model.
        env: the Gymnasium environment.
        model, data: MuJoCo model and state, None for an environment that is not MuJoCo.
        step_limit: steps until an episode is truncated, None where there is no limit.
        fault: the joint whose physics blew up in the last step, empty if none did.
        seeded: whether one seed gives one first observation: nothing can be played again else.

    Raises:
        PolicyError: unknown task, missing simulator dependency, unsupported spaces, or, here and
            later, a task that answers otherwise than its spaces and Gymnasium say.
    """

    def __init__(
        self, task: str, render_mode: str | None = None, max_episode_steps: int | None = None
    ) -> None:
        env_id = resolve_env_id(task)
        if max_episode_steps is not None and max_episode_steps < 1:
            raise PolicyError(
                f"max_episode_steps: {max_episode_steps} is not a positive number of steps; "
                "leave it out for the task's own limit"
            )
        if render_mode == "rgb_array":
            prepare_rendering()
        self.env = _make(env_id, render_mode, max_episode_steps)
        _check_spaces(env_id, self.env)
        self._calls = TaskCalls(self.env, env_id)
        self.seeded = True
        robot: Any = self.env.unwrapped
        # A user's task may call anything of its own `model`, `data`, `contract` or `dt`.
        self.model = _attribute(robot, "model", mujoco.MjModel)
        self.data = _attribute(robot, "data", mujoco.MjData) if self.model else None
        spec = self.env.spec
        self.step_limit = max_episode_steps or (spec.max_episode_steps if spec else None)
        # A described robot knows its contract; a bare vector's names are read from the model.
        self.contract = _attribute(robot, "contract", Contract) or self._read_contract(env_id)
        self._low, self._high = self.contract.low, self.contract.high
        self.fault = ""

    def reset(self, seed: int | None, options: dict[str, Any] | None = None) -> np.ndarray:
        """Start the episode that ``seed`` (>= 0) stands for; return the observation (n,).

        None goes on in the task's random sequence. ``options`` are the task's own; Gymnasium's
        MuJoCo tasks have none.
        """
        self._seen = self._calls.reset(seed, options)
        self.fault = ""
        return self._seen

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Apply ``action`` (m,), clipped to its limits, for one control period.

        Returns:
            observation float32 (n,), reward, terminated (by the task), truncated (by time). Where
            the physics blew up it is the last observation before that, no reward, terminated.
        """
        # As the policy node does: a float32 sum may exceed a limit by one unit in the last place.
        action = np.clip(np.asarray(action, dtype=np.float32), self._low, self._high)
        seen, reward, terminated, truncated = self._calls.step(action)
        self.fault = blow_up(self.model, self.data)
        if self.fault:
            return self._seen, 0.0, True, False
        self._seen = seen
        return seen, reward, terminated, truncated

    def render(self) -> np.ndarray | None:
        """Return the frame (height, width, 3) uint8 of an ``rgb_array`` simulation."""
        frame: Any = self.env.render()
        return None if frame is None else np.asarray(frame, dtype=np.uint8)

    def close(self) -> None:
        """Close the environment and its window."""
        self.env.close()

    def _read_contract(self, env_id: str) -> Contract:
        first = self._calls.reset(0)
        self.seeded = np.array_equal(first, self._calls.reset(0), equal_nan=True)
        given = np.asarray(self._calls.given)  # names are found by value, so exactly
        space: Any = self.env.action_space
        low, high = _inward(space.low, space.high)
        names = action_names(self.model, low.size)
        return Contract(
            task=task_name(env_id),
            env_id=env_id,
            observation=tuple(
                Channel(name, "feature") for name in observation_names(self.model, self.data, given)
            ),
            action=tuple(
                ActionChannel(
                    names[i], float(low[i]), float(high[i]), float(np.clip(0.0, low[i], high[i]))
                )
                for i in range(low.size)
            ),
            period=_control_period(env_id, self.env),
        )


def open_simulation(
    task: str,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    period: float | None = None,
    contract: Contract | None = None,
    fallen_below: float = 0.0,
) -> Simulated:
    """Open a task by name or Gymnasium id, a robot by name, or a file by its path.

    A robot is one of ``config/robots`` or the path of its description (``*.yaml``), or, for a
    policy of ``contract``, of its MJCF file; without one, or where the contract is of a feature
    vector, ``*.xml`` is a bare MJCF model.

    Raises:
        PolicyError: as :class:`Simulation`, :class:`qpolicy_ros.sim.robot.RobotSimulation` and
            :class:`qpolicy_ros.sim.mjcf.MjcfSimulation`; or ``period`` (s) given for a task or a
            robot, which have their own.
    """
    contract = contract if contract and contract.robot else None
    if is_model(task) and contract is None:
        from qpolicy_ros.sim.mjcf import MjcfSimulation  # noqa: PLC0415 only for MJCF files

        return MjcfSimulation(task, render_mode, max_episode_steps, period)
    if period is not None:
        wrong = f"{period:g} s is given, but {task!r} has a control period of its own"
        raise PolicyError.at("", "period", wrong, "give it for an MJCF file only")
    if is_robot(task) or is_model(task):
        from qpolicy_ros.sim.robot import RobotSimulation  # noqa: PLC0415 only for robots

        return RobotSimulation(task, render_mode, max_episode_steps, contract, fallen_below)
    return Simulation(task, render_mode, max_episode_steps)


def _make(env_id: str, render_mode: str | None, max_episode_steps: int | None) -> gymnasium.Env:
    # The -v4 tasks are the paper's: neither that Gymnasium has newer ones nor that their models
    # use old MuJoCo attributes is news to the user.
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # Not every task takes `render_mode`.
            drawn = {} if render_mode is None else {"render_mode": render_mode}
            return gymnasium.make(
                env_id, max_episode_steps=max_episode_steps, disable_env_checker=True, **drawn
            )
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise PolicyError(f"task: {env_id} cannot be opened: {reason}") from error
    except InputError:  # of a task of ours
        raise
    except Exception as error:
        raise failed(env_id, "opening it", error) from error
    finally:
        mujoco.set_mju_user_warning(handler)


def _check_spaces(env_id: str, env: gymnasium.Env) -> None:
    seen, acts = env.observation_space, env.action_space
    if not isinstance(seen, gymnasium.spaces.Box) or len(seen.shape) != 1:
        raise PolicyError(
            f"task: {env_id}: observation space {_describe(seen)} is not supported; "
            "choose a task whose observation is a 1-D Box"
        )
    if not isinstance(acts, gymnasium.spaces.Box) or len(acts.shape) != 1:
        raise PolicyError(
            f"task: {env_id}: action space {_describe(acts)} is not supported; "
            "choose a task whose action is a 1-D Box"
        )
    if not np.issubdtype(acts.dtype, np.floating):
        raise PolicyError(
            f"task: {env_id}: action space {_describe(acts)} of {acts.dtype} is not supported; "
            "choose a task whose actions are real numbers, or wrap it to round them itself"
        )
    if not (np.isfinite(acts.low).all() and np.isfinite(acts.high).all()):
        raise PolicyError(
            f"task: {env_id}: action limits {acts.low.tolist()} to {acts.high.tolist()} are not "
            "finite; choose a task with finite action limits"
        )
    # Limits that float32 cannot tell apart leave as little to choose.
    lower, upper = _inward(acts.low, acts.high)
    fixed = np.flatnonzero(~(lower < upper))
    if fixed.size:
        at = int(fixed[0])
        raise PolicyError(
            f"task: {env_id}: action {at} is fixed, low {acts.low[at]:g} and high "
            f"{acts.high[at]:g}; choose a task, or a wrapper, whose actions can all move"
        )


def _attribute(robot: Any, name: str, kind: type) -> Any:
    """Return ``robot.name`` where it is what this package means by that name, else None."""
    value = getattr(robot, name, None)
    return value if isinstance(value, kind) else None


def _inward(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return action limits as float32, rounded so that none lies outside the task's own."""
    lower, upper = low.astype(np.float32), high.astype(np.float32)
    lower = np.where(lower < low, np.nextafter(lower, np.float32(np.inf)), lower)
    upper = np.where(upper > high, np.nextafter(upper, np.float32(-np.inf)), upper)
    return lower, upper


def _describe(space: gymnasium.Space) -> str:
    shape = getattr(space, "shape", None)
    return type(space).__name__ + (f" of shape {shape}" if shape else "")


def _control_period(env_id: str, env: gymnasium.Env) -> float:
    """Control period in seconds: the simulator's own, else one rendered frame."""
    period = getattr(env.unwrapped, "dt", None)
    if not isinstance(period, (int, float, np.number)):
        rate = (env.metadata or {}).get("render_fps")
        period = 1.0 / rate if isinstance(rate, (int, float, np.number)) and rate else None
    if not (period and np.isfinite(period) and period > 0):
        raise PolicyError(
            f"task: {env_id}: gives no control period (neither `dt` nor `render_fps`); "
            "choose a task that does"
        )
    return float(period)
