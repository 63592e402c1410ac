"""Simulated robots: one environment class and one rollout, shared by training, evaluation and ROS.

Everything that plays a policy in simulation goes through :class:`Simulation`, so that the
observation and the action are cast to float32 at the same two places on every path.
"""

from __future__ import annotations

from qpolicy_ros.sim.environment import Simulation, open_simulation
from qpolicy_ros.sim.rollout import Episode, evaluate, rollout, spread
from qpolicy_ros.sim.tasks import TASKS, resolve_env_id, task_name

__all__ = [
    "TASKS",
    "Episode",
    "Simulation",
    "evaluate",
    "open_simulation",
    "resolve_env_id",
    "rollout",
    "spread",
    "task_name",
]
