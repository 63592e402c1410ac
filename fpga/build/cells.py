"""Cells of a core on parts of other makers than Xilinx, as Yosys counts them."""

from __future__ import annotations

import math
from collections.abc import Mapping

SYNTHESIS = {
    "ecp5": "synth_ecp5",
    "ice40": "synth_ice40 -device u -dsp",
    "gowin": "synth_gowin -family gw2a -noiopads",
}
# Tables, flip-flops, carries of four bits, block RAM of 36 Kbit, multipliers of 25 x 18 bits: how
# much of each a cell counts for. A wide multiplexer lies beside the tables that it chooses from.
_WEIGHTS: dict[str, tuple[float, float, float, float, float]] = {
    **{f"LUT{size}": (1, 0, 0, 0, 0) for size in range(1, 5)},
    "CCU2C": (2, 0, 0.5, 0, 0),
    "TRELLIS_DPR16X4": (6, 0, 0, 0, 0),
    "TRELLIS_FF": (0, 1, 0, 0, 0),
    "DP16KD": (0, 0, 0, 0.5, 0),
    "PDPW16KD": (0, 0, 0, 0.5, 0),
    "MULT18X18D": (0, 0, 0, 0, 0.5),
    "SB_LUT4": (1, 0, 0, 0, 0),
    "SB_CARRY": (0, 0, 0.25, 0, 0),
    "SB_RAM40_4K": (0, 0, 0, 1 / 9, 0),
    "SB_MAC16": (0, 0, 0, 0, 0.25),
    "ALU": (1, 0, 0.25, 0, 0),
    "pROM": (0, 0, 0, 0.5, 0),
    "SDPB": (0, 0, 0, 0.5, 0),
    "MULT18X18": (0, 0, 0, 0, 0.5),
}
_FLIP_FLOPS = ("SB_DFF", "DFF")
_NAMES = ("lut", "ff", "carry4", "bram36", "dsp")
# The ring of results becomes registers with their names, by which a routed core is proved; as
# distributed memory it would keep none, and it is a few words. Commands of Yosys, after hierarchy.
RING_AS_REGISTERS = (
    "proc",
    "memory_collect",
    "select -set ring *qpolicy_results*/t:$mem_v2",
    "memory_map @ring",
)


def count(cells: Mapping[str, int]) -> dict[str, float]:
    """Return resources, in the estimate's units, of cells by their type."""
    totals = [0.0] * len(_NAMES)
    for kind, number in cells.items():
        weights = _WEIGHTS.get(kind)
        if weights is None and kind.startswith(_FLIP_FLOPS):
            weights = (0, 1, 0, 0, 0)
        for at, weight in enumerate(weights or ()):
            totals[at] += weight * number
    found = dict(zip(_NAMES, totals, strict=True))
    return {name: x if name == "bram36" else math.ceil(x) for name, x in found.items()}
