"""Front and back of the core in fabric: sensor words to input codes, output codes to action words.

``qpolicy_io`` is the whole: words in, words out. The front multiplies, adds, shifts and clips
(``fixed_point``), a lane a DSP, inputs that share a lane in turn; the back looks actions up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from qpolicy_fpga.emit.blocks import (
    choice,
    clocked,
    counter,
    module,
    port,
    registers,
    stream_ports,
    vector,
)
from qpolicy_fpga.emit.timing import Core
from qpolicy_fpga.manifest import WordPorts
from qpolicy_fpga.plan.devices import Part
from qpolicy_fpga.plan.fixed_point import (
    WORD_BITS,
    ActionWords,
    Product,
    action_words,
    input_products,
)
from qpolicy_fpga.plan.lanes import FACTOR_BITS, SUM_BITS, Lane, lanes_of, split
from qpolicy_fpga.plan.layer import bus_beats
from qpolicy_ros.policy import IntegerNetwork

FRONT_CYCLES, BACK_CYCLES = 5, 2
TOP = "qpolicy_io"
_PRODUCT_BITS = WORD_BITS + FACTOR_BITS


@dataclass(frozen=True, eq=False)
class InputOutput:
    """The front and the back of a core.

    Attributes:
        files: text by file name.
        lanes: words a beat.
        groups: beats of words for one beat of the core.
        beats: beats of words an observation.
        cycles: first accepted word to the actions' validity, beats without gaps.
        interval: cycles between two observations, at best.
        products: one an input.
        actions: their tables.
    """

    files: dict[str, str]
    lanes: int
    groups: int
    beats: int
    cycles: int
    interval: int
    products: tuple[Product, ...]
    actions: ActionWords

    def ports(self) -> WordPorts:
        """Return what a user of the words must know."""
        return WordPorts(
            top=TOP,
            files=tuple(sorted(self.files)),
            word_bits=WORD_BITS,
            words_per_beat=self.lanes,
            beats_per_core_beat=self.groups,
            beats=self.beats,
            cycles=self.cycles,
            initiation_interval=self.interval,
            sensor_fractions=tuple(product.fraction for product in self.products),
            action_fractions=tuple(self.actions.fractions),
        )


def emit_io(network: IntegerNetwork, core: Core) -> InputOutput:
    """Return the front and the back of ``core``.

    Raises:
        PolicyError: an input has no exact product (see ``fixed_point``).
    """
    products, actions = input_products(network), action_words(network)
    groups, lanes = split(core.codes_per_beat)
    beats = core.beats * groups
    since_last_beat = core.cycles - (core.beats - 1)
    cycles = beats - 1 + FRONT_CYCLES + since_last_beat + BACK_CYCLES
    interval = max(beats, (core.beats - 1) * groups + core.gap)
    front = _front(network, core, products, lanes, groups)
    files = {
        "qpolicy_quantiser.v": front,
        "qpolicy_actions.v": _back(network, actions),
        f"{TOP}.v": _top(network, core, lanes),
    }
    return InputOutput(files, lanes, groups, beats, cycles, interval, products, actions)


def part_beside(network: IntegerNetwork, part: Part) -> Part:
    """Return what is left of ``part`` for the core: a lane takes a DSP, an action half a RAM.

    Raises:
        PolicyError: an input has no exact product (see ``fixed_point``).
    """
    lanes = lanes_of(input_products(network), *bus_beats(network), network.input_bits)
    rams = -(-network.weights[-1].shape[0] // 2)
    lut = part.lut - round(sum(lane.tables for lane in lanes) * part.lut_cost)
    return replace(part, lut=lut, dsp=part.dsp - len(lanes), bram36=part.bram36 - rams)


def word_places(io: WordPorts, core_codes: int, inputs: int) -> list[int]:
    """Return for each input its place among an observation's words, ``words_per_beat`` a beat.

    Args:
        io: the manifest's ``io``.
        core_codes: the manifest's ``codes_per_beat``.
        inputs: how many there are.
    """
    padded = io.words_per_beat * io.beats_per_core_beat
    return [i // core_codes * padded + i % core_codes for i in range(inputs)]


def _front(
    network: IntegerNetwork, core: Core, products: tuple[Product, ...], lanes: int, groups: int
) -> str:
    """Return the quantiser's modules: one a lane, and the pipeline around them."""
    bits, beats = network.input_bits, core.beats * groups
    phase_bits = max(1, (beats - 1).bit_length())
    lines = []
    for at, lane in enumerate(lanes_of(products, core.beats, core.codes_per_beat, bits)):
        lines += _lane(at, lane, bits, phase_bits)
    bus, size = core.codes_per_beat * bits, lanes * bits
    body = [
        registers("full"),
        "    wire go = ~full | m_ready;",
        "    assign s_ready = go;",
        "    assign m_valid = full;",
        *counter("phase", phase_bits, "s_valid & go", f"(phase == {phase_bits}'d{beats - 1})"),
        registers("there", bits=4),
        *clocked("there", "4'd0", "go", "{there[2:0], s_valid}"),
        f"    wire {vector(size)} codes;",
        *(
            f"    qpolicy_lane{lane} lane{lane} (.clk(clk), .go(go), .phase(phase), "
            f".word(s_data[{lane * WORD_BITS} +: {WORD_BITS}]), "
            f".code(codes[{lane * bits} +: {bits}]));"
            for lane in range(lanes)
        ),
        *_collect(groups, size),
        f"    assign m_data = collected{vector(bus)};",
        *_full(groups),
    ]
    ports = stream_ports(lanes * WORD_BITS, bus)
    lines += [
        "// Sensor words to input codes. All stages move together, or wait for the core.",
        *module("qpolicy_quantiser", ports, body),
    ]
    header = "// Lanes and quantiser are one file.\n// verilator lint_off DECLFILENAME\n"
    header += "// verilator lint_off UNUSEDSIGNAL\n"
    return header + "\n".join(lines)


def _collect(groups: int, size: int) -> list[str]:
    """Lines that put the codes of ``groups`` beats of words beside each other."""
    shifted = "codes" if groups == 1 else f"{{codes, collected[{groups * size - 1}:{size}]}}"
    return [
        registers("collected", bits=groups * size),
        f"    always @(posedge clk) if (go & there[3]) collected <= {shifted};",
    ]


def _full(groups: int) -> list[str]:
    """Lines that say when what was collected is a beat of the core."""
    if groups == 1:
        return clocked("full", "1'b0", "go", "there[3] & 1'b1")
    bits = (groups - 1).bit_length()
    last = f"(group == {bits}'d{groups - 1})"
    return [
        *counter("group", bits, "go & there[3]", last),
        *clocked("full", "1'b0", "go", f"there[3] & {last}"),
    ]


def _lane(at: int, lane: Lane, bits: int, phase_bits: int) -> list[str]:
    """Lines of the module of the lane numbered ``at``."""
    constants = lane.constants

    def table(name: str, phase: str) -> list[str]:
        """Lines that register a constant of each beat."""
        size, values = constants[name]
        actions = [f"{name} <= {size}'d{value & ((1 << size) - 1)}" for value in values]
        if len(set(values)) == 1:
            return [f"    always @(posedge clk) if (go) {actions[0]};"]
        cases = {f"{phase_bits}'d{at}": action for at, action in enumerate(actions)}
        return choice("go", phase, cases, actions[-1])

    ports = [
        port("input", "clk"),
        port("input", "go"),
        port("input", "phase", phase_bits),
        port("input", "word", WORD_BITS, signed=True),
        port("output", "code", bits),
    ]
    body = [
        registers("held", bits=WORD_BITS, signed=True),
        registers("factor", bits=FACTOR_BITS, signed=True),
        registers("phase_1", bits=phase_bits),
        registers("product", bits=_PRODUCT_BITS, signed=True),
        registers("offset", bits=lane.sum_bits, signed=True),
        registers("select_2", "select_3", bits=lane.select_bits),
        registers("sum", bits=lane.sum_bits, signed=True),
        registers("value", bits=lane.width, signed=True),
        *_multiply_and_add(lane.zeros),
        *table("factor", "phase"),
        *table("offset", "phase_1"),
        *table("select_2", "phase_1"),
        *_shift(lane),
        *_clip(lane.width, bits),
    ]
    return module(f"qpolicy_lane{at}", ports, body)


def _multiply_and_add(zeros: int) -> list[str]:
    """Lines of what a DSP does: product of word and factor, plus the offset."""
    sign, wider = _PRODUCT_BITS - 1, SUM_BITS - _PRODUCT_BITS
    return [
        "    always @(posedge clk) if (go) begin",
        "        held <= word;",
        "        phase_1 <= phase;",
        "        product <= held * factor;",
        f"        sum <= {{{{{wider}{{product[{sign}]}}}}, product[{sign}:{zeros}]}} + offset;",
        "        select_3 <= select_2;",
        "    end",
    ]


def _shift(lane: Lane) -> list[str]:
    """Lines that take the value's bits from the sum, from one of the lane's places on."""
    cases, sum_bits = {}, lane.sum_bits
    for at, shift in enumerate(lane.shifts):
        low = shift - lane.zeros
        wanted = low + lane.width
        taken = f"sum[{min(wanted, sum_bits) - 1}:{low}]"
        if wanted > sum_bits:  # another input of the lane is wider: the sign fills up
            taken = f"{{{{{wanted - sum_bits}{{sum[{sum_bits - 1}]}}}}, {taken}}}"
        cases[f"{lane.select_bits}'d{at}"] = f"value <= {taken}"
    _, otherwise = cases.popitem()
    return choice("go", "select_3", cases, otherwise)


def _clip(width: int, bits: int) -> list[str]:
    """Lines that limit the value to the codes of ``bits`` bits."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    lowest = f"{bits}'d{low & ((1 << bits) - 1)}"
    return [
        f"    wire under = value < -{width}'sd{-low};",
        f"    wire over = value > {width}'sd{high};",
        f"    assign code = under ? {lowest} : over ? {bits}'d{high} : value{vector(bits)};",
    ]


def _back(network: IntegerNetwork, actions: ActionWords) -> str:
    """Return the module that looks the actions up."""
    count, bits = actions.words.shape[0], network.output_bits
    body = [
        "    wire go = ~m_valid | m_ready;",
        "    assign s_ready = go;",
        registers("there"),
        *clocked("{m_valid, there}", "2'b00", "go", "{there, s_valid}"),
    ]
    for at, row in enumerate(actions.words):
        body += _action(at, row.tolist(), bits)
    ports = stream_ports(count * bits, count * WORD_BITS, valid="reg")
    lines = [
        "// Output codes to action words: one table an action, its output registered.",
        *module("qpolicy_actions", ports, body),
    ]
    return "\n".join(lines)


def _action(at: int, words: list[int], bits: int) -> list[str]:
    """Lines of one action: the table of its words by code, in a block RAM, and a register."""
    mask, sign = (1 << WORD_BITS) - 1, 1 << (bits - 1)
    cases = {
        f"{bits}'d{place ^ sign}": f"entry{at} <= {WORD_BITS}'d{word & mask}"
        for place, word in enumerate(words)
    }
    return [
        f"    wire {vector(bits)} code{at} = s_data[{at * bits} +: {bits}];",
        f'    (* rom_style = "block" *) reg {vector(WORD_BITS)} entry{at};',
        registers(f"word{at}", bits=WORD_BITS),
        *choice("go", f"code{at}", cases, f"entry{at} <= {WORD_BITS}'d0"),
        f"    always @(posedge clk) if (go) word{at} <= entry{at};",
        f"    assign m_data[{at * WORD_BITS} +: {WORD_BITS}] = word{at};",
    ]


def _top(network: IntegerNetwork, core: Core, lanes: int) -> str:
    """Return the module that joins front, core and back."""
    bus = core.codes_per_beat * network.input_bits
    outputs = network.weights[-1].shape[0]
    return f"""\
// The policy from sensor words to action words; manifest.json has their fixed-point formats.
module {TOP} (
    input  wire clk,
    input  wire rst,
    input  wire [{lanes * WORD_BITS - 1}:0] s_data,
    input  wire s_valid,
    output wire s_ready,
    output wire [{outputs * WORD_BITS - 1}:0] m_data,
    output wire m_valid,
    input  wire m_ready
);
    wire [{bus - 1}:0] in_data;
    wire in_valid, in_ready;
    wire [{outputs * network.output_bits - 1}:0] out_data;
    wire out_valid, out_ready;
    qpolicy_quantiser quantiser (
        .clk(clk), .rst(rst), .s_data(s_data), .s_valid(s_valid), .s_ready(s_ready),
        .m_data(in_data), .m_valid(in_valid), .m_ready(in_ready)
    );
    qpolicy_core core (
        .clk(clk), .rst(rst), .s_data(in_data), .s_valid(in_valid), .s_ready(in_ready),
        .m_data(out_data), .m_valid(out_valid), .m_ready(out_ready)
    );
    qpolicy_actions actions (
        .clk(clk), .rst(rst), .s_data(out_data), .s_valid(out_valid), .s_ready(out_ready),
        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready)
    );
endmodule
"""
