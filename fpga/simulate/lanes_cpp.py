"""A netlist as C++ that simulates it 512 times at once: a bit is a vector, its k-th bit lane k's.

What the data cannot reach (handshake, phases, addresses, words of the weights' memories) is the
same in every lane and computed once, as a number: 0 or all ones. ``lanes_harness.cpp`` clocks the
whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qpolicy_fpga.emit.verilog import simplify
from qpolicy_fpga.simulate.netlist import Gate, Net, Netlist, Rom
from qpolicy_ros.policy import PolicyError

_PIECE = 400  # look-up tables a function: compilers take long over large ones
_WORD = 64
_SELECT = 3  # inputs that differ by lane, up to which a table is selected by those that do not
_DATA = "s_data"
_CONSTANTS = {"0": "0", "1": "~0ull", "x": "0", "z": "0"}
# lut3's tables: bit 4 a + 2 b + c, for ``a ? b : c``.
_MUX = 0b11001010


def emit_lanes(netlist: Netlist) -> str:
    """Return the C++ of ``netlist``, to stand before ``lanes_harness.cpp``.

    Raises:
        PolicyError: the handshake depends on the data, or gates form a loop.
    """
    return _Emitter(netlist).text()


@dataclass(frozen=True)
class _Register:
    """A register as the name of what it holds and of what it takes."""

    target: str
    source: str
    plain: bool  # whether the source is another register


class _Emitter:
    def __init__(self, netlist: Netlist) -> None:
        self._netlist = netlist
        self._roms = {id(rom): f"rom{at}" for at, rom in enumerate(netlist.roms)}
        self._driver: dict[Net, Gate | Rom] = {gate.output: gate for gate in netlist.gates}
        for rom in netlist.roms:
            self._driver.update(dict.fromkeys(rom.outputs, rom))
        self._varies = self._reached(netlist.ports[_DATA])
        for port in ("s_ready", "m_valid"):
            if netlist.ports[port][0] in self._varies:
                raise PolicyError(f"rtl: {port} depends on the data, so no latency is its own")
        self._place: dict[Net, str] = {}
        self._vectors = self._numbers = 0
        for net in netlist.ports[_DATA]:
            self._fixed(net)
        for name in ("rst", "s_valid", "m_ready"):
            self._fixed(netlist.ports[name][0])
        for _, held in netlist.registers:
            self._fixed(held)
        self._free: list[int] = []
        self._uses: dict[Net, int] = {}

    def _reached(self, start: Iterable[Net]) -> set[Net]:
        """Nets that ``start`` reaches, through registers too."""
        readers: dict[Net, list[Net]] = {}
        for gate in self._netlist.gates:
            for net in gate.inputs:
                readers.setdefault(net, []).append(gate.output)
        for rom in self._netlist.roms:
            for net in rom.address:
                readers.setdefault(net, []).extend(rom.outputs)
        for source, held in self._netlist.registers:
            readers.setdefault(source, []).append(held)
        found, todo = set(start), list(start)
        while todo:
            for net in readers.get(todo.pop(), ()):
                if net not in found:
                    found.add(net)
                    todo.append(net)
        return found

    def _fixed(self, net: Net) -> str:
        """Give a net a place of its own."""
        if net in self._varies:
            self._place[net] = f"n[{self._vectors}]"
            self._vectors += 1
        else:
            self._place[net] = f"u[{self._numbers}]"
            self._numbers += 1
        return self._place[net]

    def _name(self, net: Net) -> str:
        """A net as what C++ computes with: a vector, or a number."""
        return _CONSTANTS[net] if isinstance(net, str) else self._place[net]

    def _vector(self, net: Net) -> str:
        name = self._name(net)
        return name if net in self._varies else f"B({name})"

    def text(self) -> str:
        """The whole C++ file."""
        netlist, ports = self._netlist, self._netlist.ports
        order = self._order()
        numbers = [self._number(cell) for cell in order if not self._is_vector(cell)]
        vectors = [cell for cell in order if self._is_vector(cell)]
        self._count_uses(vectors)
        lanes = [self._lanes(cell) for cell in vectors]
        commits, held = _commits(
            [
                _Register(self._place[target], self._name(source), source not in self._driver)
                for source, target in netlist.registers
            ]
        )
        signals = {
            name: self._name(ports[name][0])
            for name in ("rst", "s_valid", "m_ready", "s_ready", "m_valid")
        }
        lines = [
            f"#define IN_BITS {len(ports[_DATA])}",
            f"#define OUT_BITS {len(ports['m_data'])}",
            *(f"#define {name.upper()} {place}" for name, place in signals.items()),
            f"static V n[{self._vectors}], held[{held + 1}], unused;",
            f"static uint64_t u[{self._numbers}], held_number[{held + 1}];",
            *(_table(rom, at) for at, rom in enumerate(netlist.roms)),
            *_functions("numbers", numbers),
            *_functions("vectors", lanes),
            *_functions("commit", commits),
            "static void results(V *out) {",
            *(f"    out[{at}] = {self._vector(net)};" for at, net in enumerate(ports["m_data"])),
            "}",
            "",
        ]
        return "\n".join(lines)

    def _is_vector(self, cell: Gate | Rom) -> bool:
        inputs = cell.inputs if isinstance(cell, Gate) else cell.address
        return any(net in self._varies for net in inputs)

    def _order(self) -> list[Gate | Rom]:
        """Cells in an order in which each comes behind what it reads, close to what reads it."""
        order: list[Gate | Rom] = []
        state: dict[int, int] = {}  # 1: begun, 2: done
        ends = [source for source, _ in self._netlist.registers]
        for port in ("s_ready", "m_valid", "m_data"):
            ends += self._netlist.ports[port]
        stack = [self._driver[net] for net in reversed(ends) if net in self._driver]
        while stack:
            cell = stack[-1]
            if state.get(id(cell)) is None:
                state[id(cell)] = 1
                inputs = cell.inputs if isinstance(cell, Gate) else cell.address
                for net in inputs:
                    below = self._driver.get(net)
                    if below is None or state.get(id(below)) == 2:
                        continue
                    if state.get(id(below)) == 1:
                        raise PolicyError("rtl: gates form a loop")
                    stack.append(below)
                continue
            stack.pop()
            if state[id(cell)] == 1:
                state[id(cell)] = 2
                order.append(cell)
        return order

    def _number(self, cell: Gate | Rom) -> str:
        """Statements of a cell that is the same in every lane."""
        if isinstance(cell, Rom):
            index = _index([self._name(net) for net in cell.address])
            lines = [f"{{ const uint64_t *w = {self._roms[id(cell)]}[{index}];"]
            lines += [
                f"{self._fixed(net)} = -(w[{at // _WORD}] >> {at % _WORD} & 1);"
                for at, net in enumerate(cell.outputs)
            ]
            return " ".join([*lines, "}"])
        index = _index([self._name(net) for net in cell.inputs])
        return f"{self._fixed(cell.output)} = -({cell.table:#x}ull >> ({index}) & 1);"

    def _count_uses(self, vectors: Sequence[Gate | Rom]) -> None:
        """How often each vector is read by cells; those that others read are never given up."""
        for cell in vectors:
            for net in cell.inputs if isinstance(cell, Gate) else cell.address:
                self._uses[net] = self._uses.get(net, 0) + 1
        kept = [source for source, _ in self._netlist.registers]
        kept += self._netlist.ports["m_data"]
        for net in kept:
            self._uses[net] = self._uses.get(net, 0) + 1

    def _lanes(self, cell: Gate | Rom) -> str:
        """Statements of a cell that differs by lane."""
        if isinstance(cell, Rom):
            inputs, count = ", ".join(map(self._vector, cell.address)), len(cell.outputs)
            if count > _WORD:
                raise PolicyError(
                    f"rtl: a memory of {count} bits whose address depends on the data"
                )
            lines = [f"{{ const V a[] = {{{inputs}}}; V y[{count}];"]
            lines.append(f"look_up(a, {len(cell.address)}, *{self._roms[id(cell)]}, y, {count});")
            self._give_up(cell.address)
            for place, net in enumerate(cell.outputs):
                lines.append(f"{self._temporary(net)} = y[{place}];")
            return " ".join([*lines, "}"])
        statements, value = self._gate(cell)
        self._give_up(cell.inputs)
        return " ".join(["{", *statements, f"{self._temporary(cell.output)} = {value};", "}"])

    def _temporary(self, net: Net) -> str:
        if not self._uses.get(net):
            return "unused"
        at = self._free.pop() if self._free else self._vectors
        self._vectors = max(self._vectors, at + 1)
        self._place[net] = f"n[{at}]"
        return self._place[net]

    def _give_up(self, nets: Iterable[Net]) -> None:
        """Take back the places of temporaries that have been read for the last time."""
        for net in nets:
            if net in self._varies and net in self._driver:
                self._uses[net] -= 1
                if not self._uses[net]:
                    self._free.append(int(self._place[net][2:-1]))

    def _gate(self, gate: Gate) -> tuple[list[str], str]:
        """Statements before, and the value of, a look-up table."""
        same = [net for net in gate.inputs if net not in self._varies]
        lanes = [net for net in gate.inputs if net in self._varies]
        variables = [self._vector(net) for net in lanes]
        if not same or len(lanes) > _SELECT:
            tree = _Tree([*variables, *(self._vector(net) for net in same)])
            value = tree.value(_permuted(gate, [*lanes, *same]))
            return tree.lines, value
        # What is the same in every lane selects a table of the rest.
        table = _permuted(gate, [*lanes, *same])
        index = _index([self._name(net) for net in same])
        size = 1 << len(lanes)
        entries = [f"B(-(t >> {at} & 1))" for at in range(size)]
        for variable in variables:
            pairs = zip(entries[::2], entries[1::2], strict=True)
            entries = [f"lut3({variable}, {high}, {low}, {_MUX:#x})" for low, high in pairs]
        statement = f"const uint64_t t = {table:#x}ull >> (({index}) << {len(lanes)});"
        return [statement], entries[0]


def _index(bits: Sequence[str]) -> str:
    """A number from bits that are 0 or all ones, lowest first."""
    return " | ".join(f"({bit} & {1 << at})" for at, bit in enumerate(bits)) or "0"


def _permuted(gate: Gate, order: Sequence[Net]) -> int:
    """The table of ``gate`` for its inputs in another order."""
    # The same net may stand at two inputs.
    left = list(enumerate(gate.inputs))
    places = []
    for net in order:
        at = next(place for place, pair in enumerate(left) if pair[1] == net)
        places.append(left.pop(at)[0])
    table = 0
    for address in range(1 << len(places)):
        old = sum((address >> new & 1) << place for new, place in enumerate(places))
        table |= (gate.table >> old & 1) << address
    return table


class _Tree:
    """A function of up to six vectors in operations on three; equal pieces are computed once.

    A piece is a name and whether its complement is meant.
    """

    def __init__(self, variables: list[str]) -> None:
        self._variables = variables
        self._known: dict[tuple[tuple[int, ...], int], str] = {}
        self.lines: list[str] = []

    def value(self, table: int) -> str:
        """An expression of ``table`` over all variables; ``lines`` come before it."""
        name, negated = self._piece(tuple(range(len(self._variables))), table)
        return f"~{name}" if negated else name

    def _piece(self, places: tuple[int, ...], table: int) -> tuple[str, bool]:
        kept, table = simplify([str(place) for place in places], table)
        places = tuple(map(int, kept))
        if not places:
            return "B(0)", bool(table & 1)
        if len(places) == 1:
            return self._variables[places[0]], table == 0b01
        negated = bool(table & 1)
        if negated:
            table ^= (1 << (1 << len(places))) - 1
        key = places, table
        if key not in self._known:
            value = self._operation(places, table)
            self._known[key] = f"t{len(self.lines)}"
            self.lines.append(f"const V {self._known[key]} = {value};")
        return self._known[key], negated

    def _operation(self, places: tuple[int, ...], table: int) -> str:
        """One operation on three: variables, or the last one and the pieces that it selects."""
        if len(places) <= 3:
            names = [self._variables[place] for place in places]
            # lut3 has its first operand as the highest address bit.
            full = sum((table >> (at & (1 << len(places)) - 1) & 1) << at for at in range(8))
            return (
                f"lut3({', '.join([*[names[0]] * (3 - len(names)), *reversed(names)])}, {full:#x})"
            )
        half = 1 << (len(places) - 1)
        low, high = table & (1 << half) - 1, table >> half
        last = self._variables[places[-1]]
        if high == low ^ (1 << half) - 1:
            name, negated = self._piece(places[:-1], low)
            return f"lut3({last}, {name}, {name}, {0xC3 if negated else 0x3C:#x})"
        operands = [self._piece(places[:-1], piece) for piece in (high, low)]
        code = _MUX
        if operands[0][1]:
            code = sum((code >> (at ^ 2) & 1) << at for at in range(8))
        if operands[1][1]:
            code = sum((code >> (at ^ 1) & 1) << at for at in range(8))
        return f"lut3({last}, {operands[0][0]}, {operands[1][0]}, {code:#x})"


def _commits(registers: Sequence[_Register]) -> tuple[list[str], int]:
    """Statements of the clock's edge, and how many values they hold meanwhile.

    What other registers hold is taken before any of them changes.
    """
    plain = [register for register in registers if register.plain]
    takes, sets = [], []
    for at, register in enumerate(plain):
        held = f"held[{at}]" if register.target.startswith("n") else f"held_number[{at}]"
        takes.append(f"{held} = {register.source};")
        sets.append(f"{register.target} = {held};")
    logic = [f"{each.target} = {each.source};" for each in registers if not each.plain]
    return [*takes, *logic, *sets], len(plain)


def _table(rom: Rom, at: int) -> str:
    """The words of a memory as a table of C++, zeros behind the last."""
    words = -(-len(rom.outputs) // _WORD)
    mask = (1 << _WORD) - 1
    rows = [
        ", ".join(f"{word >> (_WORD * at_word) & mask:#x}ull" for at_word in range(words))
        for word in rom.words
    ]
    size = 1 << len(rom.address)
    content = ",\n".join(f"{{{row}}}" for row in rows)
    return f"static const uint64_t rom{at}[{size}][{words}] = {{\n{content}}};"


def _functions(name: str, statements: Sequence[str]) -> list[str]:
    """A function of many statements, in pieces."""
    pieces = [statements[at : at + _PIECE] for at in range(0, len(statements), _PIECE)]
    lines = []
    for number, piece in enumerate(pieces):
        lines += [f"static void {name}_{number}(void) {{", *(f"    {text}" for text in piece), "}"]
    calls = [f"    {name}_{number}();" for number in range(len(pieces))]
    return [*lines, f"static void {name}(void) {{", *calls, "}"]
