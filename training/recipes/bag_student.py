"""A quantised student of a policy, from recordings of it alone: no simulator takes part.

The teacher is asked what it does in every recorded state, and in states beside them: recorded
observations with noise. Parts of the recordings that are not trained on judge the student. What
they do not show, the student was not taught: the coverage says what they show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.policy import Contract, PolicyArtifact, PolicyError, make_engine
from qpolicy_training.experience.recordings import Recording
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.recipes.foreign import ForeignConfig, ForeignCourse, Verdict
from qpolicy_training.recipes.scaling import Scaling

Float32 = NDArray[np.float32]

_BLOCK = 10.0  # s: what is near in time is alike, so that parts are judged as a whole
_BLOCKS = 10  # of ten blocks one chooses among students, two judge the chosen one
_NOISE = (0.03, 0.1, 0.3)  # on observations, of each channel's standard deviation
_LEAST = 2000  # observations in training: fewer are not enough for a network


class BagCourse(ForeignCourse):
    """One student's training on recordings.

    Args:
        config: names the run.
        teacher: FP32 policy with a robot's contract.
        recording: what was seen.

    Attributes:
        counts: observations that were trained on, chosen by and judged by.

    Raises:
        PolicyError: the recording is too short.
    """

    def __init__(
        self, config: ForeignConfig, teacher: PolicyArtifact, recording: Recording
    ) -> None:
        rows = recording.observations
        parts = _parts(len(rows), round(_BLOCK / teacher.contract.period))
        self._train, self._select, self._final = (rows[parts == part] for part in range(3))
        self.counts = tuple(len(part) for part in (self._train, self._select, self._final))
        if len(rows) < _LEAST:
            period = teacher.contract.period
            wrong = f"{len(rows) * period:.0f} s of observations"
            remedy = f"record {_LEAST * period:.0f} s or more, better 10 minutes"
            raise PolicyError.at("", "--bag", wrong, remedy)
        super().__init__(config, teacher, "bag")

    def first(self) -> Float32:
        """What was recorded, without what judges."""
        return self._train

    def further(self, student: QuantActor, scaling: Scaling, rng: np.random.Generator) -> Float32:
        """Recorded observations with noise: states beside the path."""
        del student, scaling
        steps = self.config.distill.round_steps
        rows = self._train[rng.integers(0, len(self._train), steps)]
        moving = self._train.std(axis=0)
        noise = rng.choice(_NOISE, (steps, 1)) * moving
        return (rows + noise * rng.standard_normal(rows.shape)).astype(np.float32)

    def judge(self, student: QuantActor, scaling: Scaling, *, final: bool) -> Verdict:
        """Compare the integer network's actions with the teacher's on held-out parts."""
        rows = self._final if final else self._select
        act = make_engine(self.network(student, scaling)).act_batch
        error = act(rows).astype(np.float64) - self.labels(rows)
        facts = action_error(error, self.teacher.contract)
        return Verdict(-facts["rmse"], {"rmse": f"{facts['rmse']:.4f}"}, {"action_error": facts})


def action_error(error: NDArray[np.float64], contract: Contract) -> dict[str, Any]:
    """Return what action error ``(k, m)`` to expect, in the actions' own units."""
    size = np.abs(error)
    return {
        "observations": len(error),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "p99": float(np.percentile(size, 99)),
        "worst": float(size.max()),
        "joints": {
            action.name: {
                "rmse": float(np.sqrt(np.mean(error[:, j] ** 2))),
                "p99": float(np.percentile(size[:, j], 99)),
                "worst": float(size[:, j].max()),
            }
            for j, action in enumerate(contract.action)
        },
    }


def coverage(recording: Recording, contract: Contract) -> dict[str, Any]:
    """Return what a recording shows of each channel, and what it does not."""
    rows = recording.observations
    low, high = rows.min(axis=0), rows.max(axis=0)
    channels = {
        channel.name: {
            "low": float(low[i]),
            "high": float(high[i]),
            "mean": float(rows[:, i].mean()),
            "std": float(rows[:, i].std()),
        }
        for i, channel in enumerate(contract.observation)
        if not channel.source.startswith("history.")
    }
    gaps = [name for name, seen in channels.items() if seen["low"] == seen["high"]]
    commands = []
    for source, least, most in contract.commands:
        index = next((i for i, c in enumerate(contract.observation) if c.source == source), None)
        if index is None:
            continue
        channel = contract.observation[index]
        seen = [float(v) / channel.scale + channel.offset for v in (low[index], high[index])]
        commands.append({"source": source, "seen": seen, "trained": [least, most]})
    return {
        "seconds": len(rows) * contract.period,
        "observations": len(rows),
        "exact": recording.exact,
        "notes": recording.notes,
        "channels": channels,
        "constant": gaps,
        "commands": commands,
    }


def _parts(count: int, block: int) -> NDArray[np.intp]:
    """Return for each observation: 0 trained on, 1 chosen by, 2 judged by."""
    block = min(block, max(count // _BLOCKS, 1))
    number = np.arange(count) // block
    part = np.zeros(count, np.intp)
    part[number % _BLOCKS == 4] = 1
    part[np.isin(number % _BLOCKS, (2, 7))] = 2
    return part
