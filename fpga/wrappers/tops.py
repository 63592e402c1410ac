"""The top modules: a wrapper with the sizes and the function hash of one generated core."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from qpolicy_fpga.manifest import Manifest
from qpolicy_ros.backends.fpga.registers import check_sizes
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.common.files import write_atomically

RTL = Path(__file__).with_name("rtl")


class Sizes(NamedTuple):
    """What a wrapper must know of its core.

    ``ranges`` is the name of what its supervisor compares with, empty without one.
    """

    n: int
    b_in: int
    codes_per_beat: int
    beats: int
    m: int
    b_out: int
    function_hash: str
    ranges: str = ""

    @classmethod
    def of(cls, manifest: Manifest) -> Sizes:
        """Take the sizes from a generated folder's manifest."""
        return cls(*(getattr(manifest, name) for name in cls._fields))

    def parameters(self) -> str:
        """Return the wrapper's parameters in Verilog."""
        values = self._asdict() | {"function_hash": f"128'h{self.function_hash[:32]}"}
        del values["ranges"]
        if self.ranges:
            values["supervised"] = f"32'h{self.ranges}"
        return ", ".join(f".{name.upper()}({value})" for name, value in values.items())


class Wrapper(NamedTuple):
    """A wrapper: its modules and the ports of its top, in Verilog."""

    module: str
    files: tuple[str, ...]
    ports: tuple[tuple[str, str], ...]  # (direction and range, name)
    parameters: tuple[str, ...] = ()  # further ones, passed on by the top, "NAME = default"


_AXI_LITE_PORTS = (
    ("input  wire       ", "s_axi_aclk"),
    ("input  wire       ", "s_axi_aresetn"),
    ("input  wire [11:0]", "s_axi_awaddr"),
    ("input  wire [2:0] ", "s_axi_awprot"),
    ("input  wire       ", "s_axi_awvalid"),
    ("output wire       ", "s_axi_awready"),
    ("input  wire [31:0]", "s_axi_wdata"),
    ("input  wire [3:0] ", "s_axi_wstrb"),
    ("input  wire       ", "s_axi_wvalid"),
    ("output wire       ", "s_axi_wready"),
    ("output wire [1:0] ", "s_axi_bresp"),
    ("output wire       ", "s_axi_bvalid"),
    ("input  wire       ", "s_axi_bready"),
    ("input  wire [11:0]", "s_axi_araddr"),
    ("input  wire [2:0] ", "s_axi_arprot"),
    ("input  wire       ", "s_axi_arvalid"),
    ("output wire       ", "s_axi_arready"),
    ("output wire [31:0]", "s_axi_rdata"),
    ("output wire [1:0] ", "s_axi_rresp"),
    ("output wire       ", "s_axi_rvalid"),
    ("input  wire       ", "s_axi_rready"),
    ("output wire       ", "irq"),
)

WRAPPERS = {
    "axi_lite": Wrapper(
        "qpolicy_axi_lite",
        ("qpolicy_axi_lite.v", "qpolicy_sequencer.v", "qpolicy_input_memory.v"),
        _AXI_LITE_PORTS,
    ),
    "axi_stream": Wrapper(
        "qpolicy_axi_stream",
        ("qpolicy_axi_stream.v",),
        (
            ("input  wire                ", "aclk"),
            ("input  wire                ", "aresetn"),
            ("input  wire [IN_WIDTH-1:0] ", "s_axis_tdata"),
            ("input  wire                ", "s_axis_tvalid"),
            ("output wire                ", "s_axis_tready"),
            ("input  wire                ", "s_axis_tlast"),
            ("output wire [OUT_WIDTH-1:0]", "m_axis_tdata"),
            ("output wire                ", "m_axis_tvalid"),
            ("input  wire                ", "m_axis_tready"),
            ("output wire                ", "m_axis_tlast"),
            ("output wire [31:0]         ", "malformed"),
            ("output wire [127:0]        ", "function_hash"),
        ),
        ("IN_WIDTH = {in_width}", "OUT_WIDTH = {out_width}"),
    ),
    "uart": Wrapper(
        "qpolicy_uart",
        (
            "qpolicy_uart.v",
            "qpolicy_uart_rx.v",
            "qpolicy_uart_tx.v",
            "qpolicy_crc16.v",
            "qpolicy_sequencer.v",
            "qpolicy_input_memory.v",
        ),
        (
            ("input  wire", "clk"),
            ("input  wire", "rst"),
            ("input  wire", "rx"),
            ("output wire", "tx"),
            ("output wire", "active"),
        ),
        ("CLKS_PER_BIT = 100", "BYTE_LIMIT = 2000000", "CORE_LIMIT = 1000000"),
    ),
}

SUPERVISED = ("axi_lite", "uart")  # those that tell what a supervisor counts


def top_name(kind: str) -> str:
    """Return the name of the top module of wrapper ``kind``."""
    return f"qpolicy_{kind}_top"


def write_wrapper(kind: str, sizes: Sizes, folder: Path) -> list[Path]:
    """Write wrapper ``kind`` for a core of these sizes into ``folder``; the top's file comes first.

    Raises:
        PolicyError: the core's sizes do not fit into the register map, or the wrapper cannot
            tell what the core's supervisor counts.
    """
    if sizes.ranges and kind not in SUPERVISED:
        wrong = f"{kind} has no registers to read a supervisor by"
        remedy = f"take {' or '.join(SUPERVISED)}, or generate without --supervise"
        raise PolicyError.at("", "wrapper", wrong, remedy)
    problem = kind == "axi_lite" and check_sizes(
        sizes.n, sizes.b_in, sizes.codes_per_beat, sizes.m, sizes.b_out
    )
    if problem:
        raise PolicyError.at("", "wrapper", problem, "use a narrower policy or the stream wrapper")
    wrapper = WRAPPERS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{top_name(kind)}.v": top(kind, sizes)}
    for name in (*wrapper.files, "qpolicy_registers.vh"):
        texts[name] = (RTL / name).read_text(encoding="utf-8")
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts if name.endswith(".v")]


def widths(sizes: Sizes) -> dict[str, int]:
    """Return the bits of the stream wrapper's transfers in and out: whole bytes."""
    return {
        "in_width": -(-sizes.codes_per_beat * sizes.b_in // 8) * 8,
        "out_width": -(-sizes.m * sizes.b_out // 8) * 8,
    }


def top(kind: str, sizes: Sizes) -> str:
    """Return the Verilog of the top module of wrapper ``kind``."""
    wrapper = WRAPPERS[kind]
    ports = ",\n".join(f"    {direction} {name}" for direction, name in wrapper.ports)
    names = [parameter.partition("=")[0].strip() for parameter in wrapper.parameters]
    given = sizes.parameters() + "".join(f", .{name}({name})" for name in names)
    texts = [parameter.format_map(widths(sizes)) for parameter in wrapper.parameters]
    head = "".join(f"    parameter {text},\n" for text in texts)
    head = f" #(\n{head[:-2]}\n)" if head else ""
    wires = ",\n".join(f"        .{name}({name})" for _, name in wrapper.ports)
    return (
        f"// Generated: {wrapper.module} with the sizes of one policy's core.\n"
        f"`default_nettype none\nmodule {top_name(kind)}{head} (\n{ports}\n);\n"
        f"    {wrapper.module} #(\n        {given}\n    ) wrapper (\n{wires}\n    );\n"
        "endmodule\n`default_nettype wire\n"
    )
