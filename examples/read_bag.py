"""Record a short run over ROS 2, then read the bag: how long did the answers take?

    python examples/read_bag.py FOLDER [POLICY]

A bag from ``ros2 bag record`` on a robot is read the same way, without ROS 2 installed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from qpolicy_ros.cli.main import run_script
from qpolicy_ros.latency.bag import open_bag
from qpolicy_ros.latency.summary import summarise, to_json
from qpolicy_ros.latency.ticks import read_ticks
from qpolicy_ros.latency.trace import read_trace


def record(folder: Path, name: str) -> Path:
    """Record an episode in lock-step with the project's own recorder; return the bag."""
    from qpolicy_ros.harness.closed_loop import Job, play  # noqa: PLC0415  needs ROS 2
    from qpolicy_ros.harness.domains import use_free_domain  # noqa: PLC0415
    from qpolicy_ros.harness.processes import Child, children_end_with_us  # noqa: PLC0415
    from qpolicy_ros.policy import find_policy, load_policy  # noqa: PLC0415

    use_free_domain()
    bag = folder / "bag"
    with tempfile.TemporaryDirectory() as logs, children_end_with_us():
        log = Path(logs, "recorder.log")
        recorder = Child.node("bag_recorder", {"output": str(bag)}, log)
        play(Job(load_policy(find_policy(name)), 0, 300, Path(logs)), "integer", 1, say=print)
        recorder.close()
    return bag


def main(folder: str, name: str = "hopper") -> None:
    """Print the latency of each backend in the bag."""
    bag = record(Path(folder), name)
    report = summarise([read_ticks(read_trace(open_bag(bag)))], warm_up=20)
    for backend, figures in json.loads(to_json(report))["backends"].items():
        print(f"{backend}: n {figures['n']}, p50 {figures['p50_us']:.0f} µs")


if __name__ == "__main__":
    run_script(main)
