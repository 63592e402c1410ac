"""Proof that a routed core computes what its Verilog says, register by register.

A register of the sources whose name is still there in the routed netlist is taken to hold the same
in both. Then what it takes next, and what the core puts out, must be the same function of such
registers and of the inputs: SAT decides that for all values. With all registers start and step are
equal, so the cores are, for ever. Where a name is gone, or a memory lies in between, there is no
proof; how many these are is said, and simulation has to do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qpolicy_fpga.build.cut import RoutedDesign
from qpolicy_fpga.build.top import CORE
from qpolicy_fpga.simulate.netlist import Gate, Net, Netlist, read_netlist
from qpolicy_fpga.yosys import run_yosys
from qpolicy_ros.common.files import scratch_folder

_INPUTS = ("rst", "s_data", "s_valid", "m_ready")
_OUTPUTS = ("s_ready", "m_valid", "m_data")
_LEVELS = ("0", "1", "x", "z")
_ROM_BITS, _TABLE_INPUTS = 10, 6  # addresses of memories that a proof looks into
_TOGETHER = 400  # functions a proof

# In a process of its own: Yosys keeps state and prints to standard output.
_SCRIPT = """\
import json, re, sys
from pyosys import libyosys as ys
out, log, *pairs = sys.argv[1:]
found = {}
for pair in pairs:
    design = ys.Design()
    def run(text):
        ys.run_pass(text, design)
    run(f'read_verilog -icells "{pair}"')
    run("equiv_make gold gate equal")
    run("hierarchy -top equal")
    run("equiv_simple")
    run(f'tee -q -o "{log}" equiv_status')
    said = open(log).read()
    count = re.search(r"Of those cells (\\d+) are proven and (\\d+) are unproven", said)
    found[pair] = [int(count[1]), int(count[2]), re.findall(r"\\\\y(\\d+)_gold", said)]
json.dump(found, open(out, "w"))
"""


@dataclass
class Proof:
    """What was proved.

    Attributes:
        proved: functions by the module of the sources that has them.
        refuted: names of those that differ.
        open: names of those that no proof was tried for.
    """

    proved: Counter[str] = field(default_factory=Counter)
    refuted: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Function:
    """One bit in both netlists: what a register takes next, or an output."""

    name: str
    source: Net
    routed: Net


def prove_core(files: Sequence[Path], top: str, design: RoutedDesign) -> Proof:
    """Prove a routed core, as far as names survive.

    Args:
        files: Verilog of the core.
        top: its module.
        design: the routed design.

    Raises:
        InputError: a netlist cannot be read.
        BackendError: the solver takes too long.
    """
    source, routed = (_without_roms(each) for each in (read_netlist(files, top), design.core()))
    proof = Proof()
    registers = {held: taken for taken, held in source.registers}
    names: dict[Net, str] = {}
    found: dict[Net, Net | None] = {}
    for name, net in source.names.items():
        if net in registers and "$" not in name and found.get(net) is None:
            names.setdefault(net, name)
            found[net] = design.routed_net(name)
    state = _Next(routed)
    cut_source: dict[Net, str] = {}
    cut_routed: dict[Net, str] = {}
    tied: dict[Net, str] = {}
    functions = []
    for held, taken in registers.items():
        routed_net = found.get(held)
        name = names.get(held, "")
        if isinstance(routed_net, str):  # synthesis found it constant
            tied[held] = routed_net
            functions.append(_Function(name, taken, routed_net))
        elif routed_net is None or state.next(routed_net) is None:
            proof.open.append(name or "a register without a name")
        else:
            label = f"x{len(cut_source)}"
            # Two registers that always hold the same may have become one.
            cut_source[held] = cut_routed.setdefault(routed_net, label)
            inverse = state.inverse(routed_net)
            if inverse is not None:
                cut_routed[inverse] = f"~{cut_routed[routed_net]}"
            functions.append(_Function(name, taken, state.next(routed_net) or "x"))
    for port in _INPUTS:
        pairs = zip(source.ports[port], routed.ports[port], strict=True)
        for at, (outer, inner) in enumerate(pairs):
            cut_source[outer] = cut_routed.setdefault(inner, f"{port}_{at}")
    for port in _OUTPUTS:
        pairs = zip(source.ports[port], routed.ports[port], strict=True)
        functions += [_Function(f"{port}[{at}]", a, b) for at, (a, b) in enumerate(pairs)]
    cut_source.update({net: f"1'b{value}" for net, value in tied.items()})
    functions = _allow_undefined(functions, source, cut_source, state.netlist, cut_routed)
    gold = _Writer("gold", source, cut_source)
    gate = _Writer("gate", state.netlist, cut_routed)
    _decide(proof, functions, gold, gate)
    return proof


def _allow_undefined(
    functions: Sequence[_Function],
    source: Netlist,
    cut_source: dict[Net, str],
    routed: Netlist,
    cut_routed: dict[Net, str],
) -> list[_Function]:
    """Where Verilog leaves a value open, as behind a memory's last word, either is right.

    Such a function becomes the claim that the routed one equals the source's with all open values
    0, or with all of them 1; both copies of the source go into the routed netlist.
    """
    opened = _opened(source, cut_source)
    if not any(function.source in opened for function in functions):
        return list(functions)
    for level in "01":
        for held, label in cut_source.items():
            cut_routed[_copy(held, level)] = label
        for gate in source.gates:
            if gate.output not in cut_source:
                inputs = tuple(_copy(net, level) for net in gate.inputs)
                routed.gates.append(Gate(inputs, gate.table, _copy(gate.output, level)))
    # 1 where the routed bit, the lowest of the address, is one of the other two.
    table = sum(((at & 1) in (at >> 1 & 1, at >> 2)) << at for at in range(8))
    result = []
    for function in functions:
        if function.source not in opened:
            result.append(function)
            continue
        claim: Net = f"claim {function.name}"
        pair = (_copy(function.source, "0"), _copy(function.source, "1"))
        routed.gates.append(Gate((function.routed, *pair), table, claim))
        result.append(_Function(function.name, "1", claim))
    return result


def _opened(netlist: Netlist, cut: Mapping[Net, str]) -> set[Net]:
    """Nets that depend on an open value, not looking behind cuts."""
    readers: dict[Net, list[Net]] = {}
    for gate in netlist.gates:
        for net in gate.inputs:
            readers.setdefault(net, []).append(gate.output)
    found: set[Net] = set()
    todo: list[Net] = ["x", "z"]
    while todo:
        for net in readers.get(todo.pop(), ()):
            if net not in found and net not in cut:
                found.add(net)
                todo.append(net)
    return found


def _copy(net: Net, level: str) -> Net:
    """A net of the source, copied with its open values at a level."""
    if net in _LEVELS:
        return level if net in ("x", "z") else net
    return f"{level} {net}"


def _without_roms(netlist: Netlist) -> Netlist:
    """Return a netlist whose small memories are gates."""
    gates, roms, fresh = list(netlist.gates), [], -3 * 10**9

    def choose(bits: Sequence[int], address: Sequence[Net], output: Net | None = None) -> Net:
        nonlocal fresh
        if output is None:
            fresh -= 1
            output = fresh
        if len(address) <= _TABLE_INPUTS:
            table = sum(bit << at for at, bit in enumerate(bits))
            gates.append(Gate(tuple(address), table, output))
        else:
            half = len(bits) // 2
            low, high = (choose(part, address[:-1]) for part in (bits[:half], bits[half:]))
            gates.append(Gate((low, high, address[-1]), 0b11001010, output))
        return output

    for rom in netlist.roms:
        if len(rom.address) > _ROM_BITS:
            roms.append(rom)
            continue
        words = [*rom.words, *[0] * ((1 << len(rom.address)) - len(rom.words))]
        for at, net in enumerate(rom.outputs):
            choose([word >> at & 1 for word in words], rom.address, net)
    return Netlist(netlist.ports, gates, roms, netlist.registers, netlist.names)


class _Next:
    """What a net of a netlist is after the clock's edge."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        self._taken = {held: taken for taken, held in netlist.registers}
        self._driver = {gate.output: gate for gate in netlist.gates}
        self._fresh = -2 * 10**9
        self._made: dict[Net, Net] = {}

    def inverse(self, net: Net) -> Net | None:
        """Register of which ``net`` is the inverse: one that starts at 1 is kept so."""
        gate = self._driver.get(net)
        if net in self._taken or gate is None or gate.table != 0b01:
            return None
        return gate.inputs[0] if gate.inputs[0] in self._taken else None

    def next(self, net: Net) -> Net | None:
        """Net with its next value; None where it is not a register's."""
        if net in self._taken:
            return self._taken[net]
        if net in self._made:
            return self._made[net]
        held = self.inverse(net)
        if held is None:
            return None
        self._fresh -= 1
        self._made[net] = self._fresh
        self.netlist.gates.append(Gate((self._taken[held],), 0b01, self._fresh))
        return self._fresh


class _Writer:
    """Writes functions of a netlist as a module of look-up tables."""

    def __init__(self, name: str, netlist: Netlist, cut: dict[Net, str]) -> None:
        self._name, self._cut = name, cut
        self._driver = {gate.output: gate for gate in netlist.gates}

    def inputs(self, nets: Iterable[Net]) -> set[str] | None:
        """Names of the cuts that some nets depend on; None where something else lies below."""
        names: set[str] = set()
        todo, seen = list(nets), set()
        while todo:
            net = todo.pop()
            if net in seen or net in _LEVELS:
                continue
            seen.add(net)
            if net in self._cut:
                names.add(self._cut[net].lstrip("~"))
            elif net in self._driver:
                todo += self._driver[net].inputs
            else:
                return None
        return names

    def text(self, nets: Sequence[tuple[int, Net]], inputs: Iterable[str]) -> str:
        """A module with ports ``inputs`` and an output ``y<number>`` for each of ``nets``."""
        names: dict[Net, str] = {}
        lines: list[str] = []

        def name_of(net: Net) -> str:
            if net in _LEVELS:
                return "1'b1" if net == "1" else "1'b0"
            return self._cut.get(net) or names[net]

        todo = [net for _, net in nets]
        while todo:
            net = todo[-1]
            if net in _LEVELS or net in self._cut or net in names:
                todo.pop()
                continue
            gate = self._driver[net]
            below = [
                each
                for each in gate.inputs
                if each not in _LEVELS and each not in self._cut and each not in names
            ]
            if below:
                todo += below
                continue
            todo.pop()
            names[net] = f"{self._name}_{len(names)}"
            size = len(gate.inputs)
            address = ", ".join(name_of(each) for each in reversed(gate.inputs))
            cell = f"\\$lut #(.WIDTH({size}), .LUT({1 << size}'d{gate.table})) {names[net]}_cell"
            lines.append(f"wire {names[net]}; {cell} (.A({{{address}}}), .Y({names[net]}));")
        lines += [f"assign y{number} = {name_of(net)};" for number, net in nets]
        ports = [f"input {name}" for name in inputs if not name.startswith("1'b")]
        ports += [f"output y{number}" for number, _ in nets]
        return "\n".join([f"module {self._name} ({', '.join(ports)});", *lines, "endmodule", ""])


def _decide(proof: Proof, functions: Sequence[_Function], gold: _Writer, gate: _Writer) -> None:
    """Prove what can be, some functions at a time, those of a module together."""
    chosen = []
    for number, function in enumerate(functions):
        if None in (gold.inputs([function.source]), gate.inputs([function.routed])):
            proof.open.append(function.name)
        else:
            chosen.append((number, function))
    chosen.sort(key=lambda pair: module_of(pair[1].name))
    with scratch_folder() as scratch:
        folder = Path(scratch)
        files = []
        for start in range(0, len(chosen), _TOGETHER):
            part = chosen[start : start + _TOGETHER]
            left, right = (
                [(n, getattr(f, side)) for n, f in part] for side in ("source", "routed")
            )
            needed = (gold.inputs(net for _, net in left) or set()) | (
                gate.inputs(net for _, net in right) or set()
            )
            file = folder / f"pair{start}.v"
            file.write_text(gold.text(left, sorted(needed)) + gate.text(right, sorted(needed)))
            files.append(file)
        if not files:
            return
        out, log = folder / "found.json", folder / "status.txt"
        run_yosys(_SCRIPT, [str(out), str(log), *map(str, files)], out, folder)
        found = json.loads(out.read_text("utf-8"))
    wrong = {int(number) for _, _, numbers in found.values() for number in numbers}
    for number, function in chosen:
        if number in wrong:
            proof.refuted.append(function.name)
        else:
            proof.proved[module_of(function.name)] += 1
    compared = sum(right + left for right, left, _ in found.values())
    if compared != len(chosen) or sum(left for _, left, _ in found.values()) != len(wrong):
        missing = len(chosen) - compared
        proof.open.append(f"{missing} functions that the solver did not report")


def module_of(name: str) -> str:
    """Return the path of the module that a name of the sources lies in."""
    path = name.rpartition(".")[0]
    return path or CORE.rpartition(".")[2]
