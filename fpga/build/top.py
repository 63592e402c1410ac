"""What stands around the serial wrapper on a board: clock, reset, pins."""

from __future__ import annotations

from qpolicy_fpga.build.boards import Board
from qpolicy_fpga.plan.devices import find_part

TOP = "qpolicy_board"
WRAPPER = "controller.wrapper"  # of the serial line, within the top
CORE = f"{WRAPPER}.core"
BAUD = 1_000_000
BYTE_LIMIT_S, CORE_LIMIT_S = 0.020, 0.010
PLL = "qpolicy_pll"
# Ports of the clock generator that each family's own tool writes: in, out, locked.
PLL_PORTS = {
    "ecp5": ("clkin", "clkout0", "locked"),
    "ice40": ("clock_in", "clock_out", "locked"),
    "gowin": ("clock_in", "clock_out", "locked"),
}


def baud_divider(clock_mhz: float) -> int:
    """Clock cycles of a bit on the serial line, at about ``BAUD``."""
    return max(4, round(clock_mhz * 1e6 / BAUD))


def board_top(board: Board, clock_mhz: float) -> str:
    """Return the Verilog of module ``TOP``: the serial wrapper with the board's clock and pins."""
    family = find_part(board.part).family
    high = "".join(f",\n    output wire {name}" for name in board.high)
    invert = {signal: "~" if signal in board.low else "" for signal in ("button", "light")}
    lines = [
        f"// Generated: the policy behind the serial line of the {board.title}.",
        "`default_nettype none",
        f"module {TOP} (",
        "    input  wire clock,",
        "    input  wire button,  // resets while it is pressed",
        "    input  wire rx,      // from the host",
        "    output wire tx,      // to the host",
        f"    output wire light{high}",
        ");",
    ]
    if clock_mhz == board.oscillator_mhz:
        lines += ["    wire clk = clock;", "    wire locked = 1'b1;"]
    else:
        given, made, locked = PLL_PORTS[family]
        lines += [
            "    wire clk, locked;",
            f"    {PLL} pll (.{given}(clock), .{made}(clk), .{locked}(locked));",
        ]
    lines += [
        "    // Registers start at 0 when the part is configured; reset ends 15 cycles later.",
        "    reg [1:0] pressed;",
        "    reg [3:0] up;",
        "    reg rst;",
        "    initial begin",
        "        pressed = 2'd0;",
        "        up = 4'd0;",
        "        rst = 1'b0;",
        "    end",
        "    wire working = &up;",
        "    always @(posedge clk) begin",
        f"        pressed <= {{pressed[0], {invert['button']}button}};",
        "        if (pressed[1] | ~locked) up <= 4'd0;",
        "        else if (~working) up <= up + 4'd1;",
        "    end",
        "    always @(posedge clk) rst <= ~working;",
        "    wire active;",
        "    qpolicy_uart_top #(",
        f"        .CLKS_PER_BIT({baud_divider(clock_mhz)}),",
        f"        .BYTE_LIMIT({round(BYTE_LIMIT_S * clock_mhz * 1e6)}),",
        f"        .CORE_LIMIT({round(CORE_LIMIT_S * clock_mhz * 1e6)})",
        "    ) controller (",
        "        .clk(clk), .rst(rst), .rx(rx), .tx(tx), .active(active)",
        "    );",
        f"    assign light = {invert['light']}active;",
        *(f"    assign {name} = 1'b1;" for name in board.high),
        "endmodule",
        "`default_nettype wire",
        "",
    ]
    return "\n".join(lines)


def constraints(board: Board) -> str:
    """Return the pins in the language of the board's family."""
    write = {"ecp5": _lpf, "ice40": _pcf, "gowin": _cst, "xc7": _xdc}
    return "\n".join([*write[find_part(board.part).family](board), ""])


def _pull(board: Board, signal: str) -> str:
    """Which way an input goes when nothing drives it: a line rests high, a button is let go."""
    if signal == "rx" or (signal == "button" and "button" in board.low):
        return "UP"
    return "DOWN" if signal == "button" else ""


def _all_pins(board: Board) -> dict[str, str]:
    return {**board.pins, **board.high}


def _lpf(board: Board) -> list[str]:
    lines = [f'FREQUENCY PORT "clock" {board.oscillator_mhz:g} MHZ;']
    for name, pin in _all_pins(board).items():
        standard, pull = board.standards.get(name), _pull(board, name)
        options = f"IO_TYPE={standard or 'LVCMOS33'}"
        options += f" PULLMODE={pull}" if pull and not standard else ""
        lines += [f'LOCATE COMP "{name}" SITE "{pin}";', f'IOBUF PORT "{name}" {options};']
    return lines


def _pcf(board: Board) -> list[str]:
    lines = []
    for name, pin in _all_pins(board).items():
        up = "-pullup yes " if _pull(board, name) == "UP" else ""
        lines.append(f"set_io {up}{name} {pin}")
    return [*lines, f"set_frequency clock {board.oscillator_mhz:g}"]


def _cst(board: Board) -> list[str]:
    lines = []
    for name, pin in _all_pins(board).items():
        pull = _pull(board, name)
        options = "IO_TYPE=LVCMOS33" + (f" PULL_MODE={pull}" if pull else "")
        lines += [f'IO_LOC "{name}" {pin};', f'IO_PORT "{name}" {options};']
    return lines


def _xdc(board: Board) -> list[str]:
    lines = [
        f"set_property -dict {{PACKAGE_PIN {pin} IOSTANDARD LVCMOS33}} [get_ports {name}]"
        for name, pin in _all_pins(board).items()
    ]
    period = 1000 / board.oscillator_mhz
    return [*lines, f"create_clock -name clock -period {period:.3f} [get_ports clock]"]
