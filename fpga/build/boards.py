"""The boards: what part is on them, its clock, and the pins of its serial line.

Pins are those of the boards' published constraint files: emard/ulx3s (``ulx3s_v20.lpf``),
orangecrab-fpga/orangecrab-examples (r0.2), icebreaker-fpga (``icebreaker.pcf``),
sipeed/TangNano-20K-example, Digilent/digilent-xdc (Arty A7).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qpolicy_ros.common.errors import InputError

SIGNALS = ("clock", "rx", "tx", "light", "button")


@dataclass(frozen=True)
class Board:
    """One board.

    Attributes:
        name: as on the command line.
        title: as its maker writes it.
        part: one of ``devices.PARTS``.
        package: of the part, as the place-and-route tool of its family names it.
        speed: speed grade, as that tool names it; empty if the package says it.
        oscillator_mhz: of the clock pin.
        clock_mhz: clock of the core unless another is asked for.
        pins: pin of each of ``SIGNALS``; rx comes from the host, tx goes to it.
        low: signals that mean yes when low.
        high: pins that are held high, by name.
        loader: options of openFPGALoader that find the board.
        line: which device the serial line is for the host.
        standards: of pins that are not LVCMOS33, by signal.
    """

    name: str
    title: str
    part: str
    package: str
    speed: str
    oscillator_mhz: float
    clock_mhz: float
    pins: Mapping[str, str]
    low: frozenset[str]
    loader: str
    line: str
    high: Mapping[str, str] = field(default_factory=dict)
    standards: Mapping[str, str] = field(default_factory=dict)


def _pins(clock: str, rx: str, tx: str, light: str, button: str) -> dict[str, str]:
    return dict(zip(SIGNALS, (clock, rx, tx, light, button), strict=True))


_ULX3S = Board(
    name="ulx3s-25f",
    title="ULX3S 25F",
    part="ecp5-25f",
    package="CABGA381",
    speed="6",
    oscillator_mhz=25.0,
    clock_mhz=50.0,
    pins=_pins("G2", "M1", "L4", "B2", "R1"),
    low=frozenset(),
    # The ESP32 on it reads this pin and restarts the board where it is low.
    high={"wifi_gpio0": "L2"},
    loader="--board ulx3s",
    line="the board's USB port US1",
)
_ARTY = Board(
    name="arty-a7-35t",
    title="Arty A7-35T",
    part="xc7a35t",
    package="csg324",
    speed="1",
    oscillator_mhz=100.0,
    clock_mhz=100.0,
    pins=_pins("E3", "A9", "D10", "H5", "C2"),
    low=frozenset({"button"}),
    loader="--board arty_a7_35t",
    line="the second of the board's two USB serial ports",
)
BOARDS = {
    board.name: board
    for board in (
        _ULX3S,
        replace(_ULX3S, name="ulx3s-85f", title="ULX3S 85F", part="ecp5-85f"),
        Board(
            name="orangecrab",
            title="OrangeCrab r0.2",
            part="ecp5-25f",
            package="CSFBGA285",
            speed="8",
            oscillator_mhz=48.0,
            clock_mhz=48.0,
            pins=_pins("A9", "N17", "M18", "M3", "J17"),
            low=frozenset({"light", "button"}),
            standards={"button": "SSTL135_I"},
            loader="--board orangeCrab",
            line="a 3.3 V serial adapter: its TX on pin 0 (RX), its RX on pin 1 (TX)",
        ),
        Board(
            name="icebreaker",
            title="iCEBreaker",
            part="ice40-up5k",
            package="sg48",
            speed="",
            oscillator_mhz=12.0,
            clock_mhz=12.0,
            pins=_pins("35", "6", "9", "37", "10"),
            low=frozenset({"light", "button"}),
            loader="--board ice40_generic",
            line="the second of the board's two USB serial ports",
        ),
        Board(
            name="tang-nano-20k",
            title="Tang Nano 20K",
            part="gw2ar-18",
            package="GW2AR-LV18QN88C8/I7",
            speed="",
            oscillator_mhz=27.0,
            clock_mhz=27.0,
            pins=_pins("4", "70", "69", "15", "88"),
            low=frozenset({"light"}),
            loader="--board tangnano20k",
            line="the second of the board's two USB serial ports",
        ),
        _ARTY,
        replace(
            _ARTY,
            name="arty-a7-100t",
            title="Arty A7-100T",
            part="xc7a100t",
            loader="--board arty_a7_100t",
        ),
    )
}


def find_board(name: str) -> Board:
    """Return the board called ``name``.

    Raises:
        InputError: there is none; names the nearest.
    """
    board = BOARDS.get(name.lower())
    if board is None:
        near = difflib.get_close_matches(name.lower(), BOARDS, 1, 0.5)
        remedy = f"did you mean {near[0]}? There are" if near else "choose one of"
        raise InputError.at("", "board", f"{name!r} is none", f"{remedy} {', '.join(BOARDS)}")
    return board


def with_pins(board: Board, changes: Mapping[str, str]) -> Board:
    """Return ``board`` with other pins for some signals.

    Raises:
        InputError: a signal is none, or a pin is used twice.
    """
    for signal in changes:
        if signal not in SIGNALS:
            wrong, remedy = f"{signal!r} is no signal", f"choose of {', '.join(SIGNALS)}"
            raise InputError.at("", "pin", wrong, remedy)
    pins = {**board.pins, **changes}
    users: dict[str, str] = {}
    for signal, pin in {**board.high, **pins}.items():
        if pin in users:
            wrong = f"{pin} is used twice, for {users[pin]} and for {signal}"
            raise InputError.at("", "pin", wrong, f"give another pin, --pin {signal}=PIN")
        users[pin] = signal
    return replace(board, pins=pins)
