"""A question as integer programs: for OR-Tools' CP-SAT and, to check it, for a MILP solver.

Every threshold that a neuron may or may not reach is a 0-1 variable that is 1 exactly if the sum
reaches it; the rest are linear sums. CP-SAT searches with clause learning over integers alone;
the MILP solver branches on a floating-point relaxation. They share neither code nor arithmetic.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from qpolicy_ros.common.periodic import called_every
from qpolicy_ros.prove.branch import NO, OPEN, YES, Outcome
from qpolicy_ros.prove.linear import Bounder
from qpolicy_ros.prove.question import Question

_MOST_MEMORY_MB = 4096
_PATIENCE = 30.0  # times the processor time, by the clock
_LOOK = 0.05  # s between looks at the processor time


def _layers(question: Question) -> list[tuple[Any, Any]] | None:
    """Bounds of every hidden sum over the whole box; None where the box is empty."""
    low, high, some = question.tighten(question.low[None], question.high[None])
    if not some.all():
        return None
    bounds = Bounder(question).bounds(low, high)
    return [(least[0].astype(np.int64), most[0].astype(np.int64)) for least, most in bounds.sums]


def cp_sat(  # noqa: C901  one model, built from top to bottom
    question: Question, seconds: float, seed: int = 1
) -> Outcome:
    """Decide with CP-SAT, one thread, ``seconds`` of this process's processor time."""
    from ortools.sat.python import cp_model  # noqa: PLC0415  an extra, and slow to import

    sums = _layers(question)
    if sums is None:
        return Outcome(NO, work="an empty box")
    model = cp_model.CpModel()
    inputs = [
        model.new_int_var(int(low), int(high), f"z{i}")
        for i, (low, high) in enumerate(zip(question.low, question.high, strict=True))
    ]
    _pair_rows(question, model, inputs)
    codes: list[Any] = list(inputs)
    for layer, weight in enumerate(question.weights):
        least, most = sums[layer]
        new: list[Any] = []
        for neuron, row in enumerate(weight):
            at = np.nonzero(row)[0]
            terms = [codes[i] for i in at]
            total = cp_model.LinearExpr.weighted_sum(terms, row[at].tolist())
            base, bits = 0, list[tuple[Any, int]]()
            for bound, count in _steps(question.thresholds[layer][neuron]):
                if bound <= least[neuron]:
                    base += count
                elif bound <= most[neuron]:
                    bit = model.new_bool_var("")
                    model.add(total >= bound).only_enforce_if(bit)
                    model.add(total <= bound - 1).only_enforce_if(~bit)
                    if bits:
                        model.add_implication(bit, bits[-1][0])
                    bits.append((bit, count))
            weights = [count for _, count in bits]
            new.append(cp_model.LinearExpr.weighted_sum([b for b, _ in bits], weights) + base)
        codes = new
    rows = [cp_model.LinearExpr.weighted_sum(codes, row.tolist()) for row in question.directions]
    choices = []
    for case in question.bounds:
        choice = model.new_bool_var("")
        for row, bound in zip(rows, case, strict=True):
            model.add(row >= int(bound)).only_enforce_if(choice)
        choices.append(choice)
    model.add_bool_or(choices)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_time_in_seconds = _PATIENCE * max(seconds, 0.1)
    solver.parameters.max_memory_in_mb = _MOST_MEMORY_MB
    with _watch(solver.stop_search, max(seconds, 0.1)):
        status = solver.solve(model)
    work = f"{solver.num_conflicts} conflicts"
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        witness = np.array([solver.value(variable) for variable in inputs], np.int64)
        return Outcome(YES, witness, work=work)
    return Outcome(NO if status == cp_model.INFEASIBLE else OPEN, work=work)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep a library's greeting off standard output, which it writes to behind Python's back."""
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(1)
        except OSError:  # closed: nothing can be written there
            yield
            return
        stack.callback(os.close, kept)
        nothing = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nothing)
        os.dup2(nothing, 1)
        stack.callback(os.dup2, kept, 1)
        yield


@contextlib.contextmanager
def _watch(stop: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call ``stop`` when the process has used ``seconds``: the clock says little beside others."""
    end = time.process_time() + seconds

    def look() -> None:
        if time.process_time() > end:
            stop()

    with called_every(_LOOK, look):
        yield


def _pair_rows(question: Question, model: Any, inputs: list[Any]) -> None:
    """Allowed pairs of a code and its partner's difference."""
    pair = question.pair
    if pair is None:
        return
    count = len(inputs) // 2
    for i in range(count):
        source = int(pair.source[i])
        low, high = int(question.low[source]), int(question.high[source])
        least, most = (
            table[i, low - pair.qmin : high - pair.qmin + 1] for table in (pair.least, pair.most)
        )
        if bool((least == question.low[count + i]).all()) and bool(
            (most == question.high[count + i]).all()
        ):
            continue
        rows = [
            (code, difference)
            for code, start, end in zip(range(low, high + 1), least, most, strict=True)
            for difference in range(int(start), int(end) + 1)
        ]
        model.add_allowed_assignments([inputs[source], inputs[count + i]], rows)


def _steps(thresholds: Any) -> list[tuple[int, int]]:
    """Thresholds of a neuron without repeats, each with how many there are."""
    values, counts = np.unique(thresholds, return_counts=True)
    return [(int(value), int(count)) for value, count in zip(values, counts, strict=True)]


def milp(question: Question, seconds: float) -> Outcome:  # noqa: C901, PLR0912  as above
    """Decide with HiGHS, one thread, ``seconds`` of the clock; a yes is evaluated first."""
    import highspy  # noqa: PLC0415  an extra

    started = time.monotonic()
    sums = _layers(question)
    if sums is None:
        return Outcome(NO, work="an empty box")
    program = _Program()
    inputs = [
        program.variable(low, high) for low, high in zip(question.low, question.high, strict=True)
    ]
    if question.pair is not None:
        _pair_bands(question, program, inputs)
    codes: list[tuple[list[int], list[float], float]] = [([i], [1.0], 0.0) for i in inputs]
    for layer, weight in enumerate(question.weights):
        least, most = sums[layer]
        new = []
        for neuron, row in enumerate(weight):
            columns, values, constant = _sum(codes, row)
            base, bits = 0, list[tuple[Any, int]]()
            for bound, count in _steps(question.thresholds[layer][neuron]):
                if bound <= least[neuron]:
                    base += count
                elif bound <= most[neuron]:
                    bit = program.variable(0, 1)
                    # sum >= bound if bit, sum <= bound - 1 if not
                    down, up = int(bound - least[neuron]), int(most[neuron] - bound + 1)
                    program.row([*columns, bit], [*values, -down], low=least[neuron] - constant)
                    program.row([*columns, bit], [*values, -up], high=bound - 1 - constant)
                    if bits:
                        program.row([bit, bits[-1][0]], [1, -1], high=0)
                    bits.append((bit, count))
            new.append(([b for b, _ in bits], [float(c) for _, c in bits], float(base)))
        codes = new
    choices = [program.variable(0, 1) for _ in question.bounds]
    program.row(choices, [1.0] * len(choices), low=1)
    for index, direction in enumerate(question.directions):
        columns, values, constant = _sum(codes, direction)
        lowest = constant + sum(
            min(0.0, v) * program.high[c] + max(0.0, v) * program.low[c]
            for c, v in zip(columns, values, strict=True)
        )
        for choice, case in zip(choices, question.bounds, strict=True):
            gap = float(case[index]) - lowest
            if gap > 0:
                program.row([*columns, choice], [*values, -gap], low=lowest - constant)
    left = seconds - (time.monotonic() - started)
    status, values = program.solve(highspy, max(left, 0.1))
    if status == NO:
        return Outcome(NO, work="HiGHS: infeasible")
    if values is not None:
        witness = np.rint(values[: len(inputs)]).astype(np.int64)
        witness, good = question.project(witness[None])
        if good[0] and question.margins(witness)[0] >= 0:
            return Outcome(YES, witness[0], work="HiGHS")
    return Outcome(OPEN, work="HiGHS: time over")


def _sum(codes: list[tuple[list[int], list[float], float]], row: Any) -> tuple[Any, Any, float]:
    """``row @ codes`` as columns, values and a constant."""
    columns, values, constant = [], [], 0.0
    for i in np.nonzero(row)[0]:
        for column, value in zip(codes[i][0], codes[i][1], strict=True):
            columns.append(column)
            values.append(value * float(row[i]))
        constant += codes[i][2] * float(row[i])
    if len(set(columns)) == len(columns):
        return columns, values, constant
    merged: dict[int, float] = {}
    for column, value in zip(columns, values, strict=True):
        merged[column] = merged.get(column, 0.0) + value
    return list(merged), list(merged.values()), constant


def _pair_bands(question: Question, program: _Program, inputs: list[int]) -> None:
    """An outer box for each pair: the second's codes stay within the first's box.

    More pairs than there are: what has no solution then has none at all, and a solution is looked
    at before it is believed.
    """
    pair = question.pair
    assert pair is not None
    count = len(inputs) // 2
    for i in range(count):
        source = int(pair.source[i])
        codes = np.arange(pair.least.shape[1]) + pair.qmin
        some = (pair.least[i] <= pair.most[i]) & (codes >= question.low[source])
        some &= codes <= question.high[source]
        if not some.any():
            continue
        least = (pair.sign[i] * codes + pair.least[i])[some].min()
        most = (pair.sign[i] * codes + pair.most[i])[some].max()
        columns, values = [inputs[source], inputs[count + i]], [float(pair.sign[i]), 1.0]
        program.row(columns, values, low=float(least), high=float(most))


class _Program:
    """Columns and rows of an integer program."""

    def __init__(self) -> None:
        self.low: list[float] = []
        self.high: list[float] = []
        self._rows: list[tuple[list[int], list[float], float, float]] = []

    def variable(self, low: Any, high: Any) -> int:
        self.low.append(float(low))
        self.high.append(float(high))
        return len(self.low) - 1

    def row(self, columns: list[int], values: Any, low: Any = -np.inf, high: Any = np.inf) -> None:
        self._rows.append((columns, values, float(low), float(high)))

    def solve(self, highspy: Any, seconds: float) -> tuple[str, Any]:
        """``no``, or ``yes`` or ``open`` with values where there are any."""
        with _quiet():
            solver = highspy.Highs()
        for name, setting in (
            ("output_flag", False),
            ("threads", 1),
            ("time_limit", seconds),
            ("random_seed", 1),
            ("mip_max_improving_sols", 1),
        ):
            solver.setOptionValue(name, setting)
        infinity = highspy.kHighsInf
        count = len(self.low)
        solver.addVars(count, np.array(self.low), np.array(self.high))
        solver.changeColsIntegrality(
            count,
            np.arange(count, dtype=np.int32),
            np.full(count, highspy.HighsVarType.kInteger),
        )
        starts = np.cumsum([0] + [len(row[0]) for row in self._rows[:-1]]).astype(np.int32)
        index = np.concatenate([np.asarray(row[0], np.int32) for row in self._rows])
        value = np.concatenate([np.asarray(row[1], np.float64) for row in self._rows])
        lows = np.array([max(row[2], -infinity) for row in self._rows])
        highs = np.array([min(row[3], infinity) for row in self._rows])
        solver.addRows(len(self._rows), lows, highs, len(index), starts, index, value)
        solver.run()
        status = solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return NO, None
        values = np.array(solver.getSolution().col_value)
        has = solver.getInfo().primal_solution_status == 2 and len(values) == count
        return (YES if has else OPEN), (values if has else None)
