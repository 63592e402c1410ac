"""Sum many bits: columns of bits of equal weight, compressed by counters of six look-up inputs.

A 6:3 counter turns six bits of a column into three bits (three LUTs, three bits fewer): one LUT
for each bit that disappears, as good as a carry chain and much less deep. The last two rows go
through one carry chain. A register is set wherever the next step would exceed the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from qpolicy_fpga.emit.verilog import CLOCK_TO_OUT, LUT_DELAY, Module, adder_delay

Columns = list[list[str]]


@cache
def value_tables(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Truth tables, lowest bit first, of the sum of bits with the given weights."""
    values = [
        sum(weight for place, weight in enumerate(weights) if address >> place & 1)
        for address in range(1 << len(weights))
    ]
    return tables_of(values)


def tables_of(values: list[int]) -> tuple[int, ...]:
    """Truth tables, lowest bit first, of a function given as a list over addresses."""
    return tuple(
        sum((value >> bit & 1) << address for address, value in enumerate(values))
        for bit in range(max(values).bit_length())
    )


class Heap:
    """Columns of bits in a module, and the time that has passed since the last register.

    Attributes:
        module: where look-up tables and registers are added.
        columns: bits by weight, lowest first.
        time: ns since the last register.
        budget: ns allowed between registers.
        stages: registers on the way so far.
        width: bits of the sum; nothing can reach the columns above, so they are left out.
    """

    def __init__(
        self, module: Module, budget: float, width: int, time: float = CLOCK_TO_OUT
    ) -> None:
        self.module = module
        self.columns: Columns = []
        self.time = time
        self.budget = budget
        self.stages = 0
        self.width = width

    def add(self, column: int, bit: str) -> None:
        """Add one bit of weight ``2^column``; constant 0 adds nothing."""
        while len(self.columns) <= column:
            self.columns.append([])
        if bit != "1'b0":
            self.columns[column].append(bit)

    def spend(self, delay: float) -> None:
        """Account for ``delay`` ns of logic; set a register first if it would be too late."""
        if self.time + delay > self.budget:
            self.cut()
        self.time += delay

    def cut(self) -> None:
        """Register every bit."""
        flat = [bit for column in self.columns for bit in column]
        registered = iter(self.module.register(flat))
        self.columns = [[next(registered) for _ in column] for column in self.columns]
        self.time = CLOCK_TO_OUT
        self.stages += 1

    def count(self, column: int, bits: list[str], upper: list[str], into: Columns) -> None:
        """Add the counter of ``bits`` (and ``upper``, one column higher) to ``into``."""
        tables = value_tables((1,) * len(bits) + (2,) * len(upper))
        for place, table in enumerate(tables[: self.width - column]):
            while len(into) <= column + place:
                into.append([])
            into[column + place].append(self.module.lut(bits + upper, table))

    def height(self) -> int:
        """Bits in the tallest column."""
        return max((len(column) for column in self.columns), default=0)

    def compress(self, rows: int = 2) -> None:
        """Compress until no column is taller than ``rows``."""
        while self.height() > rows:
            self.spend(LUT_DELAY)
            self.level(self.wide if self.height() > 5 else self.narrow)

    def level(self, choose: Callable[[int], None]) -> None:
        """One level of counters over all columns."""
        self.rest = [list(column) for column in self.columns]
        self.after: Columns = [[] for _ in self.columns]
        for column in range(len(self.rest)):
            choose(column)
            self.after[column] += self.rest[column]
        self.columns = self.after

    def wide(self, column: int) -> None:
        """6:3 as often as it goes; five bits take one of the next column along."""
        rest = self.rest[column]
        while len(rest) >= 6:
            self.count(column, [rest.pop(0) for _ in range(6)], [], self.after)
        if len(rest) == 5:
            self.five(column)

    def five(self, column: int) -> None:
        """(1,5;3) if the next column has a bit to spare, else 5:3."""
        rest = self.rest[column]
        above = self.rest[column + 1] if column + 1 < len(self.rest) else []
        upper = [above.pop(0)] if len(above) % 6 in {1, 2, 3, 4} else []
        self.count(column, [rest.pop(0) for _ in range(5)], upper, self.after)

    def narrow(self, column: int) -> None:
        """Towards two rows: five, four and three bits of a column become one and carries."""
        rest = self.rest[column]
        done = len(self.after[column])
        if len(rest) == 5:
            self.five(column)
        elif len(rest) + done > 2 and len(rest) >= 3:
            above = self.rest[column + 1] if column + 1 < len(self.rest) else []
            taken = [rest.pop(0) for _ in range(min(len(rest), 4 if done == 0 else 3))]
            # (2,3;3): two LUTs become three and two bits more disappear
            spare = len(above) > 2
            upper = [above.pop(0) for _ in range(2)] if spare and len(taken) == 3 else []
            self.count(column, taken, upper, self.after)
        elif len(rest) == 2 and done:
            self.count(column, [rest.pop(0), rest.pop(0)], [], self.after)

    def total(self, name: str) -> str:
        """Add the last two rows by one carry chain; return the name of the sum."""
        width = self.width
        self.compress()
        columns = (self.columns + [[]] * width)[:width]
        first = next((i for i, column in enumerate(columns) if len(column) == 2), width)
        if first < width:
            self.spend(adder_delay(width - first))
            columns = (self.columns + [[]] * width)[:width]
        single = [column[0] if column else "1'b0" for column in columns[:first]]
        lines = self.module.lines
        lines.append(f"    wire [{width - 1}:0] {name};")
        if first:
            low = ", ".join(reversed(single))
            lines.append(f"    assign {name}[{first - 1}:0] = {{{low}}};")
        if first < width:
            rows = [
                ", ".join(
                    column[row] if len(column) > row else "1'b0"
                    for column in reversed(columns[first:])
                )
                for row in range(2)
            ]
            lines.append(f"    assign {name}[{width - 1}:{first}] = {{{rows[0]}}} + {{{rows[1]}}};")
        return name
