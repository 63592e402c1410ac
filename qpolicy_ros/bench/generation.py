"""What the accelerator's tools cost: generating Verilog, and simulating it in a closed loop."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends import create_backend
from qpolicy_ros.bench.measure import DisagreementError, Latency, summary
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy
from qpolicy_ros.sim import Simulation

Say = Callable[[str], None]

NAME = "fpga_tools"
_GENERATED = ("hopper", "halfcheetah")
_SIMULATED = "hopper"
_STEPS = 250
_PATIENCE = 1800  # s for one call, which takes seconds
_HOW = (
    "Generation: `qpolicy fpga generate` from process start to exit, the least of the calls; CPU "
    "time beside wall-clock time, as the machine may be busy; memory is the largest resident set. "
    "Closed loop: MuJoCo and the generated Verilog behind its AXI4-Lite wrapper under Verilator, "
    "in one process, in turn with the integer backend on the same episodes; the rewards are equal. "
    "A step is an action and a step of MuJoCo; real time is the control period."
)


@dataclass(frozen=True)
class Cost:
    """One call of `qpolicy fpga generate`."""

    wall_s: float
    cpu_s: float
    memory_mib: float


def run(out: Path, say: Say, *, quick: bool = False) -> list[dict[str, Any]]:
    """Measure, write ``fpga_tools.json`` and ``fpga_tools.md``, return the rows.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: one call and few steps.

    Raises:
        BackendError: Verilator is missing.
        DisagreementError: the simulated core plays another episode than the integer backend.
    """
    facts = conditions(threads=1)
    rows: list[dict[str, Any]] = []
    generated = ["| policy | weights | wall, s | CPU, s | memory, MiB |", "|---|---|---|---|---|"]
    for name in _GENERATED:
        artifact = _shipped(name)
        if artifact is not None and artifact.network is not None:
            cost = generation(name, 1 if quick else 3)
            say(
                f"generate {name}: {cost.wall_s:.1f} s, CPU {cost.cpu_s:.1f} s, "
                f"{cost.memory_mib:.0f} MiB"
            )
            weights = sum(weight.size for weight in artifact.network.weights)
            generated.append(
                f"| {name} | {weights:,} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} "
                f"| {cost.memory_mib:.0f} |"
            )
            rows.append(
                {"bench": "generation", "subject": name, "weights": weights, **asdict(cost)}
            )
    looped = ["| policy | backend | step, us: median, p99 | times real time |", "|---|---|---|---|"]
    artifact = _shipped(_SIMULATED)
    if artifact is not None:
        loops = closed_loop(artifact, rounds=2 if quick else 12)
        rows += [asdict(row) for row in loops]
        for row in loops:
            say(f"{_SIMULATED}, {row.subject}: {row.ratio:.0f} times real time")
            looped.append(
                f"| {_SIMULATED} | {row.subject} | {row.p50_us:.0f}, {row.p99_us:.0f} "
                f"| {row.ratio:.0f} |"
            )
    title = ["# What the accelerator's tools cost", "", _HOW, "", *describe(facts), ""]
    write(out, NAME, rows, facts, [*title, *generated, "", *looped])
    return rows


def generation(policy: str, calls: int) -> Cost:
    """Return the least of what ``calls`` calls of `qpolicy fpga generate` take.

    Raises:
        RuntimeError: a call fails, or takes longer than half an hour.
    """
    costs = []
    for _ in range(calls):
        with scratch_folder() as scratch:
            # A child of a child: the largest resident set is that of one call alone.
            command = [sys.executable, "-m", "qpolicy_ros.cli.main", "fpga", "generate", policy]
            try:
                done = subprocess.run(
                    [sys.executable, "-c", _MEASURED, *command, "--out", str(scratch)],
                    capture_output=True,
                    text=True,
                    timeout=_PATIENCE,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(f"generate {policy}: took more than {_PATIENCE} s") from error
        if done.returncode:
            raise RuntimeError(f"generate {policy}: {done.stderr.strip()}")
        costs.append([float(value) for value in done.stdout.split()])
    wall, cpu, memory = np.min(costs, axis=0).tolist()
    return Cost(wall, cpu, memory)


_MEASURED = """\
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def closed_loop(artifact: PolicyArtifact, rounds: int) -> list[Row]:
    """Return the rows of the simulated core and of the integer backend against real time.

    Raises:
        BackendError: Verilator is missing.
        DisagreementError: their rewards differ.
    """
    backends = {
        "fpga, rtlsim": create_backend("fpga", artifact, {"transport": "rtlsim"}),
        "integer": create_backend("integer", artifact),
    }
    task = artifact.contract.env_id or artifact.contract.task
    simulation = Simulation(task)
    durations: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in backends}
    for seed in range(rounds):
        rewards = []
        for name, backend in backends.items():
            taken, total = _steps(simulation, backend.act, seed)
            durations[name].append(taken)
            rewards.append(total)
        if len(set(rewards)) > 1:
            raise DisagreementError(f"rtlsim: seed {seed}: rewards {rewards} differ")
    for backend in backends.values():
        backend.close()
    simulation.close()
    micros = artifact.contract.period * 1e6
    calls = rounds * _STEPS
    real = Latency(micros, micros, micros, micros, calls)
    return [
        compare("closed loop", name, "real time", summary(np.array(taken)), real)
        for name, taken in durations.items()
    ]


def _steps(
    simulation: Simulation,
    act: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
    seed: int,
) -> tuple[npt.NDArray[np.int64], float]:
    """Play ``_STEPS`` steps, episodes one after another; return their durations in ns, rewards."""
    observation, total = simulation.reset(seed), 0.0
    taken = np.empty(_STEPS, np.int64)
    for step in range(_STEPS):
        started = time.perf_counter_ns()
        observation, reward, terminated, truncated = simulation.step(act(observation))
        taken[step] = time.perf_counter_ns() - started
        total += reward
        if terminated or truncated:
            observation = simulation.reset(seed)
    return taken, total


def _shipped(name: str) -> PolicyArtifact | None:
    try:
        return load_policy(find_policy(name))
    except InputError:
        return None
