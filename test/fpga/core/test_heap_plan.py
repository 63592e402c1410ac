"""Sums of many bits are right in every plan, and no plan is worse than one way throughout."""

from __future__ import annotations

import numpy as np
import pytest

from qpolicy_fpga.emit.bit_heap import value_tables
from qpolicy_fpga.emit.heap_plan import ROWS, last_rows, plan_levels, sixes
from qpolicy_fpga.emit.verilog import LUT_DELAY

ENDLESS = 1e9  # ns: no register is needed

HEAPS = [(n,) for n in range(1, 70, 4)] + [(n, n) for n in (3, 8, 16, 22, 29, 45)] + [(0, 7, 2)]


@pytest.mark.parametrize("heights", HEAPS, ids=str)
@pytest.mark.parametrize("budget", [ENDLESS, 2.5 * LUT_DELAY], ids=["free", "timed"])
def test_a_plan_keeps_the_sum(heights, budget):
    most = sum(height << column for column, height in enumerate(heights))
    width = most.bit_length()
    chance = np.random.default_rng(len(heights))
    columns = [list(chance.integers(0, 2, height)) for height in heights]
    total = sum(int(sum(column)) << place for place, column in enumerate(columns))
    for way in plan_levels(heights, width, 0.0, budget).ways:
        counters, after = way(tuple(map(len, columns)), width)
        new = [[] for _ in after]
        for counter in counters:
            bits = [columns[counter.column].pop() for _ in range(counter.ones)]
            bits += [columns[counter.column + 1].pop() for _ in range(counter.twos)]
            tables = value_tables((1,) * counter.ones + (2,) * counter.twos)
            address = sum(int(bit) << place for place, bit in enumerate(bits))
            for place in range(counter.places(width)):
                new[counter.column + place].append(tables[place] >> address & 1)
        columns = [
            bits + (columns[column] if column < len(columns) else [])
            for column, bits in enumerate(new)
        ]
        assert tuple(map(len, columns)) == after
    assert max(map(len, columns)) <= ROWS
    assert sum(int(sum(column)) << place for place, column in enumerate(columns)) == total


def _by_rule(heights, width):
    """Levels and tables of 6:3 counters down to five bits a column, then of what remains."""
    levels = tables = 0
    while max(heights) > ROWS:
        way = sixes if max(heights) > 5 else last_rows
        counters, heights = way(heights, width)
        tables += sum(counter.places(width) for counter in counters)
        levels += 1
    return levels, tables


@pytest.mark.parametrize("heights", HEAPS, ids=str)
def test_no_plan_takes_more_than_the_rule(heights):
    width = sum(height << column for column, height in enumerate(heights)).bit_length()
    levels, tables = _by_rule(heights, width)
    assert plan_levels(heights, width, 0.0, ENDLESS).tables <= tables
    quick = plan_levels(heights, width, 0.0, LUT_DELAY * 1.5)  # a register a level
    assert quick.stages <= levels + 1


def test_outputs_of_29_to_36_inputs_take_the_same_levels():
    plans = {n: plan_levels((n,), 6, 0.0, LUT_DELAY * 1.5) for n in range(29, 37)}
    assert len({plan.stages for plan in plans.values()}) == 1


def test_what_follows_the_sum_counts():
    alone = plan_levels((22, 22), 7, 0.0, 3 * LUT_DELAY)
    followed = plan_levels((22, 22), 7, 0.0, 3 * LUT_DELAY, (2 * LUT_DELAY,))
    assert followed.stages in {alone.stages, alone.stages + 1}
