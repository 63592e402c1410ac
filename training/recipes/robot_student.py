"""A quantised student of any walking policy, on the robot that it walks on (DAgger).

No reward is needed: the student drives, the teacher says what it would have done, all states so
far are trained on again, and a student is as good as its walks are like its teacher's: it stays up
where the teacher does, at the velocities that the teacher makes of the same commands.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyArtifact, make_engine
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_training.experience.fleet import Fleet
from qpolicy_training.quant.export import export_network
from qpolicy_training.quant.fast_quant import fast_forward
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor, calibrate, with_bits
from qpolicy_training.recipes.distill import CALIBRATION, DistillConfig, plan
from qpolicy_training.recipes.regress import adam, fit
from qpolicy_training.recipes.scaling import Scaling
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

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ROBOTS = 32
COMMANDS = ((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.3, 0.2, 0.0), (0.0, 0.0, 0.5))
HELD_OUT_SEEDS, FINAL_SEEDS = range(1_000_000, 1_000_004), range(2_000_000, 2_000_020)
SECONDS = 10.0
_NOISE = (0.0, 0.05, 0.15)  # on the teacher's own actions, of the range that it uses
_LED = 4  # one robot in so many is driven by the teacher, with noise, in every round
_CLOSE = np.array([0.05, 0.05, 0.1])  # m/s, m/s, rad/s: as the teacher, for all that it matters


@dataclass(frozen=True)
class RobotStudentConfig:
    """The full configuration of a run; its hash names the run."""

    robot: str
    """Digest of the description and of the model's file."""
    teacher: str
    """Hash of the teacher's function."""
    hidden: tuple[int, ...]
    b_in: int
    b_core: int
    b_out: int
    seed: int
    distill: DistillConfig = field(default_factory=DistillConfig)


@dataclass(frozen=True)
class Likeness:
    """How a student walks beside its teacher.

    Attributes:
        commands: forward, left (m/s), turning (rad/s).
        up, teacher_up: shares of walks that stayed up, one a command.
        velocity, teacher_velocity: means over those, ``(commands, 3)``, None where none did.
    """

    commands: list[list[float]]
    up: list[float]
    teacher_up: list[float]
    velocity: list[list[float] | None]
    teacher_velocity: list[list[float] | None]

    @property
    def score(self) -> float:
        """Greater is better; 0 = all up and every velocity the teacher's."""
        fallen = sum(max(t - s, 0.0) for s, t in zip(self.up, self.teacher_up, strict=True))
        return -100.0 * fallen / len(self.up) - sum(self.excess()) / len(self.up)

    def excess(self) -> list[float]:
        """Distance of each command's velocity from the teacher's, in tolerances."""
        pairs = zip(self.velocity, self.teacher_velocity, strict=True)
        return [
            float((np.abs(np.subtract(s, t)) / _CLOSE).max()) if s and t else 0.0 for s, t in pairs
        ]


class RobotCourse:
    """One student's training on one robot.

    Args:
        config: names the run.
        teacher: FP32 policy with a robot's contract.
        robot: a name or a file.
    """

    def __init__(self, config: RobotStudentConfig, teacher: PolicyArtifact, robot: str) -> None:
        prepare(config.seed)
        self.config, self.teacher = config, teacher
        self.fleet = Fleet(robot, teacher.contract, ROBOTS)
        low, high = self.fleet.ranges.T
        self.commands = [np.clip(c, low, high).tolist() for c in COMMANDS]
        contract = teacher.contract
        self.spec = ActorSpec(
            len(contract.observation),
            len(contract.action),
            config.hidden,
            config.b_in,
            config.b_core,
            config.b_out,
        )
        self.run = Run(f"{contract.task}-robot", config)
        self._taught: dict[str, tuple[Any, Any]] = {}

    def train(self) -> tuple[QuantActor, Scaling, Likeness, NDArray[np.float32]]:
        """Train, or go on training, and return the best student with how it walks.

        Also returned are observations ``(k, n)`` that it met. The caller closes the run. Raises
        ``DivergedError`` when the loss is not finite.
        """
        options, run = self.config.distill, self.run
        rounds = plan(self.spec, options.rounds)
        done, student, optimiser = self._restore(rounds)
        if student is None:
            self._keep(0, self._first(options.round_steps * 2))
        seen = np.concatenate([np.load(self._seen(i)) for i in range(done + 1)])
        labels = self._labels(seen)
        scaling = self._scaling(seen, labels)
        inputs, targets = scaling.inputs(seen), scaling.targets(labels)
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
                begun = max(i for i in range(done + 1) if rounds[i].first)
                place = (done - begun, current.stage_rounds)
                loss = fit(student, optimiser, (inputs, targets), options, rng, place)
                if not math.isfinite(loss):
                    message = (
                        f"{run.folder}: loss: {loss} in round {done + 1}: the run diverged; lower "
                        "--distill.learning-rate or change --seed"
                    )
                    raise DivergedError(message)
                done += 1
                postfix = {"bits": current.spec.b_core, "loss": f"{loss:.5f}"}
                if current.final and current.stage_rounds - place[0] <= options.evaluate_last:
                    likeness = self.likeness(student, scaling, HELD_OUT_SEEDS)
                    run.consider(done, likeness.score, module_state("actor", student), {})
                    run.record(done, likeness.score)
                    postfix["up"] = f"{np.mean(likeness.up):.0%}"
                    postfix["off"] = f"{max(likeness.excess()):.2f}"
                progress.set_postfix(postfix, refresh=False)
                progress.update()
                if done < len(rounds):
                    new = self._drive(student, scaling, options.round_steps, rng)
                    self._keep(done, new)
                    inputs = torch.cat((inputs, scaling.inputs(new)))
                    targets = torch.cat((targets, scaling.targets(self._labels(new))))
                self._save(done, student, optimiser)
        return self._choose(scaling, seen)

    def likeness(self, student: QuantActor, scaling: Scaling, seeds: Sequence[int]) -> Likeness:
        """Play a student's integer network, and the teacher, at every command."""
        network = export_network(
            student, scaling.mean, scaling.std, scaling.action_scale, scaling.action_bias
        )
        contract = self.teacher.contract
        low, high = contract.low[:, None], contract.high[:, None]
        np.clip(network.table, low, high, out=network.table)
        walked = self.fleet.walk(make_engine(network).act_batch, self.commands, seeds, SECONDS)
        taught = self._taught.get(str(seeds))
        if taught is None:
            taught = self.fleet.walk(self._labels, self.commands, seeds, SECONDS)
            self._taught[str(seeds)] = taught
        means = [_means(*played) for played in (walked, taught)]
        return Likeness(
            self.commands,
            [float(row.mean()) for row in walked[0]],
            [float(row.mean()) for row in taught[0]],
            *means,
        )

    # Data ----------------------------------------------------------------------------------

    def _labels(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        return baseline_actions(self.teacher.baseline, observations)

    def _first(self, steps: int) -> NDArray[np.float32]:
        """Observations of the teacher, with more or less noise on its actions."""
        rng = np.random.default_rng((self.config.seed, 1))
        quiet = self._labels(self.fleet.collect(self._labels, 20 * ROBOTS, rng))
        used = np.ptp(np.percentile(quiet, (1, 99), axis=0), axis=0) / 2
        noise = np.resize(_NOISE, ROBOTS)[:, None] * used
        return self.fleet.collect(self._noisy(noise, rng), steps, rng)

    def _noisy(self, noise: NDArray[Any], rng: np.random.Generator) -> Any:
        def act(observations: NDArray[np.float32]) -> NDArray[np.float32]:
            actions = self._labels(observations)
            drawn: NDArray[np.float32] = (
                actions + noise * rng.standard_normal(actions.shape)
            ).astype(np.float32)
            return drawn

        return act

    def _drive(
        self, student: QuantActor, scaling: Scaling, steps: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Observations of the student at most robots, and of the noisy teacher at the others."""
        led = np.arange(ROBOTS) % _LED == 0
        noise = np.resize(_NOISE, led.sum())[:, None] * scaling.action_scale / 1.5
        teach = self._noisy(noise, rng)
        low, high = self.teacher.contract.low, self.teacher.contract.high

        def act(observations: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                output = fast_forward(student, scaling.inputs(observations))[0]
            actions = scaling.actions(torch.tanh(output).numpy())
            actions = np.clip(actions, low, high)
            actions[led] = teach(observations[led])
            return actions

        return self.fleet.collect(act, steps, rng)

    def _scaling(self, seen: NDArray[np.float32], labels: NDArray[np.float32]) -> Scaling:
        """What the first round's data say; kept, so that a resumed run has the same."""
        first = len(np.load(self._seen(0), mmap_mode="r"))
        return Scaling.of(seen[:first], labels[:first], self.teacher.contract)

    # Files ---------------------------------------------------------------------------------

    def _seen(self, index: int) -> Path:
        return self.run.folder / f"seen_{index:03d}.npy"

    def _keep(self, index: int, observations: NDArray[np.float32]) -> None:
        part = self._seen(index).with_suffix(".part.npy")
        np.save(part, observations)
        part.replace(self._seen(index))

    def _save(self, done: int, student: QuantActor, optimiser: torch.optim.Optimizer) -> None:
        tensors = {**module_state("actor", student), **adam_state("adam", optimiser)}
        meta = {
            "done": done,
            "candidates": self.run.candidates,
            "curve": self.run.curve,
            "resumes": self.run.resumes,
            "cpu_seconds": self.run.count_cpu(),
        }
        save_state(self.run.folder / "distill.safetensors", tensors, meta)

    def _restore(
        self, rounds: Sequence[Any]
    ) -> tuple[int, QuantActor | None, torch.optim.Optimizer | None]:
        path = self.run.folder / "distill.safetensors"
        if not path.exists():
            return 0, None, None
        tensors, meta = load_state(path)
        run = self.run
        with restoring(path):
            student = QuantActor(rounds[meta["done"] - 1].spec)
            restore_module("actor", student, tensors)
            optimiser = torch.optim.Adam(student.parameters(), fused=True)
            restore_adam("adam", optimiser, tensors)
            run.rewind(meta["curve"], meta["candidates"])
            run.earlier_cpu = run.saved_cpu = float(meta["cpu_seconds"])
            run.resumes = meta["resumes"]
            done = int(meta["done"])
            if done < len(rounds):
                run.resumes.append({"step": done, "kind": "exact"})
            # The last round's data are not there where training was over, or killed in between.
            count = done if done < len(rounds) else done - 1
            for index in range(count + 1, len(rounds)):
                self._seen(index).unlink(missing_ok=True)
            if done == len(rounds):
                self._keep(done, np.empty((0, self.spec.observations), np.float32))
        return done, student, optimiser

    def _choose(
        self, scaling: Scaling, seen: NDArray[np.float32]
    ) -> tuple[QuantActor, Scaling, Likeness, NDArray[np.float32]]:
        """Play the best snapshots on fresh seeds and return the best of them."""
        run, results = self.run, []
        best = sorted(run.candidates, key=run.candidates.__getitem__)[-self.config.distill.finalists :]
        for step in tqdm(best, unit="student", desc="choose"):
            actor = QuantActor(self.spec)
            tensors, _ = load_state(run.candidate_path(step))
            with restoring(run.candidate_path(step)):
                restore_module("actor", actor, tensors)
            results.append((self.likeness(actor.eval(), scaling, FINAL_SEEDS), actor))
        likeness, actor = max(results, key=lambda result: result[0].score)
        text = json.dumps(likeness.__dict__, indent=1)
        write_atomically(run.folder / "likeness.json", text.encode())
        return actor, scaling, likeness, seen[-4096:]


def _means(up: NDArray[np.bool_], velocity: NDArray[np.float64]) -> list[list[float] | None]:
    return [
        velocity[row][up[row]].mean(axis=0).tolist() if up[row].any() else None
        for row in range(len(up))
    ]
