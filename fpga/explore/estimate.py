"""What a policy costs in hardware, by the FPGA generator's own model: for `qpolicy select`.

Here, since the training room knows nothing of Verilog and the fpga room nothing of training.
"""

from __future__ import annotations

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import IntegerNetwork


def check_part(name: str) -> None:
    """Raise ``PolicyError`` where the FPGA generator knows no such part."""
    from qpolicy_fpga.plan.devices import find_part  # noqa: PLC0415 only where hardware counts

    find_part(name)


def hardware_figures(
    network: IntegerNetwork, part: str, clock_mhz: float, prefer: str
) -> dict[str, float] | None:
    """Return estimated ``cycles``, ``lut`` and ``bram36`` of the core, None if it does not fit.

    Args:
        network: the policy.
        part: device, as for `qpolicy fpga generate`.
        clock_mhz: clock, MHz.
        prefer: the form to take from the Pareto front: fewest ``cycles``, fewest ``lut``, or
            ``hardware``, the least product of both.

    Raises:
        PolicyError: the part or the clock is not known.
    """
    from qpolicy_fpga.explore.choose import choose  # noqa: PLC0415 only where hardware counts
    from qpolicy_fpga.plan.devices import find_part  # noqa: PLC0415 as above

    device = find_part(part)
    try:
        _, front = choose(network, device, clock_mhz, "latency", None)
    except InputError:
        if clock_mhz > 0:
            return None
        raise
    keys = {
        "cycles": lambda form: (form.cycles, form.lut),
        "lut": lambda form: (form.lut, form.cycles),
        "hardware": lambda form: (form.cycles * form.lut, form.cycles),
    }
    best = min(front, key=keys[prefer])
    return {"cycles": best.cycles, "lut": round(best.lut), "bram36": best.bram36}
