"""Which runs there are and how long each phase lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from qpolicy_ros.policy import PolicyError

NARROW = 64
"""Observations up to this length share a group of the layout; each longer length has its own."""


@dataclass(frozen=True)
class TaskSettings:
    """What differs between tasks in the learner."""

    drop_quantiles: int = 2
    """Quantiles a critic left out of the targets, the largest: pessimism (TQC)."""
    gamma: float = 0.99
    reward_scale: float = 0.1
    """Rewards are multiplied by it, so that returns are of the order of ten."""
    entropy: float = 1.0
    """Target entropy, in units of minus the number of actions."""


#: TQC's own choices of ``drop_quantiles``.
SETTINGS = {
    "hopper": TaskSettings(drop_quantiles=5),
    "halfcheetah": TaskSettings(drop_quantiles=0),
}

#: Observation and action lengths of the tasks that a plan may name.
SIZES = {
    "hopper": (11, 3),
    "walker2d": (17, 6),
    "halfcheetah": (17, 6),
    "ant": (27, 8),
    "humanoid": (376, 17),
}

#: What a simulated step costs, by which environments are shared out.
STEP_COST = {"hopper": 1.4, "walker2d": 1.4, "halfcheetah": 0.5, "ant": 2.3, "humanoid": 2.8}


@dataclass(frozen=True)
class CriticSize:
    """Architecture of the critics."""

    count: int = 2
    width: int = 512
    blocks: int = 1
    quantiles: int = 25


@dataclass(frozen=True)
class TeacherRun:
    """One FP32 run from scratch."""

    task: str
    seed: int
    width: int = 256


@dataclass(frozen=True)
class StudentRun:
    """One quantised policy: distilled from a teacher, then RL with the quantised actor."""

    task: str
    label: str
    """paper: the paper's bits and width; selected: at most 3 bits at that width; best."""
    rank: int
    """Of its teacher among the task's, 0 is the best."""
    seed: int
    width: int
    b_in: int
    b_core: int
    b_out: int = 8


@dataclass(frozen=True)
class Phases:
    """How long each phase lasts and what it is filled with; ``DESCRIPTIONS`` says each field."""

    teach: float = 330.0
    distil: float = 45.0
    reinforce: float = 260.0
    finals: float = 30.0
    turns: int = 0
    envs: int = 16
    student_envs: int = 8
    evaluation_envs: int = 8
    student_evaluation_envs: int = 4
    random_steps: int = 5_000
    batch: int = 512
    student_batch: int = 256
    distil_batch: int = 256
    updates: int = 4
    distil_updates: int = 16
    most_calls: int = 4
    rows: int = 1 << 20
    student_rows: int = 1 << 19
    kept_rows: int = 200_000
    actor_rate: float = 4e-4
    critic_rate: float = 5e-4
    alpha_rate: float = 1e-3
    distil_rate: float = 1e-3
    student_actor_rate: float = 1e-4
    student_critic_rate: float = 2e-4
    warm_up: float = 0.06
    calibration: int = 4096
    critic: CriticSize = field(default_factory=CriticSize)
    episode_steps: int | None = None

    def check(self) -> None:
        """``PolicyError`` naming the option where values do not go together."""
        for name in DESCRIPTIONS:
            value = getattr(self, name)
            if not (math.isfinite(value) and (value > 0 or name in ("distil", "warm_up", "turns"))):
                raise _wrong(name, f"{value}: must be positive")
        for rows, envs in (("rows", "envs"), ("student_rows", "student_envs")):
            if getattr(self, rows) % getattr(self, envs):
                wrong = f"{getattr(self, rows)} is no multiple of {getattr(self, envs)}"
                raise _wrong(rows, f"{wrong} environments (--{envs.replace('_', '-')})")
        if self.updates % 2:
            raise _wrong("updates", f"{self.updates} is odd: two go with one of the actor")
        if self.kept_rows > self.student_rows:
            raise _wrong("kept_rows", f"{self.kept_rows} exceed --student-rows {self.student_rows}")


def _wrong(name: str, text: str) -> PolicyError:
    return PolicyError(f"--{name.replace('_', '-')}: {text}")


DESCRIPTIONS = {
    "teach": "seconds of the teachers' RL",
    "distil": "seconds of distillation",
    "reinforce": "seconds of the students' RL",
    "finals": "seconds of the final held-out episodes, at most",
    "turns": "steps of every environment that each phase takes at least, whatever its seconds",
    "envs": "environments a teacher",
    "student_envs": "environments a student",
    "evaluation_envs": "held-out episodes of a teacher's snapshot, side by side",
    "student_evaluation_envs": "held-out episodes of a student's snapshot, side by side",
    "random_steps": "environment steps of a teacher before its first update",
    "batch": "transitions an update of a teacher",
    "student_batch": "transitions an update of a student's RL",
    "distil_batch": "observations an update of distillation",
    "updates": "critic updates in one compiled call (even)",
    "distil_updates": "updates of distillation in one compiled call",
    "most_calls": "compiled calls for one step of the environments, at most",
    "rows": "transitions that a teacher's replay holds",
    "student_rows": "transitions that a student's replay holds",
    "kept_rows": "transitions of its teacher that a student begins with",
    "actor_rate": "learning rate of the teachers' actors, falling in the last quarter",
    "critic_rate": "learning rate of the teachers' critics, falling in the last quarter",
    "alpha_rate": "learning rate of the teachers' temperatures",
    "distil_rate": "learning rate of distillation, a cosine at each stage of bits",
    "student_actor_rate": "learning rate of quantised actors in RL, falling in the second half",
    "student_critic_rate": "learning rate of their critics, falling in the second half",
    "warm_up": "share of the students' RL in which the critics alone learn",
    "calibration": "observations on which activation ranges are fitted",
}


WIDTHS = {"hopper": 16, "walker2d": 128, "halfcheetah": 256, "ant": 64, "humanoid": 16}
PAPER_BITS = {  # input, core
    "hopper": (6, 2), "walker2d": (3, 2), "halfcheetah": (8, 3), "ant": (3, 2), "humanoid": (4, 3),
}  # fmt: skip
SELECTED_BITS = {
    "hopper": (6, 3), "walker2d": (4, 3), "halfcheetah": (8, 3), "ant": (4, 3), "humanoid": (4, 3),
}  # fmt: skip


def in_order(tasks: list[str]) -> list[str]:
    """Tasks so that groups of the layout are in one piece: narrow ones first."""
    return sorted(tasks, key=lambda task: (SIZES[task][0] > NARROW, SIZES[task][0]))


def teachers(tasks: list[str], seeds: int) -> list[TeacherRun]:
    """``seeds`` runs a task."""
    return [TeacherRun(task, seed) for task in in_order(tasks) for seed in range(seeds)]


def students(tasks: list[str], ranks: int, seeds: int) -> list[StudentRun]:
    """A task's students: ``seeds`` of the best teacher, one of each other, paper's bits, best."""
    return [run for task in in_order(tasks) for run in _students_of(task, ranks, seeds)]


def _students_of(task: str, ranks: int, seeds: int) -> list[StudentRun]:
    width = WIDTHS[task]
    same = PAPER_BITS[task] == SELECTED_BITS[task]
    main = "paper" if same else "selected"
    b_in, b_core = SELECTED_BITS[task]
    runs = [StudentRun(task, main, 0, seed, width, b_in, b_core) for seed in range(seeds)]
    runs += [
        StudentRun(task, main, rank, seeds + rank - 1, width, b_in, b_core)
        for rank in range(1, ranks)
    ]
    if not same:
        b_in, b_core = PAPER_BITS[task]
        # Walker2d's own bits have a target of their own.
        count = seeds if task == "walker2d" else (seeds + 1) // 2
        runs += [StudentRun(task, "paper", 0, seed, width, b_in, b_core) for seed in range(count)]
    return [*runs, StudentRun(task, "best", 0, 0, 256, 8, 4)]
