"""What a sweep is: its axes, rule, cost, rungs and seeds; and the shapes that it chooses among."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.model import MAX_BITS, MIN_BITS
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.runs.config import ADDED_LATER

# Environment seeds of selection, apart from training's (1,000,000: snapshots, 2,000,000: finalists
# of a run, 3,000,000: golden vectors) and from those on which returns are reported (from 0).
RUNG_SEED = 4_000_000
EXAM_SEED = 5_000_000
RUNG_STRIDE = 100_000
"""Each rung plays seeds of its own: who was lucky on one is not so on the next."""

Rule = Literal["bound", "paper"]
Cost = Literal["hardware", "cycles", "lut", "bytes", "macs"]
Method = Literal["distill", "qat"]
Scope = Literal["all", "input", "core", "output", "seeds"]
HARDWARE_COSTS = ("hardware", "cycles", "lut")


@dataclass(frozen=True, order=True)
class Shape:
    """What is chosen: widths of the hidden layers and bits of core, input and output."""

    hidden: tuple[int, ...]
    b_core: int
    b_in: int
    b_out: int = 8

    def __str__(self) -> str:
        """Widths / core / input / output, as in the tables."""
        return f"{'-'.join(map(str, self.hidden))} / {self.b_core} / {self.b_in} / {self.b_out}"

    def fields(self) -> dict[str, Any]:
        """The same as a ledger's row has it."""
        return {
            "hidden": list(self.hidden),
            "b_core": self.b_core,
            "b_in": self.b_in,
            "b_out": self.b_out,
        }

    def bit_operations(self, observations: int, actions: int) -> int:
        """Weight bits times activation bits, over all multiply-accumulates of an action."""
        widths = (observations, *self.hidden, actions)
        bits = (self.b_in, *(self.b_core for _ in self.hidden))
        total = sum(widths[i] * widths[i + 1] * bits[i] * self.b_core for i in range(len(bits)))
        # The output codes cost a table and comparators, not products.
        return total + actions * self.b_out


@dataclass(frozen=True)
class Axes:
    """Values that are tried for each part of a shape."""

    hidden: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Widths; every hidden layer of a policy has the same."""
    b_core: tuple[int, ...] = (2, 3, 4)
    """Bits of weights and hidden activations."""
    b_in: tuple[int, ...] = (3, 4, 6, 8)
    """Bits of the input codes."""
    b_out: tuple[int, ...] = (8,)
    """Bits of the output codes."""
    layers: int = 2
    """Hidden layers."""

    def __post_init__(self) -> None:
        """Refuse an axis without values, twice the same, or out of range; sort them."""
        for name in ("hidden", "b_core", "b_in", "b_out"):
            values = getattr(self, name)
            low, high = (1, 1 << 16) if name == "hidden" else (MIN_BITS, MAX_BITS)
            option = f"--axes.{name.replace('_', '-')}"
            if not values or min(values) < low or max(values) > high:
                message = f"{option}: {values}: give values from {low} to {high}"
                raise PolicyError(message)
            if len(set(values)) != len(values):
                message = f"{option}: {values}: a value is given twice; give each once"
                raise PolicyError(message)
            object.__setattr__(self, name, tuple(sorted(values)))
        if self.layers < 1:
            message = f"--axes.layers: {self.layers} is too small; give 1 or more"
            raise PolicyError(message)

    def shape(self, hidden: int, b_core: int, b_in: int, b_out: int) -> Shape:
        """The shape of one value an axis."""
        return Shape((hidden,) * self.layers, b_core, b_in, b_out)


BITS = tuple(range(MIN_BITS, MAX_BITS + 1))
PAPER_AXES = Axes(hidden=(8, 16, 32, 64, 128, 256), b_core=BITS, b_in=BITS)
"""What the paper tried: from 8 bits down in the core, then widths, then from 8 input bits down."""


@dataclass(frozen=True)
class LastRung(SacConfig):
    """Hyperparameters of the last rung."""

    prefix: ClassVar[str] = "--last"


LAST_RUNG = LastRung(
    steps=150_000, train_frequency=3, policy_lr=1e-4, critic_lr=3e-4, average=2_000
)
"""RL on a distilled student: at the usual rate of the actor it loses what it was taught."""


@dataclass(frozen=True)
class SelectConfig:
    """The full configuration of a sweep; its hash names the sweep's folder."""

    task: str
    teacher: str
    """Hash of the teacher's function."""
    rule: Rule = "bound"
    method: Method = "distill"
    scope: Scope | None = None
    cost: Cost = "hardware"
    part: str = "xc7a15t"
    clock_mhz: float = 100.0
    axes: Axes = field(default_factory=Axes)
    seeds: tuple[int, ...] = (1,)
    candidates: int = 12
    wave: int = 4
    keep: float = 1 / 3
    margin: float = 5.0
    confidence: float = 95.0
    floor: float | None = None
    further: tuple[int, ...] = (6, 12)
    rung_episodes: int = 20
    snapshot_episodes: int = 10
    exam_episodes: int = 100
    finalists: int = 4
    finetune: int = 4
    distill: DistillConfig = field(default_factory=DistillConfig)
    sac: SacConfig = field(default_factory=SacConfig)
    last: LastRung = field(default=LAST_RUNG, metadata=ADDED_LATER)
    """Of the last rung; ``sac`` is that of the method qat."""
    critic: str = ""
    """Hash of the teacher's checkpoint, whose critics fine-tuning goes on from (empty: new ones)
    and whose exploration the loss ``divergence`` measures by."""

    def __post_init__(self) -> None:
        """Refuse what a sweep cannot be made of, naming the option."""
        checks = (
            ("--seeds", self.seeds, _are_seeds(self.seeds), "different ones, each 0 or more"),
            ("--candidates", self.candidates, self.candidates >= 1, "1 or more"),
            ("--wave", self.wave, self.wave >= 1, "1 or more"),
            ("--keep", self.keep, 0 < self.keep < 1, "a share between 0 and 1"),
            ("--margin", self.margin, 0 <= self.margin < 100, "a percentage from 0 to below 100"),
            ("--confidence", self.confidence, 50 <= self.confidence < 100, "from 50 to below 100"),
            ("--further", self.further, all(n > 0 for n in self.further), "rounds of 1 or more"),
            ("--rung-episodes", self.rung_episodes, self.rung_episodes >= 2, "2 or more"),
            ("--exam-episodes", self.exam_episodes, self.exam_episodes >= 2, "2 or more"),
            (
                "--snapshot-episodes",
                self.snapshot_episodes,
                self.snapshot_episodes > 0,
                "1 or more",
            ),
            ("--finalists", self.finalists, self.finalists >= 1, "1 or more"),
            ("--finetune", self.finetune, self.finetune >= 0, "0 or more"),
            ("--clock-mhz", self.clock_mhz, self.clock_mhz > 0, "above 0"),
            ("--floor", self.floor, math.isfinite(self.floor or 0.0), "a finite return"),
        )
        for option, value, good, wanted in checks:
            if not good:
                message = f"{option}: {value}: give {wanted}"
                raise PolicyError(message)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Rounds of distillation at the end of each rung."""
        done = [self.distill.rounds]
        for more in self.further:
            done.append(done[-1] + more)
        return tuple(done)


def _are_seeds(seeds: tuple[int, ...]) -> bool:
    return bool(seeds) and min(seeds) >= 0 and len(set(seeds)) == len(seeds)
