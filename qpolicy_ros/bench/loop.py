"""The ROS 2 loop: observation published until action received, against echoes in C and Python.

Every subject is a process of its own with topics of its own; this process publishes an
observation at a fixed rate, waits for the action with its stamp and takes the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qpolicy_ros.bench import jitter
from qpolicy_ros.bench.cases import Case, random_case
from qpolicy_ros.bench.exchange import C_ECHO, ECHO, RATE, exchanges
from qpolicy_ros.bench.figure import draw_ecdf
from qpolicy_ros.bench.measure import DisagreementError, Latency, interleave, summary
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.common.machine import scheduler
from qpolicy_ros.common.plots import colour
from qpolicy_ros.harness.domains import use_free_domain
from qpolicy_ros.harness.processes import children_end_with_us
from qpolicy_ros.policy.baseline import fp32_tolerance

Say = Callable[[str], None]
Times = dict[str, npt.NDArray[np.int64]]

NAME = "ros_loop"
_BACKENDS = ("integer", "fp32")
_CASES = ("hopper shape", "ant shape", "humanoid shape")  # 11, 27 and 376 values
_COLOURS = {ECHO: "#999999", C_ECHO: "#444444"}
_NODES = {ECHO: ECHO, C_ECHO: C_ECHO} | {name: f"policy_node {name}" for name in _BACKENDS}


class _Plan(NamedTuple):
    """How much is measured.

    Attributes:
        cases: policies.
        sessions: how often the nodes are started anew: where the scheduler puts a process stays.
        rounds, calls: of each session.
        sustained, faster: s at the rate, and at twice the rate.
        jitter: s of a robot's commands.
    """

    cases: tuple[str, ...]
    sessions: int
    rounds: int
    calls: int
    sustained: int
    faster: int
    jitter: int

    def sustain(self) -> tuple[tuple[float, int], ...]:
        """Rates, Hz, and how long each, s."""
        return (RATE, self.sustained), (2 * RATE, self.faster)


_QUICK = _Plan(_CASES[:1], 1, 5, 100, 1, 1, 1)
_FULL = _Plan(_CASES, 3, 8, 250, 60, 10, 20)


def run(out: Path, say: Say, *, quick: bool = False) -> list[Row]:
    """Time the loop, write ``ros_loop.json``, ``.md`` and ``.png``, return the rows.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: one case and few rounds, for a look rather than for the record.

    Raises:
        DisagreementError: a node's actions are not those of the policy.
        NodeError: a node failed or did not answer.
    """
    plan = _QUICK if quick else _FULL
    use_free_domain()
    facts = conditions(
        scheduler=scheduler(),
        rate_hz=RATE,
        sessions=plan.sessions,
        rounds=plan.rounds,
        calls_per_round=plan.calls,
        sustained_s=plan.sustained,
        faster_s=plan.faster,
        jitter_s=plan.jitter,
    )
    times: dict[str, Times] = {}
    cpu: dict[str, dict[str, float]] = {}
    with children_end_with_us():
        for name in plan.cases:
            times[name], cpu[name] = _sessions(random_case(name), plan, say)
        missed = _missed(plan, say)
        say(f"a robot at {jitter.RATE:g} Hz, {plan.jitter} s each")
        deviations = jitter.measure(plan.jitter)
    found = {name: {n: summary(t) for n, t in each.items()} for name, each in times.items()}
    rows = [
        compare(f"{NAME}/{case}", name, peer, latency, latencies[peer])
        for case, latencies in found.items()
        for peer in (C_ECHO, ECHO)
        for name, latency in latencies.items()
        if name not in (C_ECHO, ECHO)
    ]
    facts |= {"missed_deadlines": missed[RATE], "missed_deadlines_2khz": missed[2 * RATE]}
    facts |= {
        "jitter_us": {
            name: [round(float(q), 1) for q in np.quantile(values, (0.5, 0.99, 1.0)) / 1e3]
            for name, values in deviations.items()
        }
    }
    page = _table(found, cpu, missed, facts, jitter.table(deviations, plan.jitter))
    write(out, NAME, rows, facts, page)
    colours = {**_COLOURS, **{_NODES[name]: colour(name) for name in _BACKENDS}}
    title = f"ROS 2 loop, {plan.cases[0]}, {RATE:g} Hz"
    draw_ecdf(times[plan.cases[0]], colours, title, out / f"{NAME}.png")
    return rows


def _sessions(case: Case, plan: _Plan, say: Say) -> tuple[Times, dict[str, float]]:
    """Return all sessions' round trips, ns, and CPU µs an answer, by node."""
    parts, cpu = [], []
    for session in range(plan.sessions):
        say(f"{case.name}: session {session + 1}/{plan.sessions}")
        times, used = _session(case, _BACKENDS, plan.rounds, plan.calls, session)
        parts.append(times)
        cpu.append(used)
    return (
        {_NODES[key]: np.concatenate([part[key] for part in parts]) for key in parts[0]},
        {_NODES[key]: float(np.mean([used[key] for used in cpu])) for key in cpu[0]},
    )


def _missed(plan: _Plan, say: Say) -> dict[float, dict[str, int]]:
    """Return how many round trips took longer than a period, by rate and node."""
    found = {}
    with exchanges(random_case(_CASES[0]), _BACKENDS[:1]) as nodes:
        for rate, seconds in plan.sustain():
            say(f"{_CASES[0]}: {seconds} s at {rate:g} Hz each")
            blocks = {name: partial(each.block, rate=rate) for name, each in nodes.items()}
            times = interleave(blocks, seconds, int(rate))
            found[rate] = {_NODES[n]: int(np.sum(t > 1e9 / rate)) for n, t in times.items()}
    return found


def _session(
    case: Case, backends: tuple[str, ...], rounds: int, calls: int, seed: int
) -> tuple[Times, dict[str, float]]:
    """Start all nodes, compare actions, time them: ns by name, and CPU µs an answer."""
    with exchanges(case, backends) as found:
        for backend in backends:
            verify(case, backend, found[backend].ask)
        before = {name: (each.cpu_seconds(), each.asked) for name, each in found.items()}
        blocks = {name: each.block for name, each in found.items()}
        times = interleave(blocks, rounds, calls, seed=seed)
        cpu = {
            name: (each.cpu_seconds() - before[name][0]) / (each.asked - before[name][1]) * 1e6
            for name, each in found.items()
        }
        return times, cpu


def verify(case: Case, backend: str, ask: Callable[[np.ndarray], npt.NDArray[np.float32]]) -> None:
    """Compare a node's actions with the policy's golden ones before anything is timed.

    Args:
        case: the policy.
        backend: who computes; ``fp32`` within the stated bound, others exactly.
        ask: float32 observation (n,) -> float32 action (m,).

    Raises:
        DisagreementError: they differ.
    """
    golden = case.artifact.golden
    exact = backend != "fp32"
    wanted = golden.actions if exact else golden.baseline_actions
    bound = 0.0 if exact else fp32_tolerance(case.artifact.contract)
    assert wanted is not None
    for index, observation in enumerate(golden.observations):
        action = ask(observation)
        limited = np.clip(wanted[index], case.artifact.contract.low, case.artifact.contract.high)
        if action.shape != limited.shape or not np.all(np.abs(action - limited) <= bound):
            raise DisagreementError(
                f"{case.name}: policy_node {backend}: golden observation {index} gives "
                f"{action.tolist()}, the policy {limited.tolist()} (bound {bound:g})"
            )


def _table(
    found: Mapping[str, Mapping[str, Latency]],
    cpu: Mapping[str, Mapping[str, float]],
    missed: Mapping[float, Mapping[str, int]],
    facts: Mapping[str, Any],
    more: list[str],
) -> list[str]:
    """Return the Markdown page."""
    lines = ["# The ROS 2 loop", "", _HOW.format(rate=f"{RATE:g}"), ""]
    for case, latencies in found.items():
        lines += [f"## {random_case(case).shape}", ""]
        lines += ["| node | p50, µs | spread of p50 | p99, µs | p50 / C | p99 / C | p50 / rclpy |"]
        lines[-1] += " p99 / rclpy | CPU, µs |"
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
        for name, latency in latencies.items():
            shares = [
                share
                for echo in (latencies[C_ECHO], latencies[ECHO])
                for share in (latency.p50 / echo.p50, latency.p99 / echo.p99)
            ]
            lines.append(
                f"| {name} | {latency.p50:.0f} | {latency.low:.0f} to {latency.high:.0f} "
                f"| {latency.p99:.0f} | {' | '.join(f'{share:.2f}' for share in shares)} "
                f"| {cpu[case][name]:.0f} |"
            )
        lines.append("")
    lines += ["## Missed deadlines", "", _MISSED, ""]
    lines += [
        "| node | rate, Hz | round trips longer than the period | of |",
        "|---|---:|---:|---:|",
    ]
    for (rate, counts), seconds in zip(
        missed.items(), (facts["sustained_s"], facts["faster_s"]), strict=True
    ):
        lines += [
            f"| {name} | {rate:g} | {count} | {seconds * int(rate)} |"
            for name, count in counts.items()
        ]
    lines += ["", *more, "![round trips](ros_loop.png)", "", *describe(facts)]
    lines.append(f"- all processes run with {facts['scheduler']}")
    lines.append(
        f"- nodes started {facts['sessions']} times, each time {facts['rounds']} rounds of "
        f"{facts['calls_per_round']} observations"
    )
    return lines


_HOW = (
    "Observation published until stamped action received over DDS between two processes, at {rate} "
    "Hz, random policies of three of the paper's shapes. Who asks is written in C on `rcl`, so "
    "that little but the node is timed. `C echo` answers with a constant, in C on `rcl`: the price "
    "of DDS alone. `rclpy echo` does the same in Python: the price of rclpy. The policy node "
    "publishes the stamped action first, then the bare action and its timing where anybody "
    "listens. All nodes run side by side and are asked in turn, block by block in shuffled order; "
    "before that their actions are compared with the golden ones. Spread: quartiles of the rounds' "
    "medians. CPU: of the node's process, an answer."
)
_MISSED = "In blocks of one second in turn, so that a busy moment of the machine hits them all."
