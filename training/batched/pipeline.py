"""Teachers, then their students by distillation, then the students' last rung by RL.

Wall-clock seconds decide how long each phase is, so that a lent machine is used to the end;
learning rates follow the share of a phase that has passed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qpolicy_training.batched import actor as actors
from qpolicy_training.batched.adam import init_adam
from qpolicy_training.batched.layout import FIRST, Layout, take_runs
from qpolicy_training.batched.learn import Setting, State, distil, init_state, reinforce
from qpolicy_training.batched.loop import Session, put_run
from qpolicy_training.batched.plan import (
    SETTINGS,
    SIZES,
    STEP_COST,
    Phases,
    StudentRun,
    TaskSettings,
    TeacherRun,
)
from qpolicy_training.batched.pool import PhysicsPool
from qpolicy_training.batched.replay import init_replay, sample, tail
from qpolicy_training.batched.results import Results

STAGES = ((8, 1 / 6), (4, 1 / 6), (3, 1 / 6), (2, 1 / 2))
"""Bits of the core on the way down, and the share of the distillation at each."""


class Pipeline:
    """All phases on one machine.

    ``results`` takes evaluations as they come and the snapshots at the end of each phase, so that a
    run that is cut off leaves what it had.
    """

    def __init__(
        self, teachers: Sequence[TeacherRun], students: Sequence[StudentRun], phases: Phases,
        results: Results, *, workers: int, seed: int, dtype: Any, deadline: float,
    ) -> None:  # fmt: skip
        """``deadline``: of ``time.monotonic``, when everything ends."""
        self.teachers, self.students, self.phases = list(teachers), list(students), phases
        self.results, self.seed, self.deadline = results, seed, deadline
        self._dtype, self._workers = dtype, workers
        self._threads = ThreadPoolExecutor(2)

    def run(self) -> None:
        """Every phase in turn."""
        phases = self.phases
        pools = [self._pool(self.teachers, phases.envs, phases.evaluation_envs)]
        if self.students:
            envs = phases.student_envs, phases.student_evaluation_envs
            pools.append(self._pool(self.students, *envs))
        try:
            session = self._teach(pools[0])
            if self.students:
                parents = self._parents(session)
                student = self._adopt(session, parents, pools[1])
                del session
                self._distil(student)
                self._last_rung(student)
        finally:
            for pool in pools:
                pool.close()

    def _setting(self, runs: Sequence[TeacherRun] | Sequence[StudentRun], batch: int, *,
                 quantised: bool) -> Setting:  # fmt: skip
        tasks = tuple(SETTINGS.get(run.task, TaskSettings()) for run in runs)
        share = 0.5 if quantised else 0.0
        return Setting(
            layout_of(runs), tasks, self.phases.critic, batch, share, self._dtype, quantised
        )

    def _pool(self, runs: Sequence[Any], envs: int, evaluation_envs: int) -> PhysicsPool:
        return PhysicsPool(
            [run.task for run in runs], layout_of(runs), envs, evaluation_envs, self._workers,
            costs=STEP_COST, seed=self.seed, episode_steps=self.phases.episode_steps,
        )  # fmt: skip

    def _clock(self, session: Session, seconds: float, turns: float = 1.0) -> Callable[[], float]:
        """Share of a phase that has passed: of its seconds and of its least turns, the smaller."""
        session.turn(None, 0, evaluate=False)  # compiles what acts before the clock starts
        began, first = session.seconds(), session.counts.turns
        least = turns * self.phases.turns

        def share() -> float:
            passed = (session.seconds() - began) / max(seconds, 1e-9)
            done = session.counts.turns - first
            return min(passed, done / least) if least else passed

        return share

    # Teachers

    def _teach(self, pool: PhysicsPool) -> Session:
        phases = self.phases
        setting = self._setting(self.teachers, phases.batch, quantised=False)
        state = init_state(setting, [run.width for run in self.teachers], self.seed)
        state = jax.device_put(state)
        session = Session(
            setting, state, init_replay(setting.layout, phases.rows), pool, seed=self.seed,
            frozen=False, most_calls=phases.most_calls, record=partial(self.results.row, "teach"),
        )  # fmt: skip
        learn = ahead(
            self._threads, partial(reinforce, setting, phases.updates), state, session.replay,
            np.zeros(3, np.float32),
        )  # fmt: skip
        pool.wait()
        self.results.say("teachers: environments are up")
        compiled = learn.result()
        self.results.say("teachers: learner compiled")
        self._prepare_students()
        share = self._clock(session, phases.teach)
        while (phase := share()) < 1.0:
            warm = session.counts.steps < phases.random_steps
            # Constant, then down to a tenth in the last quarter.
            fade = 1.0 if phase < 0.75 else 1.0 - 3.6 * (phase - 0.75)
            rates = fade * np.array(
                [phases.actor_rate, phases.critic_rate, phases.alpha_rate], np.float32
            )
            call = None if warm else partial(_reordered, compiled, rates)
            session.turn(call, phases.updates, random=warm)
        self.results.counts("teach", session)
        self.results.save("teachers", self.teachers, session, most=2)
        return session

    def _parents(self, session: Session) -> list[int]:
        """Each student's teacher: its rank is by the best held-out return."""
        ranking: dict[str, list[int]] = {}
        for index, run in enumerate(self.teachers):
            ranking.setdefault(run.task, []).append(index)
        for indices in ranking.values():
            indices.sort(key=lambda i: -max((c.mean for c in session.candidates[i]), default=0.0))
        chosen = [ranking[s.task][min(s.rank, len(ranking[s.task]) - 1)] for s in self.students]
        self.results.parents = chosen
        return chosen

    # Students

    def _prepare_students(self) -> None:
        """Compile what the students need while the teachers learn."""
        if not self.students:
            return
        phases = self.phases
        self._distilling = self._setting(self.students, phases.distil_batch, quantised=True)
        self._reinforcing = self._setting(self.students, phases.student_batch, quantised=True)
        layout = self._distilling.layout

        def struct() -> tuple[Any, Any, Any]:
            state = jax.eval_shape(
                lambda: _with_student_fields(
                    init_shapes(self._distilling, [s.width for s in self.students]), self.students
                )
            )
            replay = jax.eval_shape(lambda: init_replay(layout, phases.student_rows))
            teacher = {k: v for k, v in state["actor"].items() if k != "range"}
            width = max(t.width for t in self.teachers)
            return state, replay, _resized(teacher, width)

        state, replay, teacher = struct()
        rate = jax.ShapeDtypeStruct((), np.float32)
        self._distil_call = ahead(
            self._threads, partial(distil, self._distilling, phases.distil_updates), state, replay,
            teacher, rate,
        )  # fmt: skip
        self._rung_call = ahead(
            self._threads, partial(reinforce, self._reinforcing, phases.updates), state, replay,
            jax.ShapeDtypeStruct((3,), np.float32),
        )  # fmt: skip

    def _adopt(self, session: Session, parents: list[int], pool: PhysicsPool) -> Session:
        """Students with the critics, statistics and latest experience of their teachers."""
        phases, source, target = self.phases, session.setting.layout, self._distilling.layout
        rng = np.random.default_rng(self.seed + 1)
        played = jax.tree.map(np.array, session._played)  # noqa: SLF001 as a stack to fill
        for index, kept in enumerate(session.candidates):
            if kept:
                put_run(played, source, index, kept[0].params)
        stack = jax.device_put(played)
        old = session.state
        self._teacher = take_runs(stack["actor"], source, target, parents)
        norm = take_runs(stack["norm"], source, target, parents)
        zero = jnp.zeros_like(norm["mean"])
        critic_adam = {
            name: take_runs(old["critic_adam"][name], source, target, parents)
            for name in ("mean", "square")
        }
        state: State = {
            "actor": actors.init_actors(rng, target, [s.width for s in self.students]),
            "critic": take_runs(old["critic"], source, target, parents),
            "target": take_runs(old["target"], source, target, parents),
            "critic_adam": critic_adam | {"count": old["critic_adam"]["count"] + 0.0},
            "log_alpha": old["log_alpha"][jnp.asarray(parents)],
            "norm": norm | {"m2": zero, "count": jnp.zeros(())},
            "key": jax.random.key_data(jax.random.key(self.seed + 2)),
        }
        state = _with_student_fields(state, self.students)
        kept_rows = min(phases.kept_rows, int(session.replay["written"]), phases.rows)
        kept_rows -= kept_rows % phases.student_envs
        replay = tail(source, target, session.replay, parents, phases.student_rows, kept_rows)
        session.state, session.replay = {}, None  # frees the accelerator's memory
        pool.wait()
        student = Session(
            self._distilling, state, replay, pool, seed=self.seed + 3, frozen=True,
            most_calls=phases.most_calls, record=partial(self.results.row, "distil"),
        )  # fmt: skip
        student.loudness[: len(student.loudness) // 2] = 0.0
        self.results.say(f"students: {len(self.students)} with {kept_rows} rows of their teachers")
        return student

    def _distil(self, session: Session) -> None:
        phases, layout = self.phases, session.setting.layout
        requantise = jax.jit(actors.requantise)
        calibration = jax.jit(
            lambda replay, norm, key: (
                sample(layout, replay, norm, key, phases.calibration, 0.5).observation
            )
        )
        compiled = self._distil_call.result()
        for number, (stage, share) in enumerate(STAGES):
            bits, changed = stage_bits(self.students, stage, first=number == 0)
            key = jax.random.key(self.seed + 10 + number)
            xs = calibration(session.replay, session.state["norm"], key)
            session.state["bits"] = bits
            session.state["actor"] = requantise(session.state["actor"], bits, changed, xs)
            session.state["actor_adam"] = init_adam(session.state["actor"])
            session.collecting = stage == STAGES[-1][0]
            if session.collecting:
                session.forget()
            part_of = self._clock(session, share * phases.distil, share)
            while (part := part_of()) < 1.0:
                rate = phases.distil_rate * (0.05 + 0.475 * (1.0 + math.cos(math.pi * part)))
                call = partial(_with, compiled, self._teacher, np.float32(rate))
                session.turn(call, phases.distil_updates)
        self.results.counts("distil", session)
        self.results.save("distilled", self.students, session, most=1)

    def _last_rung(self, session: Session) -> None:
        phases = self.phases
        compiled = self._rung_call.result()
        session.setting = self._reinforcing
        session._record = partial(self.results.row, "reinforce")  # noqa: SLF001 next phase
        session.loudness[:] = 1.0
        session.counts.calls = 1
        session.state["actor_adam"] = init_adam(session.state["actor"])
        session.metrics = {}
        saved = session.seconds()
        left = self.deadline - time.monotonic() - phases.finals
        share = self._clock(session, min(phases.reinforce, left))
        while (phase := share()) < 1.0:
            warm = phase < phases.warm_up
            fade = 1.0 if phase < 0.5 else 1.0 - 1.7 * (phase - 0.5)
            policy = 0.0 if warm else fade * phases.student_actor_rate
            rates = np.array(
                [policy, fade * phases.student_critic_rate, 0.0 if warm else 1e-4], np.float32
            )
            session.turn(partial(_reordered, compiled, rates), phases.updates)
            if session.seconds() - saved > 60.0:
                saved = session.seconds()
                self.results.save("students", self.students, session)
        self.results.counts("reinforce", session)
        self.results.save("students", self.students, session)
        self.results.say("students: final episodes")
        session.finals(24, min(self.deadline, time.monotonic() + phases.finals))
        self.results.save("students", self.students, session)


def layout_of(runs: Sequence[TeacherRun] | Sequence[StudentRun]) -> Layout:
    """The layout of these runs, in this order."""
    sizes = [SIZES[run.task] for run in runs]
    return Layout(tuple(n for n, _ in sizes), tuple(m for _, m in sizes))


def stage_bits(
    students: Sequence[StudentRun], stage: int, *, first: bool
) -> tuple[actors.Bits, jax.Array]:
    """Bits of each student at ``stage`` of the core, and whether these are new."""
    core = np.array([max(s.b_core, stage) for s in students])
    own = np.array([s.b_core for s in students])
    coarse = np.maximum([s.b_in for s in students], core)
    inputs = np.where(core > own, coarse, [s.b_in for s in students])
    outputs = np.array([s.b_out for s in students])
    bits = actors.Bits(*(jnp.asarray(b, jnp.float32) for b in (inputs, core, outputs)))
    return bits, jnp.asarray((core == stage) | first)


def ahead(threads: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Future:
    """Compile ``function`` for arguments of these shapes beside what else runs.

    The first argument's memory is reused for the result.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    jitted = jax.jit(function, donate_argnums=0)
    return threads.submit(lambda: jitted.lower(*shapes).compile())


def init_shapes(setting: Setting, widths: Sequence[int]) -> State:
    """As ``init_state``, for its shapes alone."""
    state = init_state(setting, widths, 0)
    return {k: v for k, v in state.items() if k != "actor_adam"}


def _with_student_fields(state: State, students: Sequence[StudentRun]) -> State:
    actor = state["actor"] | {"range": jnp.ones((len(students), 4))}
    bits = stage_bits(students, STAGES[0][0], first=True)[0]
    log_alpha = state["log_alpha"]
    return state | {
        "actor": actor,
        "actor_adam": init_adam(actor),
        "alpha_adam": init_adam(log_alpha),
        "bits": bits,
    }


def _resized(actor: Any, width: int) -> Any:
    """Shapes of a stack of actors at another largest width."""
    shape = jax.ShapeDtypeStruct

    def of(name: str, x: Any) -> Any:
        sizes = {
            "hidden": (x.shape[0], width, width), "last": (x.shape[0], width, x.shape[-1]),
            "head_w": (x.shape[0], width, x.shape[-1]),
        }  # fmt: skip
        return shape(sizes.get(name, x.shape), x.dtype)

    new = {k: of(k, v) for k, v in actor.items() if k not in (FIRST, "bias")}
    new[FIRST] = tuple(shape((*x.shape[:2], width), x.dtype) for x in actor[FIRST])
    b = actor["bias"]
    runs = b[0].shape[0]
    new["bias"] = (*(shape((runs, width), b[0].dtype) for _ in range(2)), b[2])
    return {key: new[key] for key in actor}


def _reordered(compiled: Any, rates: np.ndarray, state: State, replay: Any) -> Any:
    return compiled(state, replay, rates)


def _with(compiled: Any, teacher: Any, rate: np.floating, state: State, replay: Any) -> Any:
    return compiled(state, replay, teacher, rate)
