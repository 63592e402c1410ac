"""Start-up: importing the policy room, and a node from process start to active."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions

from qpolicy_ros.backends import create_backend
from qpolicy_ros.bench.cases import random_case, shipped
from qpolicy_ros.bench.measure import Latency, summary
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.common.errors import InputError, NodeError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.harness.domains import use_free_domain
from qpolicy_ros.harness.processes import Child, children_end_with_us
from qpolicy_ros.policy import save_policy

Say = Callable[[str], None]

NAME = "startup"
_OURS = "import qpolicy_ros.policy"
_IMPORTS = {
    _OURS: "qpolicy_ros.policy",
    "import numpy": "numpy",
    "import onnxruntime": "onnxruntime",
    "import torch": "torch",
}
_IMPORT = (
    "import sys, time; w, c = time.perf_counter_ns(), time.process_time_ns(); import {module}; "
    "print(time.perf_counter_ns() - w, time.process_time_ns() - c, 'torch' in sys.modules)"
)
_NODE = "policy_node, integer, to active"
_FPGA_NODE = "policy_node, rtlsim with a warm cache, to active"
_ECHO = "rclpy echo, to its subscription"
_PATIENCE = 120.0  # s for a node on a busy machine


def run(out: Path, say: Say, *, quick: bool = False) -> list[Row]:
    """Time imports and nodes in turn, write ``startup.json`` and ``.md``, return the rows.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: few rounds.

    Raises:
        NodeError: a node failed, or importing the policy room imported torch.
    """
    rounds = 3 if quick else 15
    facts = conditions(rounds=rounds)
    say(f"imports: {rounds} rounds")
    imports: dict[str, list[tuple[int, int]]] = {name: [] for name in _IMPORTS}
    for _ in range(rounds):
        for name, module in _IMPORTS.items():
            imports[name].append(_import(name, module))
    nodes = _nodes(rounds, say)
    found = {name: summary(np.array(times)[:, :1]) for name, times in imports.items()}
    started = {name: summary(np.array(times)[:, :1]) for name, times in nodes.items()}
    cpu = {n: float(np.median([c for _, c in t])) for n, t in (imports | nodes).items()}
    rows = [compare(NAME, _OURS, name, found[_OURS], found[name]) for name in _IMPORTS]
    rows = rows[1:]
    rows += [
        compare(NAME, name, _ECHO, time_, started[_ECHO])
        for name, time_ in started.items()
        if name != _ECHO
    ]
    write(out, NAME, rows, facts, _table(found, cpu, started, facts))
    return rows


def _import(name: str, module: str) -> tuple[int, int]:
    """Wall and CPU time of an import in a fresh interpreter, ns."""
    result = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(module=module)],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    if name == _OURS and result[2] == "True":
        raise NodeError("import qpolicy_ros.policy imported torch")
    return int(result[0]), int(result[1])


def _nodes(rounds: int, say: Say) -> dict[str, list[tuple[int, int]]]:
    """Wall and CPU time from process start until a node's subscription is seen from here, ns."""
    case = (shipped() or [random_case("hopper shape")])[0]
    use_free_domain()
    times: dict[str, list[tuple[int, int]]] = {}
    with scratch_folder() as folder, children_end_with_us(), _observer() as observer:
        policy = folder / "policy.safetensors"
        save_policy(case.artifact, policy)
        base = {"policy": str(policy), "autostart": True}
        starts: dict[str, tuple[str, str, Mapping[str, Any]]] = {
            _ECHO: ("echo_node", "qpolicy_ros.bench.echo_node", {"actions": 3}),
            _NODE: ("policy_node", "", {**base, "backend": "integer"}),
        }
        try:
            say("compiling the simulation of the core, if it is not in the cache")
            create_backend("fpga", case.artifact, {"transport": "rtlsim"}).close()
            options = {"backend": "fpga", "fpga.transport": "rtlsim"}
            starts[_FPGA_NODE] = ("policy_node", "", {**base, **options})
        except (InputError, RuntimeError) as error:
            say(f"rtlsim left out: {error}")
        say(f"nodes: {rounds} rounds")
        for index in range(rounds):
            for number, (name, (node, module, parameters)) in enumerate(starts.items()):
                namespace = f"/start_{index}_{number}"
                begun = time.perf_counter_ns()
                child = Child.node(
                    node, parameters, folder / "log", namespace=namespace, module=module
                )
                _wait(observer, child, f"{namespace}/observation")
                wall = time.perf_counter_ns() - begun
                times.setdefault(name, []).append((wall, _cpu_ns(child.pid)))
                child.close()
    return times


def _cpu_ns(pid: int) -> int:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _wait(observer: Any, child: Child, topic: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not observer.count_subscribers(topic):
        child.check_alive()
        if time.monotonic() > end:
            raise NodeError(f"not active after {_PATIENCE:g} s: {child.complaint()}")
        time.sleep(0.005)


@contextlib.contextmanager
def _observer() -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("qpolicy_bench", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _table(
    imports: Mapping[str, Latency],
    cpu: Mapping[str, float],
    nodes: Mapping[str, Latency],
    facts: Mapping[str, Any],
) -> list[str]:
    """Return the Markdown page."""
    lines = ["# Start-up", "", _HOW, ""]
    lines += ["| what | median, s | quartiles, s | p99, s | CPU, s |", "|---|---:|---:|---:|---:|"]
    for name, time_ in {**imports, **nodes}.items():
        lines.append(
            f"| {name} | {time_.p50 / 1e6:.3f} | {time_.low / 1e6:.3f} to {time_.high / 1e6:.3f} "
            f"| {time_.p99 / 1e6:.3f} | {cpu[name] / 1e9:.3f} |"
        )
    return [*lines, "", *describe(facts), f"- {facts['rounds']} rounds"]


_HOW = (
    "Imports: each in an interpreter of its own, without the interpreter's own start; torch is not "
    "among what `qpolicy_ros.policy` imports (the run ends with status 1 if it is). Nodes: from "
    "the start of the process until its subscription to observations, which a policy node makes "
    "when it becomes active, is seen by another process; loading, all checks, golden vectors and "
    "warm-up included. CPU: of the process, up to that moment. Quartiles are of the starts; the "
    "slow ones, the echo's too, wait for DDS discovery "
    "([why](profiles.md#start-up))."
)
