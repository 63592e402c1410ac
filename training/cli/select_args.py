"""The arguments of `qpolicy select`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.rl.config import DdpgConfig, SacConfig
from qpolicy_training.select.config import (
    LAST_RUNG,
    PAPER_AXES,
    Axes,
    Cost,
    LastRung,
    Method,
    Rule,
    Scope,
)


@dataclass(frozen=True)
class AxesOptions:
    """Values to choose among; an axis that is left out is that of the rule."""

    hidden: tuple[int, ...] | None = None
    """Widths; every hidden layer of a policy has the same (16 to 256; paper rule: 8 to 256)."""
    b_core: tuple[int, ...] | None = None
    """Bits of weights and hidden activations (2 3 4; paper rule: 2 to 8)."""
    b_in: tuple[int, ...] | None = None
    """Bits of the input codes (3 4 6 8; paper rule: 2 to 8)."""
    b_out: tuple[int, ...] = (8,)
    """Bits of the output codes."""
    layers: int = 2
    """Hidden layers."""

    def of(self, rule: Rule) -> Axes:
        """The axes of a sweep by ``rule``; ``PolicyError`` where a value is out of range."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(PAPER_AXES if rule == "paper" else Axes(), **given)


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy select`."""

    task: str
    """Task name (hopper, ...) or Gymnasium id."""
    teacher: str = ""
    """FP32 policy to start from: a name or a file (default: <task>/fp32)."""
    rule: Rule = "bound"
    """bound: joint search, lower confidence bound of the return; paper: one axis at a time, mean at
    or above the FP32 mean less one SD."""
    cost: Cost = "hardware"
    """What is minimised: hardware (cycles times look-up tables), cycles, lut, bytes or macs."""
    part: str = "xc7a15t"
    """Device that the policy must fit, where hardware counts."""
    clock_mhz: float = 100.0
    """Its clock, MHz."""
    axes: AxesOptions = field(default_factory=AxesOptions)
    """Values to choose among."""
    margin: float = 5.0
    """What may be lost of the FP32 mean, %."""
    confidence: float = 95.0
    """Of the one-sided lower bound, %."""
    floor: float | None = None
    """Return that is asked for, instead of one from the FP32 policy."""
    candidates: int = 12
    """Shapes in the first bracket, at most so many in each further one."""
    wave: int = 4
    """Candidates of a rung that train before those still waiting, dearer ones, are reconsidered."""
    keep: float = 1 / 3
    """Share of a rung's candidates that train on."""
    further: tuple[int, ...] = (6, 12)
    """Rounds that each rung adds to the first one's (--distill.rounds)."""
    rung_episodes: int = 20
    """Episodes by which a rung of distillation is judged."""
    snapshot_episodes: int = 10
    """Episodes in which a candidate's best snapshots compete in a rung of distillation."""
    exam_episodes: int = 100
    """Episodes of the final decision, and by which a turn of the last rung is judged."""
    finalists: int = 4
    """Candidates that may sit the exam; they share the rule's error."""
    finetune: int = 4
    """Finalists that go through the last rung at a time, RL from where distillation left them:
    the cheapest that passes and the best of the cheaper ones that fail. 0: none."""
    last: LastRung = field(default_factory=lambda: LAST_RUNG)
    """Hyperparameters of the last rung."""
    last_turns: int = 2
    """How often at most a finalist goes through the last rung: one that fails and is cheaper than
    the best goes on from where its RL ended."""
    critic: Path | None = None
    """Checkpoint of the teacher's run: the last rung goes on from its critics (give its
    --last.critic-norm too), --distill.loss divergence measures by its exploration."""
    method: Method = "distill"
    """paper rule and --scope: qat trains every candidate by RL from the first step."""
    scope: Scope | None = None
    """Select nothing. all, input, core, output: train 2 to 8 bits there, the rest at 8 (the paper's
    sweeps). seeds: train the one shape that --axes names by the whole recipe with each of --seeds,
    examine every one, and write the best to --out."""
    seeds: tuple[int, ...] = (1,)
    """Training seeds of each shape."""
    distill: DistillConfig = field(default_factory=lambda: DistillConfig(rounds=6))
    """Hyperparameters of distillation."""
    algorithm: Literal["sac", "ddpg"] = "sac"
    """RL algorithm of qat."""
    sac: SacConfig = field(default_factory=SacConfig)
    """Hyperparameters of qat by SAC."""
    ddpg: DdpgConfig = field(default_factory=DdpgConfig)
    """Hyperparameters of qat by DDPG."""
    cpu_minutes: float = 0.0
    """Processor time after which no bracket or rung begins but the last one, minutes; 0: no
    limit."""
    executor: Literal["local", "ray"] = "local"
    """Where candidates train: processes of this machine, or a Ray cluster."""
    jobs: int = 1
    """Candidates at a time (local, and a Ray that is started here)."""
    ray_address: str | None = None
    """Ray cluster to join, as ray.init takes it (default: start one here)."""
    out: Path | None = None
    """Policy file to write (default: selected.safetensors in the sweep's folder)."""
    episodes: int = 100
    """Episodes of the final evaluation of each backend, seeds 0, 1, ..."""
    json: bool = False
    """Print the result as one JSON object."""
