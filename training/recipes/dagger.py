"""What imitation and distillation share: DAgger's options, and the noise of its first round.

Ross et al. 2011 (arXiv 1011.0686): the student drives, an expert says what it would have done, all
states so far are trained on again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qpolicy_training.runs.config import require_positive

EXPERT_NOISE = 0.1
"""Standard deviation of the noise on the expert's own actions in the first round, of full scale:
it shows the student states beside the expert's path."""


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
