"""What the runs behind the figures were: tables of our policies and of our sweeps."""

from __future__ import annotations

import shlex
from typing import Any

from qpolicy_training.report.runs import Made, Runs

Table = tuple[list[str], list[list[str]]]

_BY_SAMPLES = ("distill", "fp32-imitate")
"""Methods that count labelled samples, where RL counts environment steps."""


def policies_table(runs: Runs) -> Table:
    """How each shipped policy was made, by its file's provenance and its sweep's ledger."""
    head = ["policy", "method", "seed", "chosen of trained", "started from", "resumed at"]
    rows = []
    for made in runs.made:
        facts = made.provenance
        method = str(facts.get("method", "not stated"))
        if "sweep_hash" in facts:
            method += f" by {made.method}, sweep {facts['sweep_hash']}"
        rows.append(
            [
                made.policy,
                method,
                str(facts.get("seed", "not stated")),
                _length(made),
                start(made) or "nothing",
                _resumes(facts.get("resumes")),
                str(facts.get("config_hash", "not stated")),
                made.function[:12],
            ]
        )
    return [*head, "config", "function"], rows


def sweeps_table(runs: Runs) -> Table:
    """Ledgers of our sweeps: a candidate is a shape with a seed, a stage a line of its training."""
    head = ["task", "ledger", "sweep", "candidates", "stages", "CPU minutes"]
    rows = [
        [
            sweep.task,
            sweep.ledger,
            sweep.hash,
            str(sweep.candidates),
            str(sweep.stages),
            f"{sweep.cpu_seconds / 60:.1f}",
        ]
        for sweep in runs.sweeps
    ]
    return head, rows


def start(made: Made) -> str:
    """The trained student that its last stage began with; empty where that was the only one."""
    return _option(made, "--start")


def _length(made: Made) -> str:
    """Training at the chosen snapshot, of all: steps, or samples and rounds."""
    facts = made.provenance
    chosen = facts.get("steps")
    trained = facts.get("steps_trained", made.curve_end)
    numbers = " of ".join(f"{count:,.0f}" if count else "?" for count in (chosen, trained))
    if made.method not in _BY_SAMPLES:
        return f"{numbers} steps"
    rounds = made.rounds or _option(made, "--distill.rounds") or _option(made, "--imitate.rounds")
    return f"{numbers} samples" + (f", {rounds} rounds" if rounds else "")


def _option(made: Made, name: str) -> str:
    words = shlex.split(made.provenance.get("command", ""))
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word == name), "")


def _resumes(resumes: list[dict[str, Any]] | None) -> str:
    if resumes is None:
        return "not stated"
    found = [
        f"{each['step']:,} {each['kind']}" + (f", of run {each['of']}" if "of" in each else "")
        for each in resumes
    ]
    return "; ".join(found) or "never"
