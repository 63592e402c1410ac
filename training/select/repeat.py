"""One shape with several seeds by the whole recipe: what another seed would have given."""

from __future__ import annotations

from qpolicy_training.select.ledger import Row
from qpolicy_training.select.sweep import Sweep, candidates


def repeat(sweep: Sweep) -> list[Row]:
    """Train the first shape of the axes with every seed; none is dropped.

    Distillation to the end of its last rung, the last rung of RL, the exam: as a finalist of the
    joint search, but whatever it returns. With the method qat RL from the first step.

    Returns the last row of each seed, in the order of the seeds; one that diverged has no returns.
    """
    config = sweep.config
    axes = config.axes
    shape = axes.shape(axes.hidden[0], axes.b_core[0], axes.b_in[0], axes.b_out[0])
    runs = candidates([shape], config.seeds)
    sweep.expect(len(runs) * config.rungs[-1])
    if config.method == "qat":
        return sweep.stage([sweep.whole(run) for run in runs])
    sweep.stage([sweep.rung(run, len(config.rungs) - 1) for run in runs])
    if config.finetune:
        sweep.stage([sweep.finetune(row) for row in _alive(sweep)])
    sweep.stage([sweep.exam(row) for row in _alive(sweep)])
    last = {row.seed: row for row in sweep.ledger.rows if row.is_candidate}
    return [last[seed] for seed in config.seeds]


def _alive(sweep: Sweep) -> list[Row]:
    """Where each seed stands, without those that diverged."""
    return [row for row in sweep.latest.values() if not row.error]
