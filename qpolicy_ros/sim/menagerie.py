"""MuJoCo Menagerie's models, through the package `mujoco-menagerie` of PyPI."""

from __future__ import annotations

import sys
from pathlib import Path

from qpolicy_ros.policy import PolicyError

#: A folder of the environment that may hold models where Menagerie's archive cannot be reached.
LOCAL = Path("share") / "mujoco_menagerie"


def menagerie_model(robot: str, entry: str) -> Path:
    """Return the MJCF file of a Menagerie robot, downloaded on first use.

    The package looks into ``$MENAGERIE_ROOT`` or its cache before it downloads; before all of
    them comes ``<sys.prefix>/share/mujoco_menagerie``, which ``scripts/robot_models.sh`` fills.

    Raises:
        PolicyError: the package is missing, knows no such robot or entry, or cannot download it.
    """
    local = Path(sys.prefix) / LOCAL / robot / f"{entry}.xml"
    if local.is_file():
        return local
    try:
        import mujoco_menagerie  # noqa: PLC0415 only for its robots
    except ImportError as error:
        wrong = "mujoco-menagerie is not installed"
        remedy = "pip install mujoco-menagerie"
        raise PolicyError.at("", f"robot {robot}", wrong, remedy) from error
    try:
        return Path(mujoco_menagerie.get(robot).xml(entry))
    except mujoco_menagerie.MenagerieError as error:
        reason = " ".join(str(error).split())
        remedy = (
            "run scripts/robot_models.sh (after a colcon build: `ros2 run qpolicy_ros "
            "robot_models.sh`), or set MENAGERIE_ROOT to a checkout"
        )
        raise PolicyError.at("", f"robot {robot}", reason, remedy) from error
