"""Quantised students of an FP32 policy: post-training, distilled, or trained by RL (QAT).

- ``ptq``: the teacher's own weights, rounded, ranges fitted on the states it visits.
- ``distill``: DAgger on the teacher's actions (``distill.py``).
- ``search``: small random changes of a student, kept where it plays better (``search.py``).
- ``qat``: SAC or DDPG with the quantised actor (``sac.py``, ``ddpg.py``), from the first step as
  in the paper (section 3: statistics over the first 300 updates, then learned ranges; FP32
  critics), or going on from a distilled student.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from qpolicy_ros.policy import Baseline, PolicyError
from qpolicy_ros.sim.environment import Simulation
from qpolicy_ros.sim.tasks import file_label
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.quant.fan_in import keep_choice
from qpolicy_training.quant.integer_policy import integer_policy
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor, from_float
from qpolicy_training.recipes.config import DistillConfig, SearchConfig
from qpolicy_training.recipes.distill import collect_teacher, distill, plan
from qpolicy_training.recipes.search import search
from qpolicy_training.recipes.teacher import ForeignTeacher, Teacher
from qpolicy_training.recipes.teacher_run import Spreads, adopt_critics
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.learners import better, make_learner
from qpolicy_training.rl.sac import Learner, train
from qpolicy_training.rl.torch_setup import prepare
from qpolicy_training.runs.checkpoint import adopt
from qpolicy_training.runs.config import ADDED_LATER
from qpolicy_training.runs.folder import Run
from qpolicy_training.runs.snapshots import (
    Winner,
    choose,
    held_out_return,
    normaliser_state,
    restored_normaliser,
)
from qpolicy_training.runs.state import load_state, module_state, restore_module, restoring

PTQ_STEPS = 20_000
_LOOK = 1_000  # observations that tell whose checkpoint it is
_APART = 0.5


@dataclass(frozen=True)
class StudentConfig:
    """The full configuration of a quantised policy's run; its hash names the run."""

    method: str
    task: str
    teacher: str
    """Hash of the teacher's function, or empty: QAT from the first step uses no teacher."""
    hidden: tuple[int, ...]
    b_in: int
    b_core: int
    b_out: int
    seed: int
    distill: DistillConfig = field(default_factory=DistillConfig)
    sac: SacConfig = field(default_factory=SacConfig)
    """Of SAC; a ``DdpgConfig`` trains by DDPG."""
    start: str = ""
    """Hash of the student that QAT goes on from; empty: from the first step."""
    critic: str = ""
    """Hash of the teacher's checkpoint: of the critics that QAT goes on from (empty: new ones), or
    of the spreads by which distillation measures."""
    policy_starts: int = 0
    """Critic updates before the first update of the actor."""
    further: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)
    """Rounds of distillation that follow those of ``distill``, a new learning rate each."""
    search: SearchConfig = field(default=SearchConfig(), metadata=ADDED_LATER)
    fan_in: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)
    """As ``ActorSpec`` has it."""


@dataclass(frozen=True)
class Student:
    """A trained quantised actor with the fixed normalisation of its observations."""

    actor: QuantActor
    normaliser: RunningNormaliser

    @classmethod
    def of(cls, actor: QuantActor, mean: np.ndarray, std: np.ndarray) -> Student:
        """A student with the normalisation ``mean`` and ``std``, float32 ``(n,)`` each."""
        return cls(actor, RunningNormaliser.fixed(mean, std))


def train_student(
    config: StudentConfig,
    baseline: Baseline,
    start: Student | None,
    critic: Path | None = None,
    resume_from: Path | None = None,
    *,
    parent: Path | None = None,
    further: int | None = None,
    final_episodes: int | None = None,
    finish: bool = False,
) -> tuple[Student, Run, Winner]:
    """Run ``config.method`` and return the best student; the caller closes the run.

    Args:
        config: names the run.
        baseline: the teacher, of the same task.
        start: for search, and for QAT that goes on from a student; else None.
        critic: checkpoint of the teacher's run, for QAT that goes on from its critics and for
            distillation that measures by its spreads.
        resume_from: a checkpoint to start a new run's folder with.
        parent: folder that the run's folder lies in; left out, ``runs_folder``.
        further: how many of ``config.further`` to go through for now; left out, all of them. A
            run that is further on stays as it is.
        final_episodes: episodes in which the kept snapshots compete at the end.
        finish: qat, search: go no further than the run's checkpoint.

    Raises ``PolicyError`` as ``train_teacher`` does.
    """
    prepare(config.seed)
    env = TrainingEnv(config.task)
    if (baseline.mean.size, baseline.scale.size) != (env.observations, env.actions):
        message = (
            f"teacher: {baseline.mean.size} observations and {baseline.scale.size} actions, but "
            f"{config.task} has {env.observations} and {env.actions}; give a teacher of this task"
        )
        raise PolicyError(message)
    spec = ActorSpec(
        env.observations,
        env.actions,
        config.hidden,
        config.b_in,
        config.b_core,
        config.b_out,
        fan_in=config.fan_in,
    )
    stands = finish and resume_from is None
    run = Run(f"{file_label(env.contract.task)}-{config.method}", config, parent, finish=stands)
    try:
        if resume_from is not None:
            adopt(run, resume_from)
        if config.method == "ptq":
            _post_training(config, run, env, spec, Teacher.of(baseline))
        elif config.method == "distill":
            ours = not baseline.steps
            teacher = Teacher.of(baseline) if ours else ForeignTeacher(baseline, env, config.seed)
            spreads = None
            if critic is not None:
                spreads = Spreads(critic, config.task, (env.observations, env.actions))
            _distil(config, run, env, spec, teacher, spreads, further)
        elif config.method == "search":
            _search(config, run, env, start, finish=finish)
        else:
            _reinforce(config, run, env, spec, start, critic, finish=finish)
        winner = choose(
            run, config.task, lambda path: _policy(load_student(path, spec), env), final_episodes
        )
        return load_student(winner.path, spec), run, winner
    except BaseException:
        run.close()  # a worker that goes on with another run must not hold this one's lock
        raise


def load_student(path: Path, spec: ActorSpec) -> Student:
    """Read a snapshot of a student's run."""
    tensors, _ = load_state(path)
    actor = QuantActor(spec)
    with restoring(path):
        restore_module("actor", actor, tensors)
        return Student(actor.eval(), restored_normaliser(tensors))


def _policy(student: Student, env: TrainingEnv) -> Callable[[np.ndarray], np.ndarray]:
    return integer_policy(student.actor, student.normaliser, env)


def _keeper(
    config: StudentConfig, run: Run, env: TrainingEnv, normaliser: RunningNormaliser, episodes: int
) -> Callable[[int, QuantActor], float]:
    """Evaluate a student through the integer engine and keep it if it is among the best."""

    def evaluate(step: int, actor: QuantActor) -> float:
        mean = held_out_return(integer_policy(actor, normaliser, env), config.task, episodes)
        _keep(run, step, mean, actor, normaliser)
        return mean

    return evaluate


def _keep(
    run: Run, step: int, mean: float, actor: QuantActor, normaliser: RunningNormaliser
) -> None:
    tensors = {**module_state("actor", actor), **normaliser_state(normaliser)}
    run.consider(step, mean, tensors, {})


def _post_training(
    config: StudentConfig, run: Run, env: TrainingEnv, spec: ActorSpec, teacher: Teacher
) -> None:
    if config.hidden != tuple(layer.out_features for layer in teacher.actor.hidden):
        message = (
            f"hidden: {config.hidden}: ptq keeps the teacher's widths; "
            "leave --hidden out, or use --method distill"
        )
        raise PolicyError(message)
    observations = collect_teacher(teacher, env, PTQ_STEPS, config.seed)
    layers = [*teacher.actor.hidden, teacher.actor.mean]
    actor = from_float(
        [layer.weight for layer in layers],
        [layer.bias for layer in layers],
        spec,
        torch.from_numpy(teacher.normaliser(observations)),
    )
    evaluate = _keeper(config, run, env, teacher.normaliser, config.distill.evaluate_episodes)
    run.record(0, evaluate(0, actor))


def _distil(
    config: StudentConfig,
    run: Run,
    env: TrainingEnv,
    spec: ActorSpec,
    teacher: Teacher | ForeignTeacher,
    spreads: Spreads | None,
    further: int | None,
) -> None:
    if spreads is not None:
        seen = collect_teacher(teacher, env, _LOOK, config.seed)
        apart = spreads.difference(seen, teacher.shares(seen))
        if apart > _APART:
            run.log.note(
                "note: --critic: its policy is another one than the teacher's (square error "
                f"{apart:.2f} of the variance of the teacher's actions): its spreads may mislead"
            )
    keep = _keeper(config, run, env, teacher.normaliser, config.distill.evaluate_episodes)

    def evaluate(done: int, student: QuantActor) -> float:
        steps = done * config.distill.round_steps
        mean = keep(steps, student)
        run.record(steps, mean)
        return mean

    schedule = plan(spec, config.distill.rounds, config.further[:further])
    distill(
        teacher, env, schedule, config.distill, run, seed=config.seed, evaluate=evaluate,
        spreads=spreads,
    )  # fmt: skip


def _search(
    config: StudentConfig, run: Run, env: TrainingEnv, start: Student | None, *, finish: bool
) -> None:
    assert start is not None  # the command asks for it
    actor = start.actor

    def held_out(tried: int, normaliser: RunningNormaliser) -> float:
        policy = integer_policy(actor, normaliser, env)
        mean = held_out_return(policy, config.task, config.search.evaluate_episodes)
        _keep(run, tried, mean, actor, normaliser)
        return mean

    search(
        actor,
        start.normaliser,
        env,
        Simulation(config.task),
        run,
        config.search,
        seed=config.seed,
        evaluate=held_out,
        finish=finish,
    )


def _reinforce(
    config: StudentConfig,
    run: Run,
    env: TrainingEnv,
    spec: ActorSpec,
    start: Student | None,
    critic: Path | None,
    *,
    finish: bool,
) -> None:
    actor = QuantActor(spec)
    normaliser = RunningNormaliser(env.observations)
    if start is not None:
        actor.load_state_dict(start.actor.state_dict())
        normaliser = start.normaliser
    sizes = (env.observations, env.actions, config.hidden[-1])
    learner = make_learner(actor, sizes, config.sac, config.policy_starts)
    keep_choice(learner.policy_optimiser, actor)
    if critic is not None:
        if not isinstance(learner, Learner):
            message = f"{critic}: --critic: DDPG goes on from no critics; leave it out"
            raise PolicyError(message)
        adopt_critics(learner, critic, config.task, sizes[:2])

    def play() -> float:
        policy = integer_policy(actor, normaliser, env)
        return held_out_return(policy, config.task, config.sac.evaluate_episodes)

    def held_out(step: int) -> float:
        if not actor.calibrated:
            return float("-inf")
        with better(learner, play) as mean:
            _keep(run, step, mean, actor, normaliser)
        return mean

    train(
        env,
        learner,
        normaliser,
        run,
        config.sac,
        seed=config.seed,
        evaluate=held_out,
        random_start=start is None,
        finish=finish,
    )
