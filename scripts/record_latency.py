#!/usr/bin/env python3
"""Records a real-time run in which the three backends take turns: the bag behind docs/latency.

Usage: scripts/record_latency.py BAG [SECONDS_A_TURN [TURNS_A_BACKEND [TASK]]]

Where it may, it puts the nodes into the real-time class, as a robot's are.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from qpolicy_ros.harness.domains import use_free_domain
from qpolicy_ros.harness.observer import Observer
from qpolicy_ros.harness.processes import Child, Value, children_end_with_us

BACKENDS = ["integer", "fp32", "fpga"]
PATIENCE = 240.0  # s: generating and compiling the RTL takes a minute on a busy machine


def main(bag: str, seconds: float = 5.0, turns: int = 4, task: str = "hopper") -> None:
    """Start the nodes, swap backends in turn, end them in order."""
    use_free_domain()
    logs = Path(tempfile.mkdtemp())
    with children_end_with_us(), contextlib.closing(Observer(actions=True)) as observer:
        parameters: dict[str, Value] = {
            "policy": task,
            "backend": BACKENDS[0],
            "preload": BACKENDS,
            "autostart": True,
        }
        policy = Child.node("policy_node", parameters, logs / "policy_node.log")
        recorder = Child.node("bag_recorder", {"output": bag}, logs / "bag_recorder.log")
        end = time.monotonic() + PATIENCE
        while not (observer.finds_policy() and observer.hears("timing")):
            observer.spin(0.1)
            policy.check_alive()
            recorder.check_alive()
            if time.monotonic() > end:
                raise SystemExit(policy.complaint())
        simulator = Child.node(
            "mujoco_sim_node", {"task": task, "realtime": True}, logs / "mujoco_sim_node.log"
        )
        while not observer.actions:
            observer.spin(0.1)
            simulator.check_alive()
        for child in (policy, simulator, recorder):
            make_realtime(child.pid)
        for turn in range(turns * len(BACKENDS)):
            backend = BACKENDS[turn % len(BACKENDS)]
            answer = observer.request_backend(backend)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                observer.spin(0.1)
                simulator.check_alive()
            result = answer.result().results[0]  # type: ignore[union-attr]
            print(f"{backend}: {result.reason or 'served'}")
        simulator.close()
        policy.close()
        recorder.close()


def make_realtime(pid: int) -> None:
    """Put all threads of a process into SCHED_FIFO, if that is allowed."""
    for task in Path("/proc", str(pid), "task").iterdir():
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(10))


if __name__ == "__main__":
    bag, *rest = sys.argv[1:]
    main(bag, *(kind(value) for kind, value in zip((float, int, str), rest, strict=False)))
