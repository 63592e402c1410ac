"""How a heap of bits is compressed: the counters of each level, planned on heights of columns.

The ways below are rules of thumb, and none is the best of all heaps. All sequences of them are
tried, on numbers alone, and the one is taken that needs the fewest registers, then the fewest
tables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from qpolicy_fpga.emit.verilog import CLOCK_TO_OUT, LUT_DELAY, LUT_INPUTS, adder_delay

Heights = tuple[int, ...]

ROWS = 2  # what a carry chain adds


class Counter(NamedTuple):
    """Bits of a column, and of the next higher one, whose sum tables give.

    Attributes:
        column: where the result's lowest bit goes.
        ones: bits of ``column``.
        twos: bits of ``column + 1``.
    """

    column: int
    ones: int
    twos: int = 0

    def places(self, width: int) -> int:
        """Bits of the result, a table each, as far as the sum of ``width`` bits has columns."""
        return min((self.ones + 2 * self.twos).bit_length(), width - self.column)


Way = Callable[[Heights, int], tuple[list[Counter], Heights]]


class _Level:
    """A level under construction: what is left of each column, and what its counters give."""

    def __init__(self, heights: Heights, width: int) -> None:
        self.width = width
        self.rest = list(heights)
        self.after = [0] * len(heights)
        self.counters: list[Counter] = []

    def count(self, column: int, ones: int, twos: int = 0) -> None:
        counter = Counter(column, ones, twos)
        self.counters.append(counter)
        self.rest[column] -= ones
        if twos:
            self.rest[column + 1] -= twos
        top = column + counter.places(self.width)
        self.after += [0] * (top - len(self.after))
        for place in range(column, top):
            self.after[place] += 1

    def above(self, column: int) -> int:
        return self.rest[column + 1] if column + 1 < len(self.rest) else 0

    def five(self, column: int) -> None:
        """(1,5;3) if the next column has a bit to spare, else 5:3."""
        self.count(column, 5, int(self.above(column) % 6 in {1, 2, 3, 4}))

    def done(self) -> tuple[list[Counter], Heights]:
        rest = self.rest + [0] * (len(self.after) - len(self.rest))
        return self.counters, tuple(map(sum, zip(rest, self.after, strict=True)))


def sixes(heights: Heights, width: int) -> tuple[list[Counter], Heights]:
    """6:3 as often as it goes; five bits take one of the next column along."""
    level = _Level(heights, width)
    for column in range(len(heights)):
        while level.rest[column] >= LUT_INPUTS:
            level.count(column, LUT_INPUTS)
        if level.rest[column] == 5:
            level.five(column)
    return level.done()


def all_bits(heights: Heights, width: int) -> tuple[list[Counter], Heights]:
    """6:3, and what is left of a column, three bits or more, in a counter too."""
    level = _Level(heights, width)
    for column in range(len(heights)):
        while level.rest[column] > ROWS:
            level.count(column, min(LUT_INPUTS, level.rest[column]))
    return level.done()


def last_rows(heights: Heights, width: int) -> tuple[list[Counter], Heights]:
    """Towards two rows: five, four and three bits of a column become one and carries."""
    level = _Level(heights, width)
    for column in range(len(heights)):
        rest, done = level.rest[column], level.after[column] if column < len(level.after) else 0
        if rest == 5:
            level.five(column)
        elif rest + done > ROWS and rest >= 3:
            taken = min(rest, 3 if done else 4)
            # (2,3;3): two LUTs become three and two bits more disappear
            spare = level.above(column) > 2 and taken == 3
            level.count(column, taken, 2 if spare else 0)
        elif rest == 2 and done:
            level.count(column, 2)
    return level.done()


class Plan(NamedTuple):
    """Ways of the levels in their order, and what they come to.

    Attributes:
        stages: registers on the way, up to the end of what follows the sum.
        tables: look-up tables.
        ways: one a level.
    """

    stages: int
    tables: int
    ways: tuple[Way, ...]


@cache
def plan_levels(
    heights: Heights, width: int, time: float, budget: float, after: tuple[float, ...] = ()
) -> Plan:
    """Return the best plan for columns of ``heights``, lowest first.

    Args:
        heights: bits of each column.
        width: bits of the sum.
        time: ns since the last register.
        budget: ns allowed between registers.
        after: ns of logic of each step that follows the sum, up to its next register.
    """
    if max(heights, default=0) <= ROWS:
        return _ending(heights, width, time, budget, after)
    cut, time = _spend(LUT_DELAY, time, budget)
    found = []
    for way in (sixes, all_bits, last_rows):
        if way is last_rows and max(heights) > LUT_INPUTS:
            continue
        counters, left = way(heights, width)
        if sum(left) >= sum(heights):
            continue
        rest = plan_levels(left, width, time, budget, after)
        tables = sum(counter.places(width) for counter in counters)
        found.append(Plan(cut + rest.stages, tables + rest.tables, (way, *rest.ways)))
    return min(found, key=lambda plan: (plan.stages, plan.tables, len(plan.ways)))


def _ending(
    heights: Heights, width: int, time: float, budget: float, after: tuple[float, ...]
) -> Plan:
    """Return the plan of the carry chain alone, and of what follows."""
    first = next((at for at, height in enumerate(heights) if height == ROWS), width)
    stages = 0
    for delay in ((adder_delay(width - first),) if first < width else ()) + after:
        cut, time = _spend(delay, time, budget)
        stages += cut
    return Plan(stages, 0, ())


def _spend(delay: float, time: float, budget: float) -> tuple[int, float]:
    """Return the registers set before ``delay`` ns of logic, and the time after it."""
    if time + delay > budget:
        return 1, CLOCK_TO_OUT + delay
    return 0, time + delay
