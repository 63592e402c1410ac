"""The ROS 2 loop: observation published until action received, against a bare echo node.

Every subject is a process of its own with topics of its own; this process publishes an
observation at a fixed rate, waits for the action with its stamp and takes the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.bench.cases import Case, random_case
from qpolicy_ros.bench.exchange import ECHO, ECHO_ALL, RATE, exchanges
from qpolicy_ros.bench.figure import draw_ecdf
from qpolicy_ros.bench.measure import DisagreementError, Latency, interleave, summary
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.common.plots import colour
from qpolicy_ros.harness.processes import children_end_with_us, use_free_domain
from qpolicy_ros.policy.baseline import fp32_tolerance

Say = Callable[[str], None]
Times = dict[str, npt.NDArray[np.int64]]

NAME = "ros_loop"
SOAK = "ros_soak"
_BACKENDS = ("integer", "fp32")
_CASES = ("hopper shape", "ant shape", "humanoid shape")  # 11, 27 and 376 values
_COLOURS = {ECHO: "#999999", ECHO_ALL: "#444444"}
_NODES = {ECHO: ECHO, ECHO_ALL: ECHO_ALL} | {name: f"policy_node {name}" for name in _BACKENDS}
_SAMPLES = 20  # of the memory in a soak


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
    # Where the scheduler puts a process stays a while: start them anew now and then.
    sessions, rounds, calls, sustained = (1, 5, 100, 1) if quick else (3, 8, 250, 60)
    use_free_domain()
    facts = conditions(
        rate_hz=RATE, sessions=sessions, rounds=rounds, calls_per_round=calls, sustained_s=sustained
    )
    results: dict[str, tuple[Times, dict[str, float]]] = {}
    with children_end_with_us():
        for name in _CASES[:1] if quick else _CASES:
            case = random_case(name)
            parts, cpu = [], []
            for session in range(sessions):
                say(f"{name}: session {session + 1}/{sessions}")
                times, used = _session(case, _BACKENDS, rounds, calls, session)
                parts.append(times)
                cpu.append(used)
            results[name] = (
                {_NODES[key]: np.concatenate([part[key] for part in parts]) for key in parts[0]},
                {_NODES[key]: float(np.mean([used[key] for used in cpu])) for key in cpu[0]},
            )
        say(f"{_CASES[0]}: {sustained} s at {RATE:g} Hz each")
        longer, _ = _session(random_case(_CASES[0]), _BACKENDS[:1], sustained, int(RATE), 0)
    found = {
        name: {n: summary(t) for n, t in times.items()} for name, (times, _) in results.items()
    }
    rows = [
        compare(f"{NAME}/{case}", name, peer, latency, latencies[peer])
        for case, latencies in found.items()
        for peer in (ECHO, ECHO_ALL)
        for name, latency in latencies.items()
        if name not in (ECHO, ECHO_ALL)
    ]
    missed = {_NODES[n]: int(np.sum(t > 1e9 / RATE)) for n, t in longer.items()}
    facts |= {"missed_deadlines": missed}
    cpu_us = {case: used for case, (_, used) in results.items()}
    write(out, NAME, rows, facts, _table(found, cpu_us, missed, facts))
    shown = results[_CASES[0]][0]
    colours = {**_COLOURS, **{_NODES[name]: colour(name) for name in _BACKENDS}}
    draw_ecdf(shown, colours, f"ROS 2 loop, {_CASES[0]}, {RATE:g} Hz", out / f"{NAME}.png")
    return rows


def soak(out: Path, say: Say, ticks: int) -> None:
    """Answer ``ticks`` observations as fast as they come; write what memory the nodes held.

    Raises:
        NodeError: a node failed or did not answer.
    """
    use_free_domain()
    facts = conditions(ticks=ticks)
    case = random_case(_CASES[0])
    rows = []
    with children_end_with_us(), exchanges(case, _BACKENDS[:1]) as found:
        for key in (ECHO, _BACKENDS[0]):
            exchange = found[key]
            kib = []
            for sample in range(_SAMPLES + 1):
                if sample:
                    exchange.flood(ticks // _SAMPLES)
                kib.append(exchange.resident_kib())
            say(f"{_NODES[key]}: {ticks} ticks, {kib[0]} to {kib[-1]} KiB")
            rows.append({"bench": SOAK, "subject": _NODES[key], "ticks": ticks, "rss_kib": kib})
    lines = ["# Memory of a node over many ticks", "", _SOAKED.format(samples=_SAMPLES), ""]
    lines += ["| node | ticks | at the start, KiB | after 5 % | half way | at the end |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        kib = row["rss_kib"]  # type: ignore[assignment]
        picked = " | ".join(str(kib[index]) for index in (0, 1, _SAMPLES // 2, _SAMPLES))
        lines.append(f"| {row['subject']} | {row['ticks']} | {picked} |")
    write(out, SOAK, rows, facts, [*lines, "", *describe(facts)])


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
    missed: Mapping[str, int],
    facts: Mapping[str, Any],
) -> list[str]:
    """Return the Markdown page."""
    lines = ["# The ROS 2 loop", "", _HOW.format(rate=f"{RATE:g}"), ""]
    for case, latencies in found.items():
        lines += [f"## {random_case(case).shape}", ""]
        lines += [
            "| node | p50, µs | spread of p50 | p99, µs | p50 / echo | p99 / echo | CPU, µs |"
        ]
        lines += ["|---|---:|---:|---:|---:|---:|---:|"]
        echo = latencies[ECHO]
        for name, latency in latencies.items():
            lines.append(
                f"| {name} | {latency.p50:.0f} | {latency.low:.0f} to {latency.high:.0f} "
                f"| {latency.p99:.0f} | {latency.p50 / echo.p50:.2f} "
                f"| {latency.p99 / echo.p99:.2f} | {cpu[case][name]:.0f} |"
            )
        lines.append("")
    seconds = facts["sustained_s"]
    lines += [f"## Missed deadlines, {seconds} s at {RATE:g} Hz", "", _MISSED, ""]
    lines += ["| node | round trips longer than the period |", "|---|---:|"]
    lines += [f"| {name} | {count} of {seconds * int(RATE)} |" for name, count in missed.items()]
    lines += ["", "![round trips](ros_loop.png)", "", *describe(facts)]
    lines.append(
        f"- nodes started {facts['sessions']} times, each time {facts['rounds']} rounds of "
        f"{facts['calls_per_round']} observations"
    )
    return lines


_HOW = (
    "Observation published until stamped action received over DDS between two processes, at {rate} "
    "Hz, random policies of three of the paper's shapes. `rclpy echo` answers with a constant: "
    "what it takes is the price of rclpy and DDS. The policy node publishes three messages an "
    "answer (the stamped action first, then the bare action and its timing); `rclpy echo, 3 "
    "messages` does so too. All nodes run side by side and are asked in turn, block by block in "
    "shuffled order; before that their actions are compared with the golden ones. Spread: "
    "quartiles of the rounds' medians. CPU: of the node's process, an answer."
)
_MISSED = "In blocks of one second in turn, so that a busy moment of the machine hits them all."
_SOAKED = (
    "Resident memory of the process, taken {samples} times while it answers one observation after "
    "the other. `qpolicy bench soak --ticks 1000000` writes this page."
)
