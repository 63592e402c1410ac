"""Names of the tasks: our short names and any Gymnasium environment id."""

from __future__ import annotations

import importlib
import re

import gymnasium

from qpolicy_ros.policy import PolicyError

#: Short task name -> Gymnasium id. The paper's results are on the ``-v4`` tasks.
TASKS: dict[str, str] = {
    "hopper": "Hopper-v4",
    "walker2d": "Walker2d-v4",
    "halfcheetah": "HalfCheetah-v4",
    "ant": "Ant-v4",
    "humanoid": "Humanoid-v4",
    "go2": "qpolicy_ros.sim.walk:Go2Walk-v0",
    "go2_steer": "qpolicy_ros.sim.steer:Go2Steer-v0",
}


def resolve_env_id(task: str) -> str:
    """Return the Gymnasium id of ``task``: a name of :data:`TASKS` or an id itself.

    Raises:
        PolicyError: ``task`` is neither.
    """
    if task in TASKS:
        return TASKS[task]
    module, _, name = task.rpartition(":")
    try:
        if module:  # "module:Id": importing the module registers its tasks
            importlib.import_module(module)
        gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        reason = f" ({error})" if isinstance(error, ImportError) else ""
        raise PolicyError(
            f"task: {task!r} is not known{reason}; use one of {', '.join(TASKS)} "
            "or a Gymnasium environment id such as Hopper-v5"
        ) from error
    return task


def file_label(task: str) -> str:
    """Return ``task`` as part of a file's name: ``lab/Reach-v0`` becomes ``lab-Reach-v0``."""
    return re.sub(r"[^\w.-]+", "-", task).strip("-.") or "task"


def task_name(env_id: str) -> str:
    """Return the short name of a Gymnasium id, or the id itself where there is none."""
    for name, known in TASKS.items():
        if known == env_id:
            return name
    return env_id
