"""Walks through ROS 2 in lock-step: policy_node and a simulated robot, two processes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.harness.closed_loop import Job, pair_of_nodes
from qpolicy_ros.harness.domains import use_free_domain
from qpolicy_ros.harness.observer import Episode
from qpolicy_ros.harness.processes import Value, children_end_with_us
from qpolicy_ros.harness.recorder import Recorder
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.sim.commanded import FALLEN_BELOW, Command, Walked

_LAST_MESSAGES = 2.0  # s for what is still under way when the simulator has ended


def walks_over_ros(
    artifact: PolicyArtifact,
    robot: str,
    backend: str,
    command: Command,
    seeds: range,
    seconds: float,
    progress: Callable[[Walked], object] = lambda _: None,
    *,
    command_period: float = 0.0,
    record: Path | None = None,
) -> list[Walked]:
    """Play one walk a seed, as :func:`qpolicy_ros.sim.commanded.walk_at` does offline.

    Args:
        artifact: loaded from a file, of a robot's contract.
        robot: as for :class:`qpolicy_ros.sim.robot.RobotSimulation`.
        backend: name.
        command: forward and left (m/s), turning (rad/s).
        seeds: one after another.
        seconds: of each walk.
        progress: called with each walk that is over.
        command_period: s between commands that are drawn instead of ``command``; 0: never.
        record: folder to write a bag to.

    Raises:
        NodeError: a node failed.
    """
    period = artifact.contract.period
    use_free_domain()
    with children_end_with_us(), scratch_folder() as logs, contextlib.ExitStack() as stack:
        job = Job(artifact, seeds.start, round(seconds / period), Path(logs))
        simulator: dict[str, Value] = {
            "task": str(Path(robot).absolute()) if Path(robot).exists() else robot,
            "policy": artifact.path,
            "command": list(map(float, command)),
            "command_period": float(command_period),
            "fallen_below": FALLEN_BELOW,
        }
        policy = {"ramp_time": 0.0}
        recorder = None
        if record is not None:
            recorder = Recorder(record, Path(logs) / "bag_recorder.log")
            stack.callback(recorder.close)
        with pair_of_nodes(
            job,
            [backend],
            len(seeds),
            recorder=recorder,
            policy_options=policy,
            simulator_options=simulator,
        ) as pair:
            observer, told = pair.observer, 0
            while pair.simulator.code is None and len(observer.episodes) < len(seeds):
                pair.spin(policy_only=True)
                for episode in observer.episodes[told:]:
                    told += 1
                    progress(_walked(episode, period))
            end = time.monotonic() + _LAST_MESSAGES
            while len(observer.episodes) < len(seeds) and time.monotonic() < end:
                observer.spin(0.05)
            if pair.simulator.code:
                raise NodeError(pair.simulator.complaint())
            episodes = sorted(observer.episodes)
    if len(episodes) < len(seeds):
        raise NodeError("messages of the nodes were lost; is this machine overloaded?")
    return [_walked(episode, period) for episode in episodes]


def _walked(episode: Episode, period: float) -> Walked:
    return Walked(episode.seed, not episode.terminated, episode.velocity, episode.length * period)
