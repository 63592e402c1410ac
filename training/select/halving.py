"""The joint search: brackets of successive halving, each beside the best shape so far.

Jamieson & Talwalkar 2016 (arXiv 1502.07943), for a constrained aim: the cheapest shape that
passes. The first bracket is a spread sample of the joint space; each further one holds the untried
cheaper neighbours, in all axes at once, of the cheapest shape that passes. All students of a rung
train on from where the rung before left them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from qpolicy_training.select.config import Shape
from qpolicy_training.select.ledger import Row
from qpolicy_training.select.space import neighbours, spread_sample
from qpolicy_training.select.sweep import Candidate, Sweep, by_cost, candidates

SURE = 2
"""How many of the cheapest that pass a rung train on: one may fail on other seeds."""


def search(sweep: Sweep, turns: int = 1) -> Row | None:
    """Run brackets, then fine-tuning and exams; return the exam's row of the selected candidate.

    None where none passes its exam. ``turns``: of the last rung, at most, for a candidate.
    """
    config = sweep.config
    first = spread_sample(config.axes, config.candidates, sweep.sizes, config.seeds[0])
    tried = set(first)
    shapes = fitting(sweep, first)
    while shapes and not sweep.exhausted:
        bracket(sweep, shapes)
        shapes = next_shapes(sweep, tried)
        tried |= set(shapes)
    if config.finetune:
        # Its first wave even where the time is up: nobody is judged before it.
        finetune(sweep, turns)
    return examine(sweep)


def fitting(sweep: Sweep, shapes: Sequence[Shape]) -> list[Shape]:
    """Shapes that fit the part."""
    found = [s for s in shapes if math.isfinite(sweep.costs.of_shape(s)["cost"])]
    if len(found) < len(shapes):
        sweep.say(f"{len(shapes) - len(found)} of {len(shapes)} shapes do not fit the part")
    return found


def bracket(sweep: Sweep, shapes: Sequence[Shape]) -> None:
    """Successive halving over ``shapes``."""
    config = sweep.config
    alive = candidates(shapes, config.seeds)
    rungs = (0, *config.rungs)
    share = [math.ceil(len(alive) * config.keep**i) for i in range(len(config.rungs))]
    sweep.expect(sum(n * (rungs[i + 1] - rungs[i]) for i, n in enumerate(share)))
    for index in range(len(config.rungs)):
        leader = sweep.leader()
        ceiling = leader.price if leader else math.inf
        rows = rung(sweep, alive, index)
        count = share[index + 1] if index + 1 < len(share) else 0
        alive = [(row.shape, row.seed) for row in promote(rows, count, ceiling)]
        if sweep.exhausted or not alive:
            return


def rung(sweep: Sweep, alive: Sequence[Candidate], index: int) -> list[Row]:
    """One rung, the cheapest first, in waves: once enough pass, dearer ones are not trained.

    A wave has the same size on any number of workers, so that the sweep is the same.
    """
    waiting = sorted(alive, key=lambda one: (sweep.costs.of_shape(one[0])["cost"], one))
    rows: list[Row] = []
    while waiting and sum(row.passes for row in rows) < SURE and not sweep.exhausted:
        wave, waiting = waiting[: sweep.config.wave], waiting[sweep.config.wave :]
        rows += sweep.stage([sweep.rung(candidate, index) for candidate in wave])
    if waiting:
        sweep.say(f"{len(waiting)} dearer candidates are not trained")
    return rows


def promote(rows: Sequence[Row], count: int, ceiling: float) -> list[Row]:
    """Return the ``count`` rows that train on.

    The cheapest that passes makes all dearer ones pointless, and so does ``ceiling``, the cost of
    the best so far: the two cheapest that pass go on, then the cheaper ones that fail, by their
    bound, and only then others that pass.
    """
    useful = [r for r in rows if not r.error and r.price < ceiling]
    passing = sorted((row for row in useful if row.passes), key=by_cost)
    limit = passing[0].price if passing else math.inf
    failing = [row for row in useful if not row.passes and row.price < limit]
    failing.sort(key=lambda row: -row.bound)
    return [*passing[:SURE], *failing, *passing[SURE:]][:count]


def next_shapes(sweep: Sweep, tried: set[Shape]) -> list[Shape]:
    """Untried neighbours of the best shape: cheaper ones if it passes, else all."""
    leader = sweep.leader()
    rows = [row for row in sweep.latest.values() if not row.error]
    if leader is None and not rows:
        return []
    centre = leader or max(rows, key=lambda row: row.bound)
    beside = neighbours(sweep.config.axes, centre.shape, tried)
    cost = {shape: sweep.costs.of_shape(shape)["cost"] for shape in beside}
    limit = centre.price if leader else math.inf
    found = [shape for shape in beside if cost[shape] < limit]
    # The dearest are the likeliest to pass.
    found.sort(key=lambda shape: -cost[shape])
    if found:
        sweep.say(f"next: {len(found)} neighbours of {centre.shape}")
    return found[: sweep.config.candidates]


def finetune(sweep: Sweep, turns: int = 1) -> None:
    """The last rung, RL: for the leader, and for the best of the cheaper ones that fail.

    Wherever distillation left them: it says little of what a small network can do. As long as that
    makes a cheaper one pass, the next ones below it have their turn. Behind it those that still
    fail and are cheaper than the leader go on from where their RL ended, ``turns`` of it in all.
    """
    tuned: set[Candidate] = set()
    while True:
        before = _ceiling(sweep)
        rows = [row for row in sweep.latest.values() if not row.error]
        rows = [row for row in rows if (row.shape, row.seed) not in tuned]
        leader = sweep.leader()
        first = [leader] if leader in rows and not tuned else []
        wave = [*first, *_cheaper(sweep, rows)][: sweep.config.finetune]
        if not wave:
            break
        tuned |= {(row.shape, row.seed) for row in wave}
        sweep.stage([sweep.finetune(row) for row in wave])
        if sweep.exhausted or not _ceiling(sweep) < before:
            break
    for _ in range(turns - 1):
        rows = [row for row in sweep.latest.values() if (row.shape, row.seed) in tuned]
        wave = _cheaper(sweep, [row for row in rows if not row.error])[: sweep.config.finetune]
        if sweep.exhausted or not wave:
            return
        sweep.stage([sweep.finetune(row) for row in wave])


def _ceiling(sweep: Sweep) -> float:
    """What the cheapest that passes costs."""
    leader = sweep.leader()
    return leader.price if leader else math.inf


def _cheaper(sweep: Sweep, rows: Sequence[Row]) -> list[Row]:
    """Those that fail and cost less than the leader, the best first."""
    limit = _ceiling(sweep)
    found = [row for row in rows if not row.passes and row.price < limit]
    return sorted(found, key=lambda row: -row.bound)


def examine(sweep: Sweep) -> Row | None:
    """Examine finalists, the cheapest first, on fresh seeds; return the first that passes.

    Finalists are those that pass at their latest stage, cheapest first, then those that do by their
    mean if not by their bound: an exam has more episodes.
    The finalists share the rule's error among them (Bonferroni), so that the confidence holds for
    the selection as a whole.
    """
    config = sweep.config
    rows = [row for row in sweep.latest.values() if not row.error]
    passing = sorted((row for row in rows if row.passes), key=by_cost)
    near = (row for row in rows if not row.passes and row.mean >= row.required)
    others = sorted(near, key=lambda row: -row.bound)
    finalists = [*passing, *others][: config.finalists]
    confidence = 100 - (100 - config.confidence) / max(len(finalists), 1)
    for row in sorted(finalists, key=by_cost):
        (exam,) = sweep.stage([sweep.exam(row)], confidence)
        if exam.passes:
            return exam
    return None
