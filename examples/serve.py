"""Serve a policy over ROS 2 in lock-step, and swap its backend while the robot moves.

    python examples/serve.py [POLICY] [SWAP_STEP] [EPISODE_STEPS]

Simulator and policy run as processes of their own, over real DDS, as
``ros2 launch qpolicy_ros sim.launch.py`` starts them. The swap is one parameter:
``ros2 param set /policy_node backend fp32``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from qpolicy_ros.cli.main import run_script
from qpolicy_ros.harness.closed_loop import Job, play, swap
from qpolicy_ros.harness.domains import use_free_domain
from qpolicy_ros.harness.processes import children_end_with_us
from qpolicy_ros.policy import find_policy, load_policy


def main(name: str = "hopper", step: str = "100", episode_steps: str = "300") -> None:
    """Play an episode, then another one with a swap in the middle; both equal the offline runs."""
    use_free_domain()
    with tempfile.TemporaryDirectory() as logs, children_end_with_us():
        artifact = load_policy(find_policy(name))
        job = Job(artifact, seed=0, max_episode_steps=int(episode_steps), logs=Path(logs))
        run = play(job, "integer", 1, say=print)
        print(f"integer over ROS 2: {run.returns[0]:.3f}, offline {run.offline[0]:.3f}")
        swapped = swap(job, "integer", "fp32", int(step), say=print)
        print(
            f"swapped after {swapped.step} steps; equals the same actions offline: {swapped.equal}"
        )


if __name__ == "__main__":
    run_script(main)
