"""Distillation: a quantised student learns an FP32 teacher's actions on its own states (DAgger).

Ross et al. 2011 (arXiv 1011.0686): the student drives, the teacher says what it would have done,
all states so far are trained on again. Bit-widths of the core are lowered step by step on the way
(8, 4, 3, 2 down to the target), which a 2-bit student needs and a 4-bit one does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from qpolicy_training.quant.fan_in import Choice
from qpolicy_training.quant.integer_policy import integer_policy
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor, calibrate, with_bits
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.recipes.dagger import EXPERT_NOISE
from qpolicy_training.recipes.regress import Lesson, adam, fit
from qpolicy_training.rl.quick_adam import QuickAdam
from qpolicy_training.runs.folder import DivergedError, Run
from qpolicy_training.runs.state import (
    adam_state,
    load_state,
    module_state,
    restore_adam,
    restore_module,
    restoring,
    save_state,
)

if TYPE_CHECKING:  # a student of a recording needs no simulator
    from qpolicy_training.experience.task_env import TrainingEnv
    from qpolicy_training.recipes.teacher import ForeignTeacher, Teacher

CALIBRATION = 4096
"""Observations on which activation ranges are fitted when a stage begins."""


def stages(b_core: int) -> list[int]:
    """Bit-widths of the core on the way down to ``b_core``."""
    return [bits for bits in (8, 4, 3, 2) if bits > b_core] + [b_core]


@dataclass(frozen=True)
class Round:
    """One round: the student's bit-widths, and where it stands in its stage."""

    spec: ActorSpec
    first: bool
    """Whether the stage begins: the student is rebuilt at these bits, the optimiser is new."""
    stage_rounds: int
    """Rounds of the stage, over which the learning rate falls."""
    final: bool
    """Whether the bits are the target's, so that the student is evaluated."""


def plan(spec: ActorSpec, rounds: int, further: Sequence[int] = ()) -> list[Round]:
    """Rounds of all stages: half of them at the target's bits, the others shared by the rest.

    ``further``: stages at the target's bits that follow, rounds of each: the optimiser and its
    learning rate begin anew.
    """
    widths = stages(spec.b_core)
    last = rounds if len(widths) == 1 else max(rounds // 2, 1)
    early = max((rounds - last) // max(len(widths) - 1, 1), 1)
    result = []
    for bits in widths:
        final = bits == spec.b_core
        coarse = spec if final else replace(spec, b_in=max(spec.b_in, bits), b_core=bits)
        count = last if final else early
        result += [Round(coarse, index == 0, count, final) for index in range(count)]
    for count in further:
        result += [Round(spec, index == 0, count, final=True) for index in range(count)]
    return result


def distill(
    teacher: Teacher | ForeignTeacher,
    env: TrainingEnv,
    rounds: Sequence[Round],
    config: DistillConfig,
    run: Run,
    *,
    seed: int,
    evaluate: Callable[[int, QuantActor], float],
    spreads: Callable[[np.ndarray], torch.Tensor] | None = None,
) -> QuantActor:
    """Train a student through ``rounds``; returns it as it stands after the last one.

    ``evaluate(round, student)`` returns a mean held-out return and keeps the best students: rounds
    swing, so the caller chooses among them. ``spreads`` gives those of observations, as ``Lesson``
    has them, for the loss ``divergence``. After each round ``run`` keeps all that the next one
    needs: a killed run goes on exactly, and so does one that is given more rounds behind the same.
    Raises ``DivergedError`` when the loss is not finite; the last good round stays.
    """
    progress_file = run.folder / "distill.safetensors"
    state = _load(progress_file, rounds, run)
    if state is None:
        observations = collect_teacher(teacher, env, config.round_steps * 2, seed)
        student = QuantActor(rounds[0].spec)
        calibrate(student, _normalised(teacher, observations))
        optimiser = adam(student, config)
        state = _State(0, student, optimiser, Choice(student, optimiser), observations)
    lesson = _lesson(teacher, spreads, state.observations)
    with tqdm(total=len(rounds), initial=state.done, unit="round", desc="distill") as progress:
        for current in rounds[state.done :]:
            # Each round draws from a generator of its own, so that a resume needs no state of it.
            rng = np.random.default_rng((seed, state.done))
            if current.first:
                sample = lesson.inputs[rng.permutation(len(lesson.inputs))[:CALIBRATION]]
                state.student = with_bits(state.student, current.spec, sample)
                state.optimiser = adam(state.student, config)
                state.choice = Choice(state.student, state.optimiser)
            start = 0 if current.first else state.done - _stage_start(rounds, state.done)
            place = (start, current.stage_rounds)
            loss = fit(state.student, state.optimiser, lesson, config, rng, place)
            if not math.isfinite(loss):
                message = (
                    f"{run.folder}: loss: {loss} in round {state.done + 1}: the run diverged; the "
                    "round before is kept, lower --distill.learning-rate or change --seed"
                )
                raise DivergedError(message)
            state.done += 1
            postfix = {"bits": current.spec.b_core, "loss": f"{loss:.4f}"}
            if current.final:
                postfix["held_out"] = f"{evaluate(state.done, state.student):.0f}"
            progress.set_postfix(postfix, refresh=False)
            progress.update()
            new = _drive_student(state.student, teacher, env, config.round_steps, seed + state.done)
            state.observations = np.concatenate((state.observations, new))
            lesson = lesson.with_more(_lesson(teacher, spreads, new))
            _save(progress_file, state, run)
    return state.student


@dataclass
class _State:
    """All that the next round needs."""

    done: int
    student: QuantActor
    optimiser: QuickAdam
    choice: Choice
    observations: np.ndarray


def _stage_start(rounds: Sequence[Round], done: int) -> int:
    return max(index for index in range(done + 1) if rounds[index].first)


def _save(path: Path, state: _State, run: Run) -> None:
    tensors = {
        **module_state("actor", state.student),
        **adam_state("adam", state.optimiser),
        **state.choice.tensors(),
        "observations": torch.from_numpy(state.observations),
    }
    meta = {
        "done": state.done,
        **run.saved_facts(),
        "seconds": run.curve[-1][2] if run.curve else 0.0,
    }
    save_state(path, tensors, meta)


def _load(path: Path, rounds: Sequence[Round], run: Run) -> _State | None:
    if not path.exists():
        return None
    tensors, meta = load_state(path)
    with restoring(path):
        # A run may have been trained further than this caller asks for.
        student = QuantActor(rounds[min(meta["done"], len(rounds)) - 1].spec)
        restore_module("actor", student, tensors)
        optimiser = QuickAdam(student.parameters())
        restore_adam("adam", optimiser, tensors)
        choice = Choice(student, optimiser)
        choice.restore(tensors)
        run.restore_facts({"cpu_seconds": 0.0, **meta})  # earlier versions did not count it
        if meta["done"] < len(rounds):
            run.resumes.append({"step": meta["done"], "kind": "exact"})
        return _State(meta["done"], student, optimiser, choice, tensors["observations"].numpy())


def _lesson(
    teacher: Teacher | ForeignTeacher,
    spreads: Callable[[np.ndarray], torch.Tensor] | None,
    observations: np.ndarray,
) -> Lesson:
    known = None if spreads is None else spreads(observations)
    return Lesson(_normalised(teacher, observations), teacher.shares(observations), known)


def _normalised(teacher: Teacher | ForeignTeacher, observations: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(teacher.normaliser(observations))


def collect_teacher(
    teacher: Teacher | ForeignTeacher, env: TrainingEnv, steps: int, seed: int
) -> np.ndarray:
    """Observations of the teacher with noise on its actions, float32 ``(steps, n)``."""
    policy = teacher.policy()
    rng = np.random.default_rng(seed)

    def act(observation: np.ndarray) -> np.ndarray:
        action = (policy(observation) - env.bias) / env.scale
        noisy = action + EXPERT_NOISE * rng.standard_normal(action.shape)
        return np.clip(noisy, -1.0, 1.0).astype(np.float32)

    return _collect(env, act, steps, seed)


def _drive_student(
    student: QuantActor, teacher: Teacher | ForeignTeacher, env: TrainingEnv, steps: int, seed: int
) -> np.ndarray:
    policy = integer_policy(student, teacher.normaliser, env)

    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = (policy(observation) - env.bias) / env.scale
        return action

    return _collect(env, act, steps, seed)


def _collect(
    env: TrainingEnv, act: Callable[[np.ndarray], np.ndarray], steps: int, seed: int
) -> np.ndarray:
    rows = np.empty((steps, env.observations), np.float32)
    observation = env.start(seed)
    for row in rows:
        row[:] = observation
        observation, _, terminated, truncated = env.step(act(observation))
        if terminated or truncated:
            observation = env.start(None)
    return rows
