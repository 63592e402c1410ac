"""Part 5: closed-loop returns are the same floats, whatever computes the actions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.interchange.outgoing import CompiledHeader
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.result import Check, Section

SEED, EPISODES = 1000, 3


def check_loops(
    artifact: PolicyArtifact, folder: Path, journal: Journal, episodes: int = EPISODES
) -> Section:
    """Play the same seeds with every implementation and compare the returns with ``==``."""
    from qpolicy_ros.sim import evaluate  # noqa: PLC0415  needs the simulator

    contract = artifact.contract
    task = contract.env_id or contract.task

    def play(act: Callable[[Any], Any]) -> list[float]:
        return evaluate(act, task, episodes, SEED)

    def header() -> list[float]:
        return play(CompiledHeader(artifact).act)

    def backend(name: str, options: dict[str, Any]) -> list[float]:
        chosen = create_backend(name, artifact, options)
        try:
            return play(chosen.act)
        finally:
            chosen.close()

    def once(name: str, work: Callable[[], list[float]]) -> list[float]:
        returns: list[float] = journal.once(f"returns of {episodes} episodes: {name}", work)
        return returns

    wanted = once("integer", lambda: backend("integer", {}))
    rtl = {"transport": "rtlsim", "bitstream": str(folder)}
    others = {
        "c header": once("c header", header),
        "fpga rtlsim": once("fpga rtlsim", lambda: backend("fpga", rtl)),
    }
    uncovered = []
    if importlib.util.find_spec("rclpy") is None:
        uncovered.append("ROS 2 lock-step: rclpy is not installed here")
    elif contract.robot:
        uncovered.append(
            "ROS 2 lock-step: a robot's policy takes the robot's messages; "
            "test/nodes/test_robot_simulation.py compares its commands with the offline episode's"
        )
    else:
        others["ros 2 lock-step"] = once("ros 2 lock-step", lambda: _over_ros(artifact, episodes))
    checks = [
        Check(
            f"{name} = integer: returns of episodes",
            len(wanted),
            sum(a != b for a, b in zip(returns, wanted, strict=True)),
            ", ".join(f"{value:.6g}" for value in returns),
        )
        for name, returns in others.items()
    ]
    return Section("loops", tuple(checks), tuple(uncovered))


def _over_ros(artifact: PolicyArtifact, episodes: int) -> list[float]:
    """The returns with policy and simulator in processes of their own, in lock-step."""
    from qpolicy_ros.harness.closed_loop import Job, play  # noqa: PLC0415  as above
    from qpolicy_ros.harness.domains import use_free_domain  # noqa: PLC0415  as above
    from qpolicy_ros.harness.processes import children_end_with_us  # noqa: PLC0415  as above

    use_free_domain()
    with scratch_folder() as logs, children_end_with_us():
        job = Job(artifact, SEED, None, Path(logs))
        return play(job, "integer", episodes, lambda _: None).returns
