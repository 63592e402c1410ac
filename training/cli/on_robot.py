"""`qpolicy train --robot`: an FP32 policy that walks as a teacher does, without a reward."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.policy import (
    PolicyArtifact,
    PolicyError,
    find_policy,
    load_policy,
    make_artifact,
    save_policy,
)
from qpolicy_training.cli.foreign import robot_digest
from qpolicy_training.experience.experts import Expert, PolicyExpert, RememberingExpert
from qpolicy_training.recipes.config import ImitateConfig
from qpolicy_training.recipes.robot_imitation import (
    ROBOTS,
    RobotImitation,
    RobotImitationConfig,
    facts_of,
)
from qpolicy_training.runs.provenance import provenance

TEACHER_ALONE = ".json"
USUAL_HISTORY = 8
_GOLDEN = 32


def open_expert(teacher: str) -> Expert:
    """Open a policy, or a teacher that remembers, for as many robots as train at once.

    Raises ``PolicyError`` for one whose contract does not say where its values come from.
    """
    expert: Expert
    if Path(teacher).suffix == TEACHER_ALONE:
        expert = RememberingExpert(Path(teacher), ROBOTS)
    else:
        expert = PolicyExpert(load_policy(find_policy(teacher)))
    if not expert.contract.robot:
        wrong = "comes from a feature vector, not from a robot"
        remedy = "import the policy with a contract that says where its values come from"
        raise PolicyError.at(teacher, "contract", wrong, remedy)
    return expert


def imitate_on_robot(
    teacher: str,
    robot: str,
    out: Path | None,
    *,
    hidden: tuple[int, ...],
    seed: int,
    history: int,
    options: ImitateConfig,
    walks: int = 20,
) -> tuple[Path, PolicyArtifact]:
    """Train a student of ``teacher`` on ``robot`` and write its policy file.

    Args:
        teacher: a policy's name or file, or a teacher's file (.json).
        robot: a name or a file.
        out: file to write; None: in the run's folder.
        hidden: widths of the student's hidden layers.
        seed: of networks and draws.
        history: ticks that the student sees; 0: 1, or 8 where the teacher remembers.
        options: of DAgger.
        walks: at each command that judge it.
    """
    started = time.process_time()
    ticks = history or (USUAL_HISTORY if Path(teacher).suffix == TEACHER_ALONE else 1)
    expert = open_expert(teacher)
    config = RobotImitationConfig(
        robot_digest(robot), expert.digest, seed, hidden, ticks, options, walks
    )
    course = RobotImitation(config, expert, robot)
    imitated = course.train()
    facts: dict[str, Any] = {
        "method": "imitate",
        "seed": seed,
        "robot": Path(robot).name,
        "teacher": Path(teacher).name,
        "config_hash": course.run.hash,
        "returns": {},
        **facts_of(imitated, config),
        "cpu_seconds": round(time.process_time() - started),
    }
    met = imitated.observations
    golden = met[np.linspace(0, len(met) - 1, _GOLDEN).astype(int)]
    artifact = make_artifact(
        imitated.contract, imitated.baseline, None, provenance(**facts), golden
    )
    file = out or course.run.folder / "fp32.safetensors"
    save_policy(artifact, file)
    course.run.close()
    return file, artifact
