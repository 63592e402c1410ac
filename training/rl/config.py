"""Hyperparameters of the RL algorithms, apart from them: options are read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from qpolicy_ros.policy import PolicyError
from qpolicy_training.runs.config import ADDED_LATER, require_positive

_SACS_ALONE = ("products", "critic_norm", "reward_scale", "average")


@dataclass(frozen=True)
class SacConfig:
    """Hyperparameters; the defaults are CleanRL's."""

    prefix: ClassVar[str] = "--sac"
    """Of its options."""

    steps: int = 1_000_000
    """Environment steps."""
    batch: int = 256
    """Transitions per update."""
    gamma: float = 0.99
    """Discount factor."""
    tau: float = 0.005
    """Share of the critic that enters its target at each update."""
    policy_lr: float = 3e-4
    """Learning rate of the actor and its exploration head."""
    critic_lr: float = 1e-3
    """Learning rate of the critics and the entropy temperature."""
    learning_starts: int = 5_000
    """Environment steps before the first update; actions are random until then."""
    policy_frequency: int = 2
    """Critic updates per actor update."""
    train_frequency: int = field(default=1, metadata=ADDED_LATER)
    """Environment steps per update: simulated steps are cheap beside updates."""
    products: Literal["float32", "bfloat16"] = field(default="float32", metadata=ADDED_LATER)
    """bfloat16: on processors with AVX512-BF16 or AMX, which do that twice as fast, matrix
    products take inputs of 8 bits of mantissa and sum in float32; elsewhere they stay float32.
    The quantised actor's integer products stay exact."""
    critic_width: int = 256
    """Units in each of the critics' two hidden layers."""
    critic_norm: Literal["none", "layer"] = field(default="none", metadata=ADDED_LATER)
    """layer: layer normalisation in the critics' hidden layers, which keeps their units alive in
    long runs."""
    reward_scale: float = field(default=1.0, metadata=ADDED_LATER)
    """What critics are given of a reward, and where the entropy temperature begins. Values of some
    tens are learnt sooner than of hundreds, above all under layer normalisation (0.1)."""
    average: int = field(default=1, metadata=ADDED_LATER)
    """Actor updates that a running average of the actor's parameters reaches back; at each
    evaluation it plays beside the actor, and the better of the two is kept. 1: no average."""
    evaluate_every: int = 10_000
    """Environment steps between evaluations on held-out seeds."""
    evaluate_episodes: int = 5
    """Episodes per evaluation."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        require_positive(self, self.prefix)


@dataclass(frozen=True)
class DdpgConfig(SacConfig):
    """Hyperparameters; the defaults are CleanRL's."""

    prefix: ClassVar[str] = "--ddpg"

    critic_lr: float = 3e-4
    """Learning rate of the critic."""
    learning_starts: int = 25_000
    """Environment steps before the first update; actions are random until then."""
    noise: float = 0.1
    """Standard deviation of the exploration noise, of full scale."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        for name in _SACS_ALONE:
            value = getattr(self, name)
            if value != getattr(SacConfig, name):
                option = f"{self.prefix}.{name.replace('_', '-')}"
                raise PolicyError(f"{option}: {value} is SAC's alone; leave it out")
        super().__post_init__()
