"""A bare MuJoCo model as a simulated robot: no reward and no termination are invented."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.policy import ActionChannel, Channel, Contract, PolicyError
from qpolicy_ros.sim.channels import action_names, position_names, velocity_names
from qpolicy_ros.sim.display import mujoco, prepare_rendering
from qpolicy_ros.sim.stability import blow_up


class MjcfSimulation:
    """An MJCF file with the interface of :class:`qpolicy_ros.sim.Simulation`.

    The observation is ``qpos`` followed by ``qvel``. An episode starts from the first keyframe,
    or from the model's zero state where there is none, whatever the seed; it ends by
    ``max_episode_steps``, or where the physics blows up (``fault`` says at which joint). The reward
    is NaN.

    Args:
        path: the MJCF file.
        render_mode: None, ``"human"`` (a window) or ``"rgb_array"``.
        max_episode_steps: control steps until an episode is truncated; None = never.
        period: control period, s, a multiple of the model's time step; None = one time step.

    Raises:
        PolicyError: no such file, not a valid model, no actuators, an actuator without limits.
    """

    def __init__(
        self,
        path: str,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        period: float | None = None,
    ) -> None:
        if render_mode == "rgb_array":
            prepare_rendering()
        self.model: Any = _load(path)
        self.data: Any = mujoco.MjData(self.model)
        self.step_limit = max_episode_steps
        self._substeps = substeps(path, self.model.opt.timestep, period)
        self._render_mode = render_mode
        self._window: Any = None
        self._steps = 0
        self.fault = ""
        self.contract = self._read_contract(path)
        self._low, self._high = self.contract.low, self.contract.high

    def reset(self, seed: int) -> np.ndarray:  # noqa: ARG002 there is no chance in a bare model
        """Start an episode; return ``qpos`` and ``qvel``, float32 (nq + nv,)."""
        if self.model.nkey:
            mujoco.mj_resetDataKeyframe(self.model, self.data, 0)
        else:
            mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        self.fault = ""
        self._seen = self._observe()
        return self._seen

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Apply ``action`` (m,), clipped to its limits, for one control period."""
        self.data.ctrl[:] = np.clip(np.asarray(action, np.float32), self._low, self._high)
        mujoco.mj_step(self.model, self.data, self._substeps)
        self._steps += 1
        if self._render_mode == "human":
            self.render()
        self.fault = blow_up(self.model, self.data)
        if self.fault:
            return self._seen, math.nan, True, False
        self._seen = self._observe()
        truncated = self.step_limit is not None and self._steps >= self.step_limit
        return self._seen, math.nan, False, truncated

    def render(self) -> np.ndarray | None:
        """Return a frame (height, width, 3) uint8, or update the window."""
        if self._render_mode == "human":
            if self._window is None:
                from mujoco import viewer  # noqa: PLC0415 needs a display

                self._window = viewer.launch_passive(self.model, self.data)
            self._window.sync()
            return None
        if self._window is None:
            self._window = mujoco.Renderer(self.model, height=480, width=480)
        self._window.update_scene(self.data)
        frame: np.ndarray = self._window.render()
        return frame

    def close(self) -> None:
        """Close the window or the renderer."""
        if self._window is not None:
            self._window.close()

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos, self.data.qvel]).astype(np.float32)

    def _read_contract(self, path: str) -> Contract:
        limits = self.model.actuator_ctrlrange
        names = action_names(self.model, self.model.nu)
        for name, limited, (low, high) in zip(
            names, self.model.actuator_ctrllimited, limits, strict=True
        ):
            if not limited or not low < high:
                wrong = f"actuator {name!r} has no control limits"
                raise PolicyError.at(path, "ctrlrange", wrong, "give it a ctrlrange")
        return Contract(
            task=Path(path).stem,
            env_id="",
            observation=tuple(
                Channel(name, "feature")
                for name in position_names(self.model) + velocity_names(self.model)
            ),
            action=tuple(
                ActionChannel(name, float(low), float(high), float(np.clip(0.0, low, high)))
                for name, (low, high) in zip(names, limits, strict=True)
            ),
            period=self._substeps * self.model.opt.timestep,
        )


def _load(path: str) -> mujoco.MjModel:
    if not Path(path).is_file():
        raise PolicyError.at(path, "task", "there is no such MJCF file", "check the path")
    try:
        model = mujoco.MjModel.from_xml_path(path)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise PolicyError.at(path, "task", reason, "give a valid MJCF file") from error
    if not model.nu:
        raise PolicyError.at(path, "task", "the model has no actuators", "add some")
    return model


def substeps(path: str, timestep: float, period: float | None) -> int:
    """Return how many time steps make one ``period`` (s), 1 for None; PolicyError if not whole."""
    if period is None:
        return 1
    count = round(period / timestep)
    if count < 1 or not math.isclose(count * timestep, period, rel_tol=1e-6):
        wrong = f"{period:g} s is no multiple of the model's time step"
        raise PolicyError.at(path, "period", wrong, f"give a multiple of {timestep:g} s")
    return count
