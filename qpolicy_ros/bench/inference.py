"""Inference latency: one observation, one thread, from Python, as a user calls it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.backends import create_backend
from qpolicy_ros.bench.cases import SHAPES, Case, random_case, shipped
from qpolicy_ros.bench.figure import draw_medians
from qpolicy_ros.bench.measure import DisagreementError, Latency, calling, interleave, summary
from qpolicy_ros.bench.peers import PEERS, Act
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.policy import engine_kinds
from qpolicy_ros.policy.baseline import baseline_actions, fp32_tolerance

Say = Callable[[str], None]

NAME = "inference"
_ENGINES = {"c": "integer C", "numpy": "integer NumPy"}
_FP32 = "fp32 NumPy"
_QUICK_CASES = 2
# Of half the action range, root mean square over the observations: a peer that quantises by itself
# may err in single values (0.12 was seen, 0.7 in one action), but must compute this policy.
_ROUNDED = 0.25
_HOW = (
    "One observation in, one action out, µs: median / p99. Called from Python as a user calls it, "
    "input check, quantisation or normalisation, and action table or tanh included. All subjects "
    "of a row are timed in turn, block by block in shuffled order; before that their actions are "
    "compared. The FP32 subjects compute the policy's FP32 baseline, which of a shipped policy may "
    "be wider than its integer network; a `shape` is random, with both of the same widths. "
    "`onnxruntime int8` is ONNX Runtime's own quantisation of the baseline; `plain C` is "
    "`float_mlp.c` by the same compiler with `-O3 -march=native`, called as our kernel is. Calls "
    "follow each other at once, with warm caches; once a control period each takes longer."
)


def run(out: Path, say: Say, *, quick: bool = False) -> list[Row]:
    """Time every case, write ``inference.json``, ``.md`` and ``.png``, return the rows.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: two cases and few rounds, for a look rather than for the record.

    Raises:
        DisagreementError: a subject's actions are not those of the policy.
    """
    rounds, calls = (5, 100) if quick else (30, 500)
    peers = {name: peer for name, peer in PEERS.items() if not peer.missing()}
    absent = sorted(set(PEERS) - set(peers))
    for name in absent:
        say(f"{name}: not installed, left out")
    facts = conditions(threads=1, rounds=rounds, calls_per_round=calls, absent=absent)
    builders = [lambda case=case: case for case in shipped()]
    builders += [functools.partial(random_case, name) for name in SHAPES]
    rows: list[Row] = []
    results: dict[str, dict[str, Latency]] = {}
    shapes = {}
    for build in builders[-_QUICK_CASES:] if quick else builders:
        case = build()
        subjects = {
            **our_subjects(case),
            **{n: p.build(case.artifact.baseline, case.observations) for n, p in peers.items()},
        }
        verify(case, subjects)
        say(f"{case.name}: {len(subjects)} subjects agree, timing {rounds} rounds of {calls} calls")
        times = interleave(
            {name: calling(act, case.observations) for name, act in subjects.items()}, rounds, calls
        )
        found = {name: summary(values) for name, values in times.items()}
        results[case.name], shapes[case.name] = found, case.shape
        rows += _rows(case.name, found)
    write(out, NAME, rows, facts, _table(results, shapes, facts))
    draw_medians(results, out / f"{NAME}.png")
    return rows


def our_subjects(case: Case) -> dict[str, Act]:
    """Return our own ways to serve ``case``, by the names of the tables."""
    subjects = {
        _ENGINES[kind]: create_backend("integer", case.artifact, {"engine": kind}).act
        for kind in engine_kinds()
    }
    return {**subjects, _FP32: create_backend("fp32", case.artifact).act}


def verify(case: Case, subjects: Mapping[str, Act]) -> None:
    """Compare the actions of every subject with the policy's, before anything is timed.

    Integer engines must give the same bits as the NumPy engine, all others the baseline's actions
    within the stated bound, which for peers that quantise by themselves holds the mean.

    Raises:
        DisagreementError: a subject computes something else.
    """
    reference = create_backend("integer", case.artifact, {"engine": "numpy"})
    tolerance = fp32_tolerance(case.artifact.contract)
    expected = baseline_actions(case.artifact.baseline, case.observations)
    rounded = {name for name in subjects if name in PEERS and PEERS[name].rounded}
    for index, observation in enumerate(case.observations):
        exact = reference.act(observation)
        for name in subjects.keys() - rounded:
            action = np.asarray(subjects[name](observation))
            wanted, bound = expected[index], tolerance
            if name in _ENGINES.values():
                wanted, bound = exact, 0.0
            if action.shape != wanted.shape or not np.all(np.abs(action - wanted) <= bound):
                raise DisagreementError(
                    f"{case.name}: {name}: observation {index} gives {action.tolist()}, "
                    f"the policy {wanted.tolist()} (bound {bound:g})"
                )
    for name in rounded:
        actions = np.array([subjects[name](observation) for observation in case.observations])
        error = float(np.sqrt(np.mean((actions - expected) ** 2)))
        bound = _ROUNDED * float(case.artifact.baseline.scale.max())
        if not error <= bound:
            raise DisagreementError(
                f"{case.name}: {name}: actions are {error:g} from the policy's (root mean square, "
                f"bound {bound:g})"
            )


def _rows(bench: str, found: Mapping[str, Latency]) -> list[Row]:
    """Return every one of ours against every peer, and integers against our own FP32."""
    ours = [name for name in (*_ENGINES.values(), _FP32) if name in found]
    pairs = [(name, peer) for name in ours for peer in PEERS if peer in found]
    pairs += [(name, _FP32) for name in ours if name != _FP32]
    return [compare(f"{NAME}/{bench}", s, p, found[s], found[p]) for s, p in pairs]


def _table(
    results: Mapping[str, Mapping[str, Latency]],
    shapes: Mapping[str, str],
    facts: Mapping[str, Any],
) -> list[str]:
    """Return the Markdown page."""
    subjects: Sequence[str] = list(next(iter(results.values())))
    ours = subjects[0]
    lines = [
        "# Inference latency",
        "",
        _HOW,
        "",
        f"| policy | {' | '.join(subjects)} |",
        f"|---|{'---:|' * len(subjects)}",
    ]
    for name, found in results.items():
        cells = " | ".join(f"{found[s].p50:.1f} / {found[s].p99:.1f}" for s in subjects)
        lines.append(f"| {name}: {shapes[name]} | {cells} |")
    lines += [
        "",
        f"How many times faster `{ours}` is, by medians (in brackets by p99):",
        "",
        f"| policy | {' | '.join(subjects[1:])} | spread of `{ours}`'s median, µs |",
        f"|---|{'---:|' * len(subjects)}",
    ]
    for name, found in results.items():
        mine = found[ours]
        cells = " | ".join(
            f"{found[s].p50 / mine.p50:.1f} ({found[s].p99 / mine.p99:.1f})" for s in subjects[1:]
        )
        lines.append(f"| {name} | {cells} | {mine.low:.1f} to {mine.high:.1f} |")
    lines += ["", "Spread: quartiles of the rounds' medians.", "", "![latency](inference.png)", ""]
    lines += describe(facts)
    lines.append(
        f"- one thread, {facts['rounds']} rounds of {facts['calls_per_round']} calls"
        + (f"; not installed: {', '.join(facts['absent'])}" if facts["absent"] else "")
    )
    return lines
