"""Sum many bits: columns of bits of equal weight, compressed by counters of six look-up inputs.

A 6:3 counter turns six bits of a column into three bits (three LUTs, three bits fewer): one LUT
for each bit that disappears, as good as a carry chain and much less deep. The last two rows go
through one carry chain. A register is set wherever the next step would exceed the time.
"""

from __future__ import annotations

from functools import cache

from qpolicy_fpga.emit.heap_plan import Way, plan_levels
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

    def compress(self, after: tuple[float, ...] = ()) -> None:
        """Compress until no column is taller than two bits; ``after``: as :meth:`total` takes."""
        heights = tuple(map(len, self.columns))
        for way in plan_levels(heights, self.width, self.time, self.budget, after).ways:
            self.spend(LUT_DELAY)
            self.level(way)

    def level(self, way: Way) -> None:
        """One level of counters over all columns."""
        counters, after = way(tuple(map(len, self.columns)), self.width)
        rest = [list(column) for column in self.columns]
        into: Columns = [[] for _ in after]
        for counter in counters:
            bits = [rest[counter.column].pop(0) for _ in range(counter.ones)]
            bits += [rest[counter.column + 1].pop(0) for _ in range(counter.twos)]
            tables = value_tables((1,) * counter.ones + (2,) * counter.twos)
            for place in range(counter.column, counter.column + counter.places(self.width)):
                into[place].append(self.module.lut(bits, tables[place - counter.column]))
        self.columns = [
            new + (rest[column] if column < len(rest) else []) for column, new in enumerate(into)
        ]

    def total(self, name: str, after: tuple[float, ...] = ()) -> str:
        """Add the last two rows by one carry chain; return the name of the sum.

        ``after``: ns of logic of each step that follows the sum, up to its next register.
        """
        width = self.width
        self.compress(after)
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
