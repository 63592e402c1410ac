"""Front and back of the core in fabric: sensor words to input codes, output codes to action words.

``qpolicy_io`` is the whole: words in, words out. The front multiplies, adds, shifts and clips
(``fixed_point``), a lane a DSP, inputs that share a lane in turn; the back looks actions up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qpolicy_fpga.manifest import WordPorts
from qpolicy_fpga.plan.fixed_point import HIGHEST, LOWEST, WORD_BITS, action_words, input_products
from qpolicy_fpga.plan.layer import BUS_BITS, bus_beats

if TYPE_CHECKING:
    from qpolicy_fpga.emit.timing import Core
    from qpolicy_fpga.plan.devices import Part
    from qpolicy_fpga.plan.fixed_point import ActionWords, Product
    from qpolicy_ros.policy import IntegerNetwork

MAX_LANES = BUS_BITS // WORD_BITS
FRONT_CYCLES, BACK_CYCLES = 5, 2
TOP = "qpolicy_io"
_SUM_BITS = 48  # of a DSP


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
    groups, lanes = _lanes(core.codes_per_beat)
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
    """Return what is left of ``part`` for the core: a lane takes a DSP, an action half a RAM."""
    _, lanes = _lanes(bus_beats(network)[1])
    rams = -(-network.weights[-1].shape[0] // 2)
    return replace(part, dsp=part.dsp - lanes, bram36=part.bram36 - rams)


def _lanes(codes: int) -> tuple[int, int]:
    """Return beats of words for ``codes`` codes, a beat of the core, and words of such a beat."""
    groups = -(-codes // MAX_LANES)
    return groups, -(-codes // groups)


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
    text = []
    for lane in range(lanes):
        served = []
        for beat in range(beats):
            at = beat % groups * lanes + lane
            index = beat // groups * core.codes_per_beat + at
            real = at < core.codes_per_beat and index < len(products)
            served.append(products[index] if real else None)
        text.append(_lane(lane, served, bits, phase_bits))
    group_bits = max(1, (groups - 1).bit_length())
    bus = core.codes_per_beat * bits
    size = lanes * bits
    shifted = "codes" if groups == 1 else f"{{codes, collected[{groups * size - 1}:{size}]}}"
    last = "1'b1" if groups == 1 else f"(group == {group_bits}'d{groups - 1})"
    lines = [
        "// Sensor words to input codes. All stages move together, or wait for the core.",
        "module qpolicy_quantiser (",
        "    input  wire clk,",
        "    input  wire rst,",
        f"    input  wire [{lanes * WORD_BITS - 1}:0] s_data,",
        "    input  wire s_valid,",
        "    output wire s_ready,",
        f"    output wire [{bus - 1}:0] m_data,",
        "    output wire m_valid,",
        "    input  wire m_ready",
        ");",
        "    reg full;",
        "    wire go = ~full | m_ready;",
        "    assign s_ready = go;",
        "    assign m_valid = full;",
        f"    reg [{phase_bits - 1}:0] phase;",
        "    always @(posedge clk) begin",
        f"        if (rst) phase <= {phase_bits}'d0;",
        "        else if (s_valid & go)",
        (
            f"            phase <= (phase == {phase_bits}'d{beats - 1}) ? {phase_bits}'d0 "
            f": phase + {phase_bits}'d1;"
        ),
        "    end",
        "    reg [3:0] there;",
        "    always @(posedge clk) begin",
        "        if (rst) there <= 4'd0;",
        "        else if (go) there <= {there[2:0], s_valid};",
        "    end",
        f"    wire [{size - 1}:0] codes;",
        *(
            f"    qpolicy_lane{lane} lane{lane} (.clk(clk), .go(go), .phase(phase), "
            f".word(s_data[{lane * WORD_BITS} +: {WORD_BITS}]), "
            f".code(codes[{lane * bits} +: {bits}]));"
            for lane in range(lanes)
        ),
        f"    reg [{groups * size - 1}:0] collected;",
        f"    always @(posedge clk) if (go & there[3]) collected <= {shifted};",
        f"    assign m_data = collected[{bus - 1}:0];",
    ]
    if groups > 1:
        lines += [
            f"    reg [{group_bits - 1}:0] group;",
            "    always @(posedge clk) begin",
            f"        if (rst) group <= {group_bits}'d0;",
            "        else if (go & there[3])",
            f"            group <= {last} ? {group_bits}'d0 : group + {group_bits}'d1;",
            "    end",
        ]
    lines += [
        "    always @(posedge clk) begin",
        "        if (rst) full <= 1'b0;",
        f"        else if (go) full <= there[3] & {last};",
        "    end",
        "endmodule",
        "",
    ]
    header = "// Lanes and quantiser are one file.\n// verilator lint_off DECLFILENAME\n"
    header += "// verilator lint_off UNUSEDSIGNAL\n"
    return header + "\n".join([*text, *lines])


def _lane(lane: int, served: list[Product | None], bits: int, phase_bits: int) -> str:
    """Return the module of one lane; in beat ``p`` it serves ``served[p]``."""
    real = [product for product in served if product is not None]
    shifts = sorted({product.shift for product in real})
    ends = [int(v) for product in real for v in product.values([LOWEST, HIGHEST])]
    width = max(max(abs(end) for end in ends).bit_length() + 1, bits + 1)
    select_bits = max(1, (len(shifts) - 1).bit_length())
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    # Below the last place of any offset nothing is added and nothing is looked at.
    zeros = min(product.zeros for product in real)
    wider = _SUM_BITS - WORD_BITS - 25
    sum_bits = _SUM_BITS - zeros

    def table(name: str, size: int, phase: str, values: list[int]) -> list[str]:
        """Lines that register a constant of each beat."""
        mask = (1 << size) - 1
        if len(set(values)) == 1:
            return [f"    always @(posedge clk) if (go) {name} <= {size}'d{values[0] & mask};"]
        return [
            "    always @(posedge clk) if (go)",
            f"        case ({phase})",
            *(
                f"            {phase_bits}'d{at}: {name} <= {size}'d{value & mask};"
                for at, value in enumerate(values)
            ),
            f"            default: {name} <= {size}'d{values[-1] & mask};",
            "        endcase",
        ]

    filled = [product or real[0] for product in served]
    slices = []
    for at, shift in enumerate(shifts):
        low_bit, wanted = shift - zeros, shift - zeros + width
        bits_there = f"sum[{min(wanted, sum_bits) - 1}:{low_bit}]"
        if wanted > sum_bits:  # another input of the lane is wider: the sign fills up
            bits_there = f"{{{{{wanted - sum_bits}{{sum[{sum_bits - 1}]}}}}, {bits_there}}}"
        slices.append(f"{select_bits}'d{at}: value <= {bits_there};")
    return "\n".join(
        [
            f"module qpolicy_lane{lane} (",
            "    input  wire clk,",
            "    input  wire go,",
            f"    input  wire [{phase_bits - 1}:0] phase,",
            f"    input  wire signed [{WORD_BITS - 1}:0] word,",
            f"    output wire [{bits - 1}:0] code",
            ");",
            f"    reg signed [{WORD_BITS - 1}:0] held;",
            "    reg signed [24:0] factor;",
            f"    reg [{phase_bits - 1}:0] phase_1;",
            f"    reg signed [{WORD_BITS + 24}:0] product;",
            f"    reg signed [{sum_bits - 1}:0] offset;",
            f"    reg [{select_bits - 1}:0] select_2, select_3;",
            f"    reg signed [{sum_bits - 1}:0] sum;",
            f"    reg signed [{width - 1}:0] value;",
            "    always @(posedge clk) if (go) begin",
            "        held <= word;",
            "        phase_1 <= phase;",
            "        product <= held * factor;",
            (
                f"        sum <= {{{{{wider}{{product[{WORD_BITS + 24}]}}}}, "
                f"product[{WORD_BITS + 24}:{zeros}]}} + offset;"
            ),
            "        select_3 <= select_2;",
            "    end",
            *table("factor", 25, "phase", [product.factor for product in filled]),
            *table("offset", sum_bits, "phase_1", [product.offset >> zeros for product in filled]),
            *table("select_2", select_bits, "phase_1", [shifts.index(p.shift) for p in filled]),
            "    always @(posedge clk) if (go)",
            "        case (select_3)",
            *(f"            {line}" for line in slices[:-1]),
            f"            default: {slices[-1].partition(': ')[2]}",
            "        endcase",
            f"    wire under = value < -{width}'sd{-low};",
            f"    wire over = value > {width}'sd{high};",
            (
                f"    assign code = under ? {bits}'d{low & ((1 << bits) - 1)} "
                f": over ? {bits}'d{high} : value[{bits - 1}:0];"
            ),
            "endmodule",
            "",
        ]
    )


def _back(network: IntegerNetwork, actions: ActionWords) -> str:
    """Return the module that looks the actions up."""
    count, bits = actions.words.shape[0], network.output_bits
    mask, sign = (1 << WORD_BITS) - 1, 1 << (bits - 1)
    lines = [
        "// Output codes to action words: one table an action, its output registered.",
        "module qpolicy_actions (",
        "    input  wire clk,",
        "    input  wire rst,",
        f"    input  wire [{count * bits - 1}:0] s_data,",
        "    input  wire s_valid,",
        "    output wire s_ready,",
        f"    output wire [{count * WORD_BITS - 1}:0] m_data,",
        "    output reg  m_valid,",
        "    input  wire m_ready",
        ");",
        "    wire go = ~m_valid | m_ready;",
        "    assign s_ready = go;",
        "    reg there;",
        "    always @(posedge clk) begin",
        "        if (rst) {m_valid, there} <= 2'b00;",
        "        else if (go) {m_valid, there} <= {there, s_valid};",
        "    end",
    ]
    for at, row in enumerate(actions.words):
        lines += [
            f"    wire [{bits - 1}:0] code{at} = s_data[{at * bits} +: {bits}];",
            f'    (* rom_style = "block" *) reg [{WORD_BITS - 1}:0] entry{at};',
            f"    reg [{WORD_BITS - 1}:0] word{at};",
            "    always @(posedge clk) if (go)",
            f"        case (code{at})",
            *(
                f"            {bits}'d{place ^ sign}: entry{at} <= {WORD_BITS}'d{word & mask};"
                for place, word in enumerate(row.tolist())
            ),
            f"            default: entry{at} <= {WORD_BITS}'d0;",
            "        endcase",
            f"    always @(posedge clk) if (go) word{at} <= entry{at};",
            f"    assign m_data[{at * WORD_BITS} +: {WORD_BITS}] = word{at};",
        ]
    return "\n".join([*lines, "endmodule", ""])


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
