"""Many observations at once, as evaluation and analysis ask: time an observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.bench.cases import Case, random_case, shipped
from qpolicy_ros.bench.measure import DisagreementError, Latency, calling, interleave, summary
from qpolicy_ros.bench.peers import BATCH_PEERS, PEERS, Act
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.policy import make_engine
from qpolicy_ros.policy.baseline import baseline_actions, fp32_tolerance

Say = Callable[[str], None]

NAME = "batches"
_SIZE = 256
_OURS = "integer"
_NUMPY = "fp32 NumPy"


def run(out: Path, say: Say, *, quick: bool = False) -> list[Row]:
    """Time batches, write ``batches.json`` and ``.md``, return the rows.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: one case, few rounds.

    Raises:
        DisagreementError: a subject's actions are not those of the policy.
    """
    rounds, calls = (5, 10) if quick else (20, 40)
    facts = conditions(threads=1, rounds=rounds, calls_per_round=calls, batch=_SIZE)
    cases = [*shipped(), random_case("humanoid shape"), random_case("large shape")]
    rows: list[Row] = []
    results: dict[str, dict[str, Latency]] = {}
    for case in cases[-1:] if quick else cases:
        batch = np.ascontiguousarray(
            np.resize(case.observations, (_SIZE, case.observations.shape[1]))
        )
        subjects = _subjects(case)
        _verify(case, subjects, batch)
        say(f"{case.name}: batches of {_SIZE}, {rounds} rounds of {calls} calls")
        times = interleave(
            {name: calling(act, batch[None]) for name, act in subjects.items()}, rounds, calls
        )
        found = {name: summary(values // _SIZE) for name, values in times.items()}
        results[case.name] = found
        rows += [
            compare(f"{NAME}/{case.name}", _OURS, peer, found[_OURS], found[peer])
            for peer in found
            if peer != _OURS
        ]
    write(out, NAME, rows, facts, _table(results, facts))
    return rows


def _subjects(case: Case) -> dict[str, Act]:
    network, baseline = case.artifact.network, case.artifact.baseline
    assert network is not None
    subjects: dict[str, Act] = {
        _OURS: make_engine(network, "auto").act_batch,
        _NUMPY: lambda observations: baseline_actions(baseline, observations),
    }
    present = [name for name in BATCH_PEERS if not PEERS[name].missing()]
    return subjects | {name: PEERS[name].build(baseline, case.observations) for name in present}


def _verify(case: Case, subjects: Mapping[str, Act], batch: np.ndarray) -> None:
    assert case.artifact.network is not None
    exact = make_engine(case.artifact.network, "numpy").act_batch(batch)
    expected = baseline_actions(case.artifact.baseline, batch)
    for name, act in subjects.items():
        if name in PEERS and PEERS[name].rounded:
            continue
        bound = 0.0 if name == _OURS else fp32_tolerance(case.artifact.contract)
        if not np.all(np.abs(act(batch) - (exact if name == _OURS else expected)) <= bound):
            raise DisagreementError(f"{case.name}: {name}: its batch is not the policy's")


def _table(results: Mapping[str, Mapping[str, Latency]], facts: Mapping[str, Any]) -> list[str]:
    """Return the Markdown page."""
    subjects = list(next(iter(results.values())))
    lines = ["# Batches", "", _HOW.format(size=_SIZE), "", f"| policy | {' | '.join(subjects)} |"]
    lines.append(f"|---|{'---:|' * len(subjects)}")
    for name, found in results.items():
        cells = [f"{found[subject].p50:.2f}" for subject in subjects]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *describe(facts)]
    lines.append(f"- one thread, {facts['rounds']} rounds of {facts['calls_per_round']} calls")
    return lines


_HOW = (
    "{size} observations in one call, µs an observation (median): the integer policy by its "
    "engine's `act_batch`, the FP32 baseline by the others. What is compared before, and how the "
    "subjects take turns, is as in [inference](inference.md)."
)
