"""A quantised student of somebody else's policy: the training that robots and recordings share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_training.quant.export import export_network
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor, calibrate, with_bits
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.recipes.distill import CALIBRATION, Round, plan
from qpolicy_training.recipes.regress import Lesson, adam, fit
from qpolicy_training.recipes.scaling import Scaling
from qpolicy_training.rl.quick_adam import QuickAdam
from qpolicy_training.rl.torch_setup import prepare
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

GOLDEN_ROWS = 4096
"""Observations, of the last that were met, from which golden vectors are taken."""


@dataclass(frozen=True)
class ForeignConfig:
    """The full configuration of a run; its hash names the run."""

    source: str
    """Digest of the robot or of the recordings."""
    teacher: str
    """Hash of the teacher's function."""
    hidden: tuple[int, ...]
    b_in: int
    b_core: int
    b_out: int
    seed: int
    distill: DistillConfig = field(default_factory=DistillConfig)


class Verdict(NamedTuple):
    """How good a student is.

    Attributes:
        score: greater is better.
        shown: for the progress bar.
        facts: JSON-able, for the provenance.
    """

    score: float
    shown: dict[str, str]
    facts: dict[str, Any]


class Trained(NamedTuple):
    """The best student of a run.

    Attributes:
        actor: in evaluation mode.
        scaling: before and behind it.
        verdict: on what no student was chosen by.
        observations: some that were met, float32 ``(k, n)``.
        step: rounds that it was trained for.
    """

    actor: QuantActor
    scaling: Scaling
    verdict: Verdict
    observations: NDArray[np.float32]
    step: int


class ForeignCourse(ABC):
    """One student's training: data, rounds, snapshots, choice.

    Args:
        config: names the run.
        teacher: FP32 policy.
        kind: of the run, for its folder's name.
    """

    def __init__(self, config: ForeignConfig, teacher: PolicyArtifact, kind: str) -> None:
        prepare(config.seed)
        self.config, self.teacher = config, teacher
        contract = teacher.contract
        self.spec = ActorSpec(
            len(contract.observation),
            len(contract.action),
            config.hidden,
            config.b_in,
            config.b_core,
            config.b_out,
        )
        self.run = Run(f"{contract.task}-{kind}", config)

    @abstractmethod
    def first(self) -> NDArray[np.float32]:
        """Return the observations to begin with, ``(k, n)``; the scaling is taken from them."""

    @abstractmethod
    def further(
        self, student: QuantActor, scaling: Scaling, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return the observations that a round adds, ``(k, n)``."""

    @abstractmethod
    def judge(self, student: QuantActor, scaling: Scaling, *, final: bool) -> Verdict:
        """Return how good a student is; ``final``: on what none was chosen by."""

    def labels(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the teacher does, ``(k, n)`` to ``(k, m)``."""
        return baseline_actions(self.teacher.baseline, observations)

    def network(self, student: QuantActor, scaling: Scaling) -> IntegerNetwork:
        """Return the student's integer network, its actions within the contract's limits."""
        network = export_network(
            student, scaling.mean, scaling.std, scaling.action_scale, scaling.action_bias
        )
        low, high = self.teacher.contract.low[:, None], self.teacher.contract.high[:, None]
        np.clip(network.table, low, high, out=network.table)
        return network

    def train(self) -> Trained:
        """Train, or go on training, and return the best student; the caller closes the run.

        Raises ``DivergedError`` when the loss is not finite.
        """
        options, run = self.config.distill, self.run
        rounds = plan(self.spec, options.rounds)
        done, student, optimiser = self._restore(rounds)
        if student is None:
            self._keep(0, self.first())
        seen = np.concatenate([np.load(self._seen(i)) for i in range(done + 1)])
        labels = self.labels(seen)
        begun = len(np.load(self._seen(0), mmap_mode="r"))
        scaling = Scaling.of(seen[:begun], labels[:begun], self.teacher.contract)
        inputs, targets = scaling.inputs(seen), scaling.targets(labels)
        seen = seen[-GOLDEN_ROWS:].copy()
        if student is None:
            student = QuantActor(rounds[0].spec)
            calibrate(student, inputs)
            optimiser = adam(student, options)
        assert optimiser is not None
        with tqdm(total=len(rounds), initial=done, unit="round", desc="distill") as progress:
            for current in rounds[done:]:
                rng = np.random.default_rng((self.config.seed, done))
                if current.first:
                    sample = inputs[torch.from_numpy(rng.permutation(len(inputs))[:CALIBRATION])]
                    student = with_bits(student, current.spec, sample)
                    optimiser = adam(student, options)
                start = max(i for i in range(done + 1) if rounds[i].first)
                place = (done - start, current.stage_rounds)
                loss = fit(student, optimiser, Lesson(inputs, targets), options, rng, place)
                if not math.isfinite(loss):
                    message = (
                        f"{run.folder}: loss: {loss} in round {done + 1}: the run diverged; lower "
                        "--distill.learning-rate or change --seed"
                    )
                    raise DivergedError(message)
                done += 1
                postfix = {"bits": current.spec.b_core, "loss": f"{loss:.5f}"}
                if current.final and len(rounds) - done < options.evaluate_last:
                    verdict = self.judge(student, scaling, final=False)
                    run.consider(done, verdict.score, module_state("actor", student), {})
                    run.record(done, verdict.score)
                    postfix |= verdict.shown
                progress.set_postfix(postfix, refresh=False)
                progress.update()
                if done < len(rounds):
                    new = self.further(student, scaling, rng)
                    self._keep(done, new)
                    inputs = torch.cat((inputs, scaling.inputs(new)))
                    targets = torch.cat((targets, scaling.targets(self.labels(new))))
                self._save(done, student, optimiser)
        return self._choose(scaling, seen)

    def _choose(self, scaling: Scaling, seen: NDArray[np.float32]) -> Trained:
        """Judge the best snapshots on what none was chosen by and return the best of them."""
        run = self.run
        ranked = sorted(run.candidates, key=run.candidates.__getitem__)
        results: list[Trained] = []
        for step in tqdm(ranked[-self.config.distill.finalists :], unit="student", desc="choose"):
            actor = QuantActor(self.spec)
            tensors, _ = load_state(run.candidate_path(step))
            with restoring(run.candidate_path(step)):
                restore_module("actor", actor, tensors)
            verdict = self.judge(actor.eval(), scaling, final=True)
            results.append(Trained(actor, scaling, verdict, seen, step))
        return max(results, key=lambda result: result.verdict.score)

    # Files ---------------------------------------------------------------------------------

    def _seen(self, index: int) -> Path:
        return self.run.folder / f"seen_{index:03d}.npy"

    def _keep(self, index: int, observations: NDArray[np.float32]) -> None:
        part = self._seen(index).with_suffix(".part.npy")
        np.save(part, observations)
        part.replace(self._seen(index))

    def _save(self, done: int, student: QuantActor, optimiser: QuickAdam) -> None:
        tensors = {**module_state("actor", student), **adam_state("adam", optimiser)}
        meta = {
            "done": done,
            **self.run.saved_facts(),
            "seconds": self.run.curve[-1][2] if self.run.curve else 0.0,
        }
        save_state(self.run.folder / "distill.safetensors", tensors, meta)

    def _restore(self, rounds: Sequence[Round]) -> tuple[int, QuantActor | None, QuickAdam | None]:
        path = self.run.folder / "distill.safetensors"
        if not path.exists():
            return 0, None, None
        tensors, meta = load_state(path)
        run = self.run
        with restoring(path):
            student = QuantActor(rounds[meta["done"] - 1].spec)
            restore_module("actor", student, tensors)
            optimiser = QuickAdam(student.parameters())
            restore_adam("adam", optimiser, tensors)
            run.restore_facts(meta)
            done = int(meta["done"])
            if done < len(rounds):
                run.resumes.append({"step": done, "kind": "exact"})
            else:  # the last round adds no observations
                self._keep(done, np.empty((0, self.spec.observations), np.float32))
        return done, student, optimiser
