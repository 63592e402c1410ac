"""Hyperparameters of the recipes, apart from them: options are read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from qpolicy_ros.policy import PolicyError
from qpolicy_training.runs.config import ADDED_LATER, require_positive


@dataclass(frozen=True)
class DaggerConfig:
    """Hyperparameters of DAgger."""

    prefix: ClassVar[str]
    """Of the command line's options."""

    rounds: int = 12
    """Rounds of: the student drives, the expert labels, the student trains."""
    round_steps: int = 4_000
    """Environment steps that each round adds."""
    round_updates: int = 1_500
    """Gradient updates of each round."""
    batch: int = 256
    """Observations per update."""
    learning_rate: float = 1e-3
    """Of Adam; falls by a cosine, to a tenth over the rounds of imitation, to a twentieth within
    each of distillation's stages of bit-widths."""
    evaluate_episodes: int = 5
    """Held-out episodes after each round; in distillation, of the last stage's."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        require_positive(self, self.prefix)


@dataclass(frozen=True)
class ImitateConfig(DaggerConfig):
    """Hyperparameters of imitation."""

    prefix = "--imitate"


@dataclass(frozen=True)
class DistillConfig(DaggerConfig):
    """Hyperparameters of distillation."""

    prefix = "--distill"

    rounds: int = 24
    """Rounds of: the student drives, the teacher labels, the student trains."""
    loss: Literal["square", "divergence"] = field(default="square", metadata=ADDED_LATER)
    """Of an action: square error, or the divergence (Kullback and Leibler's) from the teacher's own
    exploration, whose spread says how much an error costs; divergence takes --critic."""
    products: Literal["float32", "bfloat16"] = field(default="float32", metadata=ADDED_LATER)
    """Precision of the backward pass' matrix products, as --sac.products."""
    evaluate_last: int = field(default=10**6, metadata=ADDED_LATER)
    """On a robot: how many of the last rounds are played and compete."""
    finalists: int = field(default=3, metadata=ADDED_LATER)
    """On a robot: how many students compete on fresh seeds at the end."""
    walks: int = field(default=20, metadata=ADDED_LATER)
    """On a robot: walks at each command by which those are judged."""


def require_checkpoint(config: DistillConfig, critic: Path | None) -> None:
    """Refuse a loss that measures by a checkpoint where none is given; ``PolicyError``."""
    if config.loss == "divergence" and critic is None:
        message = (
            "--distill.loss: divergence: measures by the exploration of the teacher's run; give "
            "its checkpoint by --critic"
        )
        raise PolicyError(message)


@dataclass(frozen=True)
class SearchConfig:
    """Hyperparameters of direct search."""

    proposals: int = 4_000
    """Changes tried."""
    episodes: int = 32
    """Episodes that a change must be better on; a sixteenth and a quarter of them come first."""
    evaluate_every: int = 100
    """Changes between evaluations on held-out seeds."""
    evaluate_episodes: int = 20
    """Episodes per evaluation."""

    def __post_init__(self) -> None:
        """Refuse what cannot be searched with."""
        require_positive(self, "--search")
