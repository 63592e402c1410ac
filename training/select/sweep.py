"""A sweep's folder, its ledger, and how stages of candidates get there from the executor."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.invocation import invocation
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.sim import evaluate
from qpolicy_ros.sim.tasks import file_label
from qpolicy_training.recipes.student import StudentConfig
from qpolicy_training.runs.folder import Run
from qpolicy_training.runs.provenance import file_digest
from qpolicy_training.select.config import EXAM_SEED, RUNG_SEED, RUNG_STRIDE, SelectConfig, Shape
from qpolicy_training.select.costs import CostModel, Hardware
from qpolicy_training.select.executors import Executor
from qpolicy_training.select.ledger import NAME, Ledger, Row, read_json
from qpolicy_training.select.rule import Verdict, bound_rule, paper_rule
from qpolicy_training.select.watch import watched
from qpolicy_training.select.worker import Job

LAST = "rl"
"""Stage of the last rung; its second turn is ``rl2``."""
Candidate = tuple[Shape, int]
"""A shape and the seed that it is trained with."""


class Sweep:
    """One sweep, locked against another process; ``close`` releases it.

    Args:
        config: names the folder.
        teacher: the FP32 policy, loaded from a file that the workers see too.
        executor: runs the jobs.
        hardware: the FPGA generator's figures.
        limit: processor time after which nothing new begins, s; 0: none.
        critic: checkpoint for fine-tuning and the loss ``divergence``, or None.
    """

    def __init__(
        self,
        config: SelectConfig,
        teacher: PolicyArtifact,
        executor: Executor,
        hardware: Hardware,
        limit: float = 0.0,
        critic: Path | None = None,
    ) -> None:
        self.config = config
        self.teacher = teacher
        self._executor = executor
        self._limit = limit
        self._critic = critic
        contract = teacher.contract
        self.sizes = (len(contract.observation), len(contract.action))
        self.run = Run(f"{file_label(contract.task)}-select", config)
        self.folder = self.run.folder
        self.ledger = Ledger(self.folder / NAME)
        self.costs = CostModel(config, self.sizes, hardware, self.folder / "costs.json")
        self.latest: dict[Candidate, Row] = {}
        self._baseline: dict[str, list[float]] = {}
        self._spent: dict[tuple[str, str], float] = {}
        self._bar: tqdm[Any] = tqdm(
            desc=f"select {contract.task}", unit="round", total=0, mininterval=1.0
        )
        if self.ledger.find(self.run.hash, "sweep") is None:
            settings = json.loads(json.dumps(dataclasses.asdict(config)))
            more = {"command": invocation()[1:], "config": settings}
            self.ledger.add(Row(stage="sweep", hash=self.run.hash, cpu_seconds=0.0, more=more))

    @property
    def exhausted(self) -> bool:
        """Whether the processor time is used up.

        By the rows that this process has asked for, so that a sweep that goes on from its ledger
        takes the way that it took before.
        """
        return bool(self._limit) and sum(self._spent.values()) >= self._limit

    def close(self) -> None:
        """Release the folder; the executor belongs to the caller."""
        self._bar.close()
        self.run.close()

    # Jobs ------------------------------------------------------------------------------------

    def rung(self, candidate: Candidate, index: int) -> Job:
        """Distil a candidate to the end of a rung, judge it on the rung's own seeds."""
        first = RUNG_SEED + index * RUNG_STRIDE
        return self._job(candidate, f"rung{index}", index, first, self.config.rung_episodes)

    def whole(self, candidate: Candidate) -> Job:
        """Train a candidate to the end at once, judge it on as many episodes as an exam."""
        return self._job(candidate, "whole", None, RUNG_SEED, self.config.exam_episodes)

    def finetune(self, row: Row) -> Job:
        """Go on from a row's snapshot by RL, chosen and judged on as many episodes as in an exam.

        From a rung with the teacher's critics, from RL with that run's own. Such a turn takes
        minutes, and what falls in one episode of ten fails by chance on the few of a rung.
        """
        start = self.folder / row.snapshot
        turn = _turn(row) + 1
        critic, digest = self._critic, self.config.critic
        if turn > 1:
            critic = start.with_name("checkpoint.safetensors")
            digest = file_digest(critic)
        config = dataclasses.replace(
            self._student((row.shape, row.seed), "qat"),
            distill=type(self.config.distill)(),
            further=(),
            start=file_digest(start),
            sac=self.config.last,
            critic=digest,
            policy_starts=self.config.last.learning_starts,
        )
        first = RUNG_SEED + (len(self.config.rungs) + turn - 1) * RUNG_STRIDE
        stage = LAST if turn == 1 else f"{LAST}{turn}"
        job = self._new(config, stage, None, first, self.config.exam_episodes)
        return dataclasses.replace(job, start=start, critic=critic, snapshot_episodes=None)

    def exam(self, row: Row) -> Job:
        """Choose among a candidate's snapshots anew, on seeds that nothing has been chosen on."""
        if _turn(row):
            job = self.finetune(self._before(row))
        else:
            job = self.rung((row.shape, row.seed), int(row.stage.removeprefix("rung")))
        episodes = self.config.exam_episodes
        return dataclasses.replace(
            job, stage="exam", first_seed=EXAM_SEED, episodes=episodes, snapshot_episodes=None
        )

    def _before(self, row: Row) -> Row:
        """The row of the stage that the candidate was at before this one."""
        own = [
            r
            for r in self.ledger.rows
            if r.seed == row.seed and r.shape == row.shape and r.stage != "exam"
        ]
        place = next(i for i, r in enumerate(own) if (r.hash, r.stage) == (row.hash, row.stage))
        return own[place - 1]

    def _student(self, candidate: Candidate, method: str) -> StudentConfig:
        shape, seed = candidate
        config = self.config
        return StudentConfig(
            method=method,
            task=self.teacher.contract.env_id,
            teacher="" if method == "qat" else config.teacher,
            hidden=shape.hidden,
            b_in=shape.b_in,
            b_core=shape.b_core,
            b_out=shape.b_out,
            seed=seed,
            distill=config.distill,
            sac=config.sac,
            further=config.further if method == "distill" else (),
        )

    def _job(
        self, candidate: Candidate, stage: str, rung: int | None, first: int, episodes: int
    ) -> Job:
        student = self._student(candidate, self.config.method)
        if student.method != "distill" or self.config.distill.loss == "square":
            return self._new(student, stage, rung, first, episodes)
        student = dataclasses.replace(student, critic=self.config.critic)
        job = self._new(student, stage, rung, first, episodes)
        return dataclasses.replace(job, critic=self._critic)

    def _new(
        self, student: StudentConfig, stage: str, rung: int | None, first: int, episodes: int
    ) -> Job:
        return Job(
            config=student,
            stage=stage,
            rung=rung,
            folder=self.folder.resolve(),
            teacher=Path(self.teacher.path).resolve(),
            snapshot_episodes=self.config.snapshot_episodes,
            first_seed=first,
            episodes=episodes,
        )

    # Stages ----------------------------------------------------------------------------------

    def stage(self, jobs: Sequence[Job], confidence: float | None = None) -> list[Row]:
        """Return the rows of ``jobs`` in their order; run what the ledger does not hold yet.

        Rows get the verdict of the sweep's rule; the bound rule's at ``confidence`` % (default:
        the sweep's).
        """
        missing = [job for job in jobs if self.ledger.find(job.hash, job.stage) is None]
        kept = len(jobs) - len(missing)
        self._advance(sum(self._rounds(job) for job in jobs if job not in missing))
        by_key = {(job.hash, job.stage): job for job in missing}
        with watched(missing, self._show):
            for row in self._executor.run(missing):
                job = by_key[row.hash, row.stage]
                self.ledger.add(self._judged(row, job, confidence))
                self._advance(self._rounds(job))
        if kept:
            self.say(f"{kept} of {len(jobs)} stages were in the ledger")
        found = [self.ledger.find(job.hash, job.stage) for job in jobs]
        rows = [row for row in found if row is not None]
        for row in rows:
            self._spent[row.hash, row.stage] = row.cpu_seconds
            if row.stage != "exam" and not self._is_worse(row):
                self.latest[row.shape, row.seed] = row
        return rows

    def _is_worse(self, row: Row) -> bool:
        """Whether RL made a candidate fail that had passed: it stands where it was before."""
        before = self.latest.get((row.shape, row.seed))
        return bool(_turn(row)) and before is not None and before.passes and not row.passes

    def _judged(self, row: Row, job: Job, confidence: float | None) -> Row:
        """The row with its cost and verdict, said to the user."""
        shape = row.shape
        row = dataclasses.replace(row, cost=self.costs.of_shape(shape))
        if row.error:
            self.say(f"{shape}: {row.error}")
            return row
        verdict = self.verdict(row.returns, job.first_seed, confidence)
        row = dataclasses.replace(
            row, required=verdict.required, bound=verdict.bound, passes=verdict.passes
        )
        mark = "passes" if verdict.passes else "fails"
        measure = "bound" if self.config.rule == "bound" else "mean less that"
        self.say(
            f"{row.stage:<6} {shape!s:<24} {row.mean:9.1f} ± {row.std:.1f}, asked "
            f"{verdict.required:.1f}, {measure} {verdict.bound:+.1f}: {mark}; "
            f"cost {row.price:,.0f}, {row.cpu_seconds:.0f} s"
        )
        return row

    def verdict(
        self, returns: Sequence[float], first_seed: int, confidence: float | None = None
    ) -> Verdict:
        """Judge returns of the episodes from ``first_seed`` by the sweep's rule."""
        config = self.config
        baseline = self.baseline(first_seed, len(returns))
        if config.rule == "paper":
            return paper_rule(returns, baseline, config.floor)
        return bound_rule(
            returns,
            baseline,
            margin=config.margin,
            confidence=confidence or config.confidence,
            floor=config.floor,
        )

    def baseline(self, first_seed: int, episodes: int) -> list[float]:
        """Returns of the FP32 policy on the same seeds, played once a sweep."""
        path = self.folder / "baseline.json"
        if path.exists() and not self._baseline:
            self._baseline = read_json(path)
        key = f"{first_seed}+{episodes}"
        if key not in self._baseline:
            backend = create_backend("fp32", self.teacher)
            self._baseline[key] = evaluate(
                backend.act, self.teacher.contract.env_id, episodes, first_seed
            )
            write_atomically(path, json.dumps(self._baseline).encode())
        return self._baseline[key]

    # Standing and progress -----------------------------------------------------------------

    def leader(self) -> Row | None:
        """The cheapest candidate that passes at its latest stage."""
        passing = [row for row in self.latest.values() if row.passes]
        return min(passing, key=by_cost) if passing else None

    def expect(self, rounds: int) -> None:
        """Announce rounds to come, from which the progress bar takes its estimate."""
        self._bar.total = self._bar.n + rounds
        self._bar.refresh()

    def _advance(self, rounds: int) -> None:
        self._bar.total = max(self._bar.total or 0, self._bar.n + rounds)
        self._bar.update(rounds)
        self._show("")

    def _show(self, point: str) -> None:
        """Say beside the bar who leads where one is selected, and how far a run is that trains."""
        leader = self.leader()
        best = f"best {leader.shape}" if leader else "none passes yet"
        standing = "" if self.config.scope else best
        self._bar.set_postfix_str("; ".join(filter(None, (standing, point))))

    def _rounds(self, job: Job) -> int:
        """How much a job adds to the progress bar."""
        if job.stage == "exam":
            return 0
        if job.stage.startswith("rung"):
            rungs = (0, *self.config.rungs)
            index = int(job.stage.removeprefix("rung"))
            return rungs[index + 1] - rungs[index]
        return self.config.rungs[-1]

    def say(self, text: str) -> None:
        """Write a line above the progress bar."""
        tqdm.write(text, file=sys.stderr)


def _turn(row: Row) -> int:
    """How many turns of the last rung the row has had: 0 for one of distillation."""
    return int(row.stage.removeprefix(LAST) or 1) if row.stage.startswith(LAST) else 0


def by_cost(row: Row) -> tuple[Any, ...]:
    """Key for sorting rows: cheaper first, then the higher bound."""
    return (row.price, -row.bound)


def candidates(shapes: Iterable[Shape], seeds: Sequence[int]) -> list[Candidate]:
    """Every shape with every seed."""
    return [(shape, seed) for shape in shapes for seed in seeds]
