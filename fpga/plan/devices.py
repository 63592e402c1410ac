"""What the supported parts hold, as Xilinx's data sheets DS180 and DS190 list it."""

from __future__ import annotations

from dataclasses import dataclass

from qpolicy_ros.policy import PolicyError


@dataclass(frozen=True)
class Part:
    """Resources of one device of the 7 series.

    Attributes:
        name: short name, as on the command line.
        device: full name with package and speed grade, as Vivado wants it.
        lut: 6-input look-up tables.
        ff: flip-flops.
        carry4: carry chains of four bits, one a slice.
        bram36: block RAMs of 36 Kbit.
        dsp: DSP48E1 slices.
    """

    name: str
    device: str
    lut: int
    ff: int
    carry4: int
    bram36: int
    dsp: int


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("xc7a15t", "xc7a15tcpg236-1", 10_400, 20_800, 2_600, 25, 45),
        Part("xc7a35t", "xc7a35ticsg324-1L", 20_800, 41_600, 5_200, 50, 90),
        Part("xc7a100t", "xc7a100tcsg324-1", 63_400, 126_800, 15_850, 135, 240),
        Part("xc7z020", "xc7z020clg400-1", 53_200, 106_400, 13_300, 140, 220),
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
