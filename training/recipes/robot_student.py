"""A quantised student of any walking policy, on the robot that it walks on (DAgger).

No reward is needed: the student drives, the teacher says what it would have done, all states so
far are trained on again, and a student is as good as its walks are like its teacher's: it stays up
where the teacher does, at the velocities that the teacher makes of the same commands.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qpolicy_ros.policy import PolicyArtifact, make_engine
from qpolicy_training.experience.fleet import Fleet
from qpolicy_training.quant.fast_quant import fast_forward
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.recipes.foreign import ForeignConfig, ForeignCourse, Verdict
from qpolicy_training.recipes.likeness import SECONDS, Likeness, judged_commands, judging_seeds
from qpolicy_training.recipes.scaling import Scaling

Float32 = NDArray[np.float32]

ROBOTS = 32
_NOISE = (0.0, 0.05, 0.15)  # on the teacher's own actions, of the range that it uses
_LED = 4  # one robot in so many is driven by the teacher, with noise, in every round
_LOOK = 20  # control steps of each robot that tell which range the teacher uses


class RobotCourse(ForeignCourse):
    """One student's training on one robot.

    Args:
        config: names the run.
        teacher: FP32 policy with a robot's contract.
        robot: a name or a file.
    """

    def __init__(self, config: ForeignConfig, teacher: PolicyArtifact, robot: str) -> None:
        self.fleet = Fleet(robot, teacher.contract, ROBOTS)
        super().__init__(config, teacher, "robot")
        self.commands = judged_commands(self.fleet.ranges)
        self._taught: dict[bool, tuple[Any, Any]] = {}

    def first(self) -> Float32:
        """Observations of the teacher, with more or less noise on its actions."""
        rng = np.random.default_rng((self.config.seed, 1))
        quiet = self.labels(self.fleet.collect(self.labels, _LOOK * ROBOTS, rng))
        used = np.ptp(np.percentile(quiet, (1, 99), axis=0), axis=0) / 2
        noise = np.resize(_NOISE, ROBOTS)[:, None] * used
        steps = 2 * self.config.distill.round_steps
        return self.fleet.collect(self._noisy(noise, rng), steps, rng)

    def further(self, student: QuantActor, scaling: Scaling, rng: np.random.Generator) -> Float32:
        """Observations of the student at most robots, and of the noisy teacher at the others."""
        led = np.arange(ROBOTS) % _LED == 0
        noise = np.resize(_NOISE, led.sum())[:, None] * scaling.action_scale / 1.5
        teach = self._noisy(noise, rng)
        low, high = self.teacher.contract.low, self.teacher.contract.high

        def act(observations: Float32) -> Float32:
            with torch.no_grad():
                output = fast_forward(student, scaling.inputs(observations))[0]
            actions = np.clip(scaling.actions(torch.tanh(output).numpy()), low, high)
            actions[led] = teach(observations[led])
            return actions

        return self.fleet.collect(act, self.config.distill.round_steps, rng)

    def judge(self, student: QuantActor, scaling: Scaling, *, final: bool) -> Verdict:
        """Play the student's integer network, and the teacher, at every command."""
        likeness = self.likeness(student, scaling, final=final)
        shown = {"up": f"{np.mean(likeness.up):.0%}", "off": f"{max(likeness.excess()):.2f}"}
        return Verdict(likeness.score, shown, {"likeness": asdict(likeness)})

    def likeness(self, student: QuantActor, scaling: Scaling, *, final: bool) -> Likeness:
        """Return how a student walks beside its teacher, on the last seeds or on earlier ones."""
        seeds = judging_seeds(self.config.distill.walks, final=final)
        act = make_engine(self.network(student, scaling)).act_batch
        walked = self.fleet.walk(act, self.commands, seeds, SECONDS)
        if final not in self._taught:
            self._taught[final] = self.fleet.walk(self.labels, self.commands, seeds, SECONDS)
        return Likeness.of(self.commands, len(seeds), walked, self._taught[final])

    def _noisy(self, noise: NDArray[Any], rng: np.random.Generator) -> Any:
        def act(observations: Float32) -> Float32:
            actions = self.labels(observations)
            return (actions + noise * rng.standard_normal(actions.shape)).astype(np.float32)

        return act
