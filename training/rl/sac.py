"""Soft actor-critic, read top to bottom: steps in the environment, then a gradient update.

Haarnoja et al. 2018 (arXiv 1812.05905) as CleanRL's ``sac_continuous_action`` writes it: twin
critics, entropy temperature tuned to ``-m``, time limits bootstrapped. Observations are stored raw
and normalised when sampled, with running statistics. The actor is any module with the interface
of ``Fp32Actor``: the FP32 teacher, or the quantised actor for QAT by RL (the paper, section 3).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from qpolicy_training.experience.agent import Agent
from qpolicy_training.experience.normaliser import CLIP, STD_FLOOR, RunningNormaliser
from qpolicy_training.experience.replay import Batch, ReplayBuffer
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.networks import GaussianHead, TwinCritic, perturbed, sample_action
from qpolicy_training.rl.quick_adam import QuickAdam
from qpolicy_training.rl.torch_setup import prepare
from qpolicy_training.runs.checkpoint import Resumable, resume, save_if_due
from qpolicy_training.runs.folder import DivergedError, Run
from qpolicy_training.runs.state import Parts

if TYPE_CHECKING:  # a student of a recording needs no simulator
    from qpolicy_training.experience.task_env import TrainingEnv

_NAMED = 8  # observations that a note lists


class Actor(Protocol):
    """What SAC asks of an actor module: ``(batch, n)`` → pre-tanh mean and features."""

    def __call__(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Forward pass."""


def critics_of(observations: int, actions: int, config: SacConfig) -> TwinCritic:
    """New critics as ``config`` has them."""
    return TwinCritic(
        observations, actions, config.critic_width, norm=config.critic_norm == "layer"
    )


class Learner:
    """Networks and optimisers; the update rule is ``fast_sac.FastLearner``'s."""

    def __init__(
        self,
        actor: nn.Module,
        sizes: tuple[int, int, int],
        config: SacConfig,
        policy_starts: int = 0,
    ) -> None:
        """Build critics and exploration head for ``sizes`` = observations, actions, features.

        ``policy_starts``: critic updates before the first update of the actor, so that new critics
        do not spoil a trained actor.
        """
        self._policy_starts = policy_starts
        observations, actions, features = sizes
        self.config = config
        self.actor = actor.eval()
        self.forward: Actor = actor  # replaced by a faster, equal forward where there is one
        self.head = GaussianHead(features, actions)
        self.critic = critics_of(observations, actions, config)
        self.target = copy.deepcopy(self.critic).requires_grad_(requires_grad=False)
        self.log_alpha = torch.tensor(math.log(config.reward_scale), requires_grad=True)
        self.target_entropy = -float(actions)
        # Quantiser scales that do not exist yet (statistics phase) must not be missed by Adam, so
        # the actor has all its parameters from the start.
        self.policy_parameters: list[Tensor] = [*actor.parameters(), *self.head.parameters()]
        self.policy_optimiser = QuickAdam(self.policy_parameters, config.policy_lr)
        self.critic_optimiser = QuickAdam(self.critic.parameters(), config.critic_lr)
        self.alpha_optimiser = QuickAdam([self.log_alpha], config.critic_lr)
        self._actor_parameters: list[Tensor] = list(actor.parameters())
        self.average: list[Tensor] = []
        if config.average > 1:
            self.average = [parameter.detach().clone() for parameter in self._actor_parameters]
        self.updates = 0

    def sample(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Sample actions in [-1, 1] and their log-probabilities."""
        mean, features = self.forward(normalised)
        return sample_action(mean, self.head(features))

    def explore(self, normalised: Tensor) -> np.ndarray:
        """Sample one action in [-1, 1], float32 ``(m,)``."""
        with torch.no_grad():
            mean, features = self.forward(normalised)
            action: np.ndarray = torch.tanh(perturbed(mean, self.head(features))[0])[0].numpy()
            return action

    def scalars(self) -> dict[str, float]:
        """The entropy temperature."""
        return {"alpha": self.log_alpha.exp().item()}

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average:
            torch._foreach_lerp_(self.average, self._actor_parameters, 1.0 / self.config.average)

    @torch.no_grad()
    def swap_average(self) -> None:
        """Exchange the actor's parameters and their average."""
        for parameter, mean in zip(self._actor_parameters, self.average, strict=False):
            kept = parameter.clone()
            parameter.copy_(mean)
            mean.copy_(kept)

    def changed(self) -> None:
        """Tell that somebody else has set parameters."""

    def _parts(self) -> Parts:
        return Parts(
            {"actor": self.actor, "head": self.head, "critic": self.critic, "target": self.target},
            {
                "policy_adam": self.policy_optimiser,
                "critic_adam": self.critic_optimiser,
                "alpha_adam": self.alpha_optimiser,
            },
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resume needs."""
        averages = {f"average.{index}": mean for index, mean in enumerate(self.average)}
        scale = torch.tensor(self.config.reward_scale, dtype=torch.float64)  # exactly
        return {
            **self._parts().tensors(),
            "log_alpha": self.log_alpha,
            "reward_scale": scale,
            **averages,
        }

    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Undo ``tensors``."""
        self._parts().restore(tensors)
        with torch.no_grad():
            self.log_alpha.copy_(tensors["log_alpha"])
            for index, mean in enumerate(self.average):  # a run without one begins its average here
                mean.copy_(tensors.get(f"average.{index}", self._actor_parameters[index]))
        self.updates = updates


def train(
    env: TrainingEnv,
    learner: Agent,
    normaliser: RunningNormaliser,
    run: Run,
    config: SacConfig,
    *,
    seed: int,
    evaluate: Callable[[int], float],
    random_start: bool = True,
    finish: bool = False,
    cpu_seconds: float = math.inf,
) -> None:
    """Train until ``config.steps``; resume from the run's checkpoint where there is one.

    ``evaluate(step)`` returns the mean return on held-out seeds and keeps the best snapshots.
    ``random_start``: uniform random actions before ``learning_starts`` (a warm start acts with
    its own policy instead). ``finish``: only restore the checkpoint, train no further.
    ``cpu_seconds``: processor time of the run, over all processes, at which it ends too: behind the
    episode in which it is used up.
    Raises ``DivergedError`` when the loss is not finite; the last good checkpoint stays.
    """
    prepare(seed)
    rng = np.random.default_rng(seed)
    replay = ReplayBuffer(run.folder / "replay.f32", config.steps, env.observations, env.actions)
    parts = Resumable(learner, normaliser, replay, env, rng)
    step = resume(run, parts, config.steps)
    warm = run.warm
    if not env.seeded:
        run.log.note(
            f"note: {env.contract.task} begins otherwise each time with the same seed: no return "
            "of it can be measured again; draw from self.np_random in its reset()"
        )
    observation = env.start(seed if step == 0 else None)
    episode_return = 0.0
    ends = finish or run.log.count_cpu() >= cpu_seconds
    with run.progress(config.steps, step) as progress:
        while step < config.steps and not ends:
            if step < config.learning_starts and random_start and not warm:
                action = rng.uniform(-1.0, 1.0, env.actions).astype(np.float32)
            else:
                action = learner.explore(torch.from_numpy(normaliser(observation)[None]))
            normaliser.update(observation)
            next_observation, reward, terminated, truncated = env.step(action)
            replay.add(observation, action, next_observation, reward, terminated)
            observation = next_observation
            episode_return += reward
            step += 1

            if replay.size == config.learning_starts:
                _note_blind(run, normaliser, env)
            if replay.size >= config.learning_starts and step % config.train_frequency == 0:
                batch = _normalise(replay.sample(config.batch, rng), normaliser)
                loss = learner.update(batch)
                _require_finite(run, step, loss)
                if step % 1000 == 0:
                    _log(run, learner, step, loss)
            if step % config.evaluate_every == 0 and learner.updates > 0:
                run.record(step, evaluate(step))
            progress.update(step)
            if terminated or truncated or step == config.steps:
                run.log.scalar("train/return", episode_return, step)
                # Between episodes the simulator has no state but its random generator, which is
                # what makes a resume exact for every task.
                ends = run.log.count_cpu() >= cpu_seconds
                save_if_due(run, step, parts, force=ends or step == config.steps)
                observation, episode_return = env.start(None), 0.0


def _note_blind(run: Run, normaliser: RunningNormaliser, env: TrainingEnv) -> None:
    """Say which observations vary too little for a policy to see."""
    found = normaliser.blind()
    if not found:
        return
    names = ", ".join(env.contract.observation[index].name for index in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    run.log.note(
        f"note: {names}{more}: vary by less than {STD_FLOOR}, so a policy hardly sees them; scale "
        "them in the task"
    )


def _normalise(batch: Batch, normaliser: RunningNormaliser) -> Batch:
    mean = torch.from_numpy(normaliser.mean)
    std = torch.from_numpy(normaliser.std)
    return batch._replace(
        observation=(batch.observation - mean).div_(std).clamp_(-CLIP, CLIP),
        next_observation=(batch.next_observation - mean).div_(std).clamp_(-CLIP, CLIP),
    )


def _require_finite(run: Run, step: int, loss: float) -> None:
    if not math.isfinite(loss):
        message = (
            f"{run.folder}: critic loss: {loss} at step {step}: the run diverged; the last good "
            "checkpoint is kept, lower --sac.critic-lr or --ddpg.critic-lr, or change --seed"
        )
        raise DivergedError(message)


def _log(run: Run, learner: Agent, step: int, loss: float) -> None:
    run.log.scalar("train/critic_loss", loss, step)
    for name, value in learner.scalars().items():
        run.log.scalar(f"train/{name}", value, step)
    run.log.scalar("train/steps_per_second", run.log.speed(step, time.monotonic()), step)
