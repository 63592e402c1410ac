"""A core beside the paper's: the rows of fpga.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.report.energy import METHOD, Energy
from qpolicy_fpga.report.report import WholeFigures

PEER = "paper (FINN 0.10.1)"


@dataclass(frozen=True)
class Paper:
    """The paper's selected policy of a task: Kresse & Lampert, arXiv 2511.07046, Tables 1 and 3.

    Attributes:
        latency_us: of the core at 100 MHz.
        lut, ff, bram36, dsp: cells after Vivado.
        actions_per_s: throughput.
        energy_nj: of an action, by Vivado's estimator.
        target_cycles: what we ask of our own core.
    """

    latency_us: float
    lut: int
    ff: int
    bram36: float
    dsp: int
    actions_per_s: float
    energy_nj: float
    target_cycles: int


PAPER = {
    "hopper": Paper(0.2, 2400, 2000, 0, 45, 4.8e6, 65, 8),
    "walker2d": Paper(162.2, 1900, 1600, 2, 4, 6.2e3, 28_000, 90),
    "halfcheetah": Paper(243.2, 4300, 4600, 15, 11, 4.1e3, 80_000, 320),
    "ant": Paper(2.3, 2700, 4500, 3, 45, 4.4e5, 890, 16),
    "humanoid": Paper(15.4, 2300, 3100, 1.5, 45, 6.5e4, 5_100, 50),
}


@dataclass(frozen=True)
class Whole:
    """A core with its front and its back, and the cycles of the core among them."""

    figures: WholeFigures
    core_cycles: int

    def as_json(self) -> dict[str, Any]:
        """The figures as fpga.json has them."""
        return {**asdict(self.figures), "core_cycles": self.core_cycles}


@dataclass(frozen=True)
class CoreRow:
    """A core beside the paper's: a row of fpga.json.

    Attributes:
        subject: task and origin.
        ratio: the paper's latency over ours.
        latency_us: of every inference, as cycles are exact.
        task, policy, function_hash: as in ``Subject``.
        forms: of the layers.
        cycles, target_cycles: first accepted beat to the result's validity, and what is asked.
        initiation_interval: cycles between two observations.
        actions_per_s: at that interval.
        lut, carry4, ff, bram36, dsp: cells.
        depth_ns, depth_allowed_ns: longest path before routing.
        fits: whether the cells are no more than the part has.
        conditions: part, clock, tools; ``run`` adds the machine's.
        energy: of an action, where it was asked for.
        whole: with front and back, where that fits.
    """

    subject: str
    ratio: float
    latency_us: float
    task: str
    policy: str
    function_hash: str
    forms: tuple[Form, ...]
    cycles: int
    target_cycles: int
    initiation_interval: int
    actions_per_s: float
    lut: int
    carry4: int
    ff: int
    bram36: float
    dsp: int
    depth_ns: float
    depth_allowed_ns: float
    fits: bool
    conditions: Mapping[str, Any]
    energy: Energy | None = None
    whole: Whole | None = None

    @property
    def paper(self) -> Paper:
        """The paper's figures of the same task."""
        return PAPER[self.task]

    def as_json(self) -> dict[str, Any]:
        """The row as fpga.json has it; what was not measured is left out."""
        row: dict[str, Any] = {
            "bench": "fpga core",
            "subject": self.subject,
            "peer": PEER,
            "ratio": self.ratio,
            # Every inference takes as long.
            "p50_us": self.latency_us,
            "p99_us": self.latency_us,
            "peer_p50_us": self.paper.latency_us,
            "peer_p99_us": self.paper.latency_us,
            "task": self.task,
            "policy": self.policy,
            "function_hash": self.function_hash,
            "forms": [list(form.listed()) for form in self.forms],
            **{name: getattr(self, name) for name in _PLAIN},
            "paper": asdict(self.paper),
            "conditions": dict(self.conditions),
        }
        if self.energy is not None:
            low, high = self.energy.low_nj, self.energy.high_nj
            row |= {
                "energy_nj_estimate": round(self.energy.nj, 3),
                "energy_nj_range": [round(low, 3), round(high, 3)],
                "energy_method": METHOD,
            }
        return row | ({} if self.whole is None else {"end_to_end": self.whole.as_json()})


_PLAIN = (
    *("cycles", "target_cycles", "initiation_interval", "actions_per_s"),
    *("lut", "carry4", "ff", "bram36", "dsp", "depth_ns", "depth_allowed_ns", "fits"),
)
