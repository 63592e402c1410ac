"""Energy of an action, estimated from counted switching activity. Nothing here is measured.

A simulation of the generated sources counts how often every net that a cell drives changes, over
the golden vectors back to back. Each change costs ``TOGGLE_PJ``, and ``STATIC_W`` burns all the
while:

    ``E = STATIC_W * cycles / clock + TOGGLE_PJ * changes per action``

The coefficients are fitted to Table 3 of Kresse & Lampert (arXiv 2511.07046), ten designs on the
XC7A15T at 100 MHz whose power Vivado's estimator gave without simulated activity, that is at its
default of 12.5 % changes a cycle: power above 70 mW, divided by LUT and flip-flops, is 28 to 55 uW
a cell, hence 0.28 to 0.55 pJ a cell and cycle and 2.2 to 4.4 pJ a change. Clock tree, block RAM
and DSP are in that figure. The estimate therefore inherits the estimator's own error and may be
off by a factor of two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qpolicy_fpga.simulate.core import CoreSimulation
from qpolicy_ros.common.files import scratch_folder

if TYPE_CHECKING:
    import numpy.typing as npt

    from qpolicy_fpga.manifest import Manifest

STATIC_W = 0.070
TOGGLE_PJ = 3.2
TOGGLE_PJ_RANGE = (2.2, 4.4)
METHOD = (
    "estimate, not measured: nets' changes counted in simulation x 3.2 pJ (2.2 to 4.4) + 70 mW "
    "static, fitted to Table 3 of arXiv 2511.07046; may be off by a factor of two"
)
# Nets that a cell drives; a port only repeats one of them.
_DRIVEN = re.compile(
    r"n\d+|r\d+|sum(_?\d+)?|next|held|reached|reached_before|entry|bank|codes|word|part\d+|all"
    r"|block\d+|found\d+|bound\d+|above\d+|below\d+|hit\d+|phase|tail_phase|step|plane|kept"
)


@dataclass(frozen=True)
class Energy:
    """Energy of an action.

    Attributes:
        nj: estimate, nJ.
        low_nj, high_nj: with the ends of the coefficient's range.
        changes: nets' changes an action, counted.
    """

    nj: float
    low_nj: float
    high_nj: float
    changes: float


def estimate_energy(folder: Path, manifest: Manifest, codes: npt.NDArray[Any]) -> Energy:
    """Return the energy of an action, from a simulation of input codes ``(frames, n)``.

    Raises:
        BackendError: Verilator is not installed.
    """
    simulation = CoreSimulation(folder, manifest, count_toggles=True)
    try:
        with scratch_folder() as scratch:
            counts = simulation.toggles(codes, Path(scratch, "activity.saif"))
    finally:
        simulation.close()
    driven = sum(count for name, count in counts.items() if _DRIVEN.fullmatch(name))
    changes = driven / len(codes)
    static = STATIC_W * manifest.cycles / manifest.clock_mhz * 1e3
    low, high = (static + changes * pj * 1e-3 for pj in TOGGLE_PJ_RANGE)
    return Energy(static + changes * TOGGLE_PJ * 1e-3, low, high, changes)
