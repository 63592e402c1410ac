"""The arguments of `qpolicy quantize`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from qpolicy_training.recipes.config import DistillConfig, ImitateConfig, SearchConfig
from qpolicy_training.rl.config import DdpgConfig, SacConfig


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy quantize`."""

    teacher: Annotated[str, tyro.conf.Positional]
    """FP32 policy: a name such as hopper/fp32, or a file; --teacher says the same."""
    method: Literal["ptq", "distill", "qat", "search"] = "distill"
    """ptq rounds the teacher; distill trains a student on its actions; qat is RL; search keeps
    small random changes with which a student plays better."""
    robot: str = ""
    """distill: robot to train on, a name of config/robots, a description (.yaml) or an MJCF file
    (.xml)."""
    bag: tuple[Path, ...] = ()
    """distill: recordings to train on, rosbag2 folders or files: no simulator takes part."""
    hidden: tuple[int, ...] = ()
    """Units of the hidden layers (default: 256 256; for ptq the teacher's)."""
    b_in: int = 8
    """Bits of the input codes, 2 to 8."""
    b_core: int = 3
    """Bits of weights and hidden activations, 2 to 8."""
    b_out: int = 8
    """Bits of the output codes, 2 to 8."""
    fan_in: tuple[int, ...] = ()
    """Most inputs of a neuron whose weight is not 0: one number for all hidden layers, or one for
    each, the last layer's perhaps behind them; 0: all (default: all, everywhere). With 3 inputs of
    2 bits a neuron is one look-up table for each bit of its code."""
    seed: int = 1
    """Seed of networks, exploration and environment."""
    start: Path | None = None
    """qat, search: a .qat.safetensors to go on from; left out, RL begins with a random actor."""
    critic: Path | None = None
    """Checkpoint of the teacher's run: qat with --start goes on from its critics, --distill.loss
    divergence measures by its exploration."""
    policy_starts: int = 0
    """qat: critic updates before the actor's first."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    """Hyperparameters of distillation; with --robot or --bag, where none is given, 30 rounds of
    5,000 steps and 2,500 updates, the last 6 of which are played."""
    history: int = 0
    """A teacher that remembers (.json): ticks that the student sees, the newest included; 0: 8."""
    imitate: ImitateConfig = field(default_factory=ImitateConfig)
    """A teacher that remembers: hyperparameters of the FP32 policy that learns it first."""
    further: tuple[int, ...] = ()
    """distill: rounds that follow those of --distill.rounds, the learning rate begins anew each
    time (what a candidate of `qpolicy select` goes through)."""
    algorithm: Literal["sac", "ddpg"] = "sac"
    """RL algorithm of qat."""
    sac: SacConfig = field(default_factory=SacConfig)
    """Hyperparameters of qat by SAC."""
    ddpg: DdpgConfig = field(default_factory=DdpgConfig)
    """Hyperparameters of qat by DDPG."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """Hyperparameters of search."""
    out: Path | None = None
    """Policy file to write (default: quantised.safetensors in the run's folder)."""
    resume_from: Path | None = None
    """qat: a checkpoint.safetensors of the same configuration to go on from; what may differ is
    what may in qpolicy train."""
    finish: bool = False
    """qat, search: train no further: choose among the run's snapshots and write the policy."""
    episodes: int = 100
    """Episodes of the final evaluation of each backend, seeds 0, 1, ..."""
    json: bool = False
    """Print the result as one JSON object."""
