"""What the supported parts hold, as their makers' data sheets list it.

Xilinx DS180 and DS190, Lattice FPGA-DS-02012 (ECP5) and FPGA-DS-02008 (iCE40 UltraPlus), Gowin
DS226 (GW2AR-18).
"""

from __future__ import annotations

from dataclasses import dataclass

from qpolicy_ros.policy import PolicyError


@dataclass(frozen=True)
class Part:
    """Resources of one device.

    Attributes:
        name: short name, as on the command line.
        device: full name, as the tools of its maker want it.
        lut: look-up tables, of six inputs in the 7 series, of four elsewhere.
        ff: flip-flops.
        carry4: carry chains of four bits.
        bram36: block RAMs of 36 Kbit, or as many smaller ones as hold that.
        dsp: multipliers of 25 x 18 bits, or as many smaller ones as make that.
        family: ``xc7``, ``ecp5``, ``ice40`` or ``gowin``.
        lut_cost: look-up tables of this part for one 6-input table of the estimate, at most;
            fitted to synthesised policies (docs/fpga/bitstreams.md).
        folded_cost: the same in a layer whose trees serve several neurons in turn: its tables use
            all six inputs, and one of six takes four of four.
        slowdown: how much slower than the 7 series a routed path is: forms are chosen and
            registers set as for a clock that much faster. Fitted to routed policies.
    """

    name: str
    device: str
    lut: int
    ff: int
    carry4: int
    bram36: int
    dsp: int
    family: str = "xc7"
    lut_cost: float = 1.0
    folded_cost: float = 1.0
    slowdown: float = 1.0


LUT4_COST, _FOLDED_LUT4_COST = 2.5, 3.3  # of ``Part``, where tables have four inputs


# Two look-up tables of four inputs share a carry cell of two bits: carry4 is a quarter of lut.
def _lut4(name: str, device: str, cells: tuple[int, int, float, int], slowdown: float) -> Part:
    """A part of look-up tables of four inputs; ``cells``: tables, flip-flops, block RAM, DSP."""
    lut, ff, bram36, dsp = cells
    family = {"e": "ecp5", "i": "ice40", "g": "gowin"}[name[0]]
    costs = (LUT4_COST, _FOLDED_LUT4_COST)
    return Part(name, device, lut, ff, lut // 4, int(bram36), dsp, family, *costs, slowdown)


_ECP5, _ICE40, _GOWIN = 2.0, 4.0, 2.0
PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("xc7a15t", "xc7a15tcpg236-1", 10_400, 20_800, 2_600, 25, 45),
        Part("xc7a35t", "xc7a35ticsg324-1L", 20_800, 41_600, 5_200, 50, 90),
        Part("xc7a100t", "xc7a100tcsg324-1", 63_400, 126_800, 15_850, 135, 240),
        Part("xc7z020", "xc7z020clg400-1", 53_200, 106_400, 13_300, 140, 220),
        _lut4("ecp5-25f", "LFE5U-25F", (24_288, 24_288, 28, 14), _ECP5),
        _lut4("ecp5-45f", "LFE5U-45F", (43_848, 43_848, 54, 36), _ECP5),
        _lut4("ecp5-85f", "LFE5U-85F", (83_640, 83_640, 104, 78), _ECP5),
        _lut4("ice40-up5k", "iCE40UP5K", (5_280, 5_280, 3, 2), _ICE40),
        _lut4("gw2ar-18", "GW2AR-18C", (20_736, 15_552, 23, 24), _GOWIN),
    )
}


def find_part(name: str) -> Part:
    """Return the part called ``name``.

    Raises:
        PolicyError: there is no such part; lists the known ones.
    """
    part = PARTS.get(name.lower())
    if part is None:
        raise PolicyError(f"part: {name!r} is not known; choose one of {', '.join(PARTS)}")
    return part
