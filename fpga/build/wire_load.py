"""How long a wire takes before anything is placed, by its loads and the size of the design.

A wire to few loads stays near its driver. One to many goes wherever its loads were placed, across
the whole design, whose side grows with the root of its cells. The coefficients are fitted to routed
wires by ``python -m qpolicy_ros.bench.fpga_wires``; docs/fpga/bitstreams.md has their error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WireLoad:
    """Coefficients of one family at one speed grade.

    Attributes:
        near_ns: a wire to one load.
        far_ns: what one to ``loads`` loads or more takes longer, a root of a cell.
        loads: where a wire is as long as it gets.
        critical: what a wire of the slowest path takes of that mean, as the router serves it first.
    """

    near_ns: float
    far_ns: float
    loads: int
    critical: float = 1.0

    def ns(self, loads: int, cells: int) -> float:
        """Mean delay of a wire to ``loads`` loads in a design of ``cells`` tables, ns."""
        return self.near_ns + self.far_ns * cells**0.5 * min(1.0, loads / self.loads)


# Designs of which families were routed often enough.
WIRES = {"ecp5": WireLoad(near_ns=0.801, far_ns=0.00969, loads=57, critical=0.851)}
# What a clock estimated with them was off by, at worst, rounded up.
MARGIN = 0.1
_MOST_LOADS = 256


def fit(wires: Sequence[NDArray[np.float64]], cells: Sequence[int]) -> WireLoad:
    """Fit to routed designs, each of which counts as much as any other.

    Args:
        wires: of each design a row for each pin that a wire leads to: loads of that wire, and ns.
        cells: tables of each design.

    Returns:
        The coefficients of least squares; ``loads`` of 1 to 256.
    """
    ns = np.concatenate([design[:, 1] for design in wires])
    weight = np.concatenate([np.full(len(each), len(each) ** -0.5) for each in wires])
    fits = []
    for most in range(1, _MOST_LOADS + 1):
        far = np.concatenate(
            [
                np.sqrt(n) * np.minimum(1.0, d[:, 0] / most)
                for d, n in zip(wires, cells, strict=True)
            ]
        )
        columns = np.stack([np.ones_like(far), far], axis=1) * weight[:, None]
        found, *_ = np.linalg.lstsq(columns, ns * weight, rcond=None)
        wrong = float(np.sum((columns @ found - ns * weight) ** 2))
        fits.append((wrong, most, found))
    _, most, found = min(fits, key=lambda each: each[:2])
    return WireLoad(float(found[0]), float(found[1]), most)
