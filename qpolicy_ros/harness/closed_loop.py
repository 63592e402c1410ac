"""What the demo plays: whole episodes with one backend, and one with a swap in the middle."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lifecycle_msgs.msg import Transition

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.harness.observer import Episode, Observer
from qpolicy_ros.harness.processes import Child, Value
from qpolicy_ros.harness.recorder import Recorder
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.sim import Simulation, evaluate
from qpolicy_ros.sim.session import Session

Say = Callable[[str], None]
Micros = npt.NDArray[np.float64]

_POLL = 0.05  # s
_STALL = 60.0  # s without any news: more than the nodes' own patience with each other
_LAST_MESSAGES = 2.0  # s for what is still under way when a run has ended
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Job:
    """What is common to all runs of one policy.

    Attributes:
        artifact: the policy, loaded from a file.
        seed: of the first episode.
        max_episode_steps: control steps until an episode is cut, None = the task's own limit.
        logs: existing folder for the nodes' logs.
    """

    artifact: PolicyArtifact
    seed: int
    max_episode_steps: int | None
    logs: Path

    @property
    def label(self) -> str:
        """Task and variant, as in ``hopper/paper``."""
        return f"{self.artifact.contract.task}/{Path(self.artifact.path).stem}"

    @property
    def task(self) -> str:
        """What Gymnasium or this package calls the task."""
        return self.artifact.contract.env_id or self.artifact.contract.task


@dataclass(frozen=True)
class Run:
    """Episodes with one backend over ROS, and the same ones offline.

    Attributes:
        backend: its name.
        episodes: in order of their seeds.
        inference: duration of each backend call, input quantisation included, µs.
        round_trip: observation published until action received, in the simulator, µs.
        offline: returns of the same seeds played in one process without ROS.
    """

    backend: str
    episodes: list[Episode]
    inference: Micros
    round_trip: Micros
    offline: list[float]

    @property
    def returns(self) -> list[float]:
        """Returns over ROS."""
        return [episode.return_ for episode in self.episodes]

    @property
    def equal(self) -> bool:
        """Whether every return equals the offline one, as floats."""
        return self.returns == self.offline


@dataclass(frozen=True)
class Swap:
    """A run whose backend was swapped while the robot moved.

    Attributes:
        before, after: names of the backends.
        step: control steps answered before the swap, from the start of the run.
        actions: all actions of the run, float32 (steps, m).
        observed: how many of them reached the observer, to be compared with the backends' own.
        episodes: those finished.
        offline: returns of the same actions played offline.
        response: time from the request to the node's answer, µs.
    """

    before: str
    after: str
    step: int
    actions: npt.NDArray[np.float32]
    observed: int
    episodes: list[Episode]
    offline: list[float]
    response: float

    @property
    def equal(self) -> bool:
        """Whether every return equals the offline one, as floats."""
        return [episode.return_ for episode in self.episodes] == self.offline


def play(job: Job, backend: str, episodes: int, say: Say, recorder: Recorder | None = None) -> Run:
    """Play ``episodes`` episodes over ROS and offline; ``recorder`` hears all of them.

    Raises:
        NodeError: a node failed.
    """
    with pair_of_nodes(job, [backend], episodes, recorder=recorder) as pair:
        observer = pair.observer
        told = 0
        while pair.simulator.code is None:
            pair.spin(policy_only=True)
            for episode in observer.episodes[told:]:
                told += 1
                say(
                    f"{backend}: episode {told}/{episodes}, seed {episode.seed}, "
                    f"{episode.length} steps, return {episode.return_:.1f}"
                )
        if pair.simulator.code:
            raise NodeError(pair.simulator.complaint())
        pair.catch_up(
            lambda: (
                len(observer.episodes) >= episodes
                and len(observer.timing) >= _steps(observer.episodes)
            )
        )
    if len(observer.episodes) < episodes or not observer.timing or not observer.round_trips:
        raise NodeError("messages of the nodes were lost; is this machine overloaded?")
    stages = np.array([values.tolist() for values in observer.timing])
    inference = sum(stages[:, observer.stages.index(name)] for name in ("quantise", "infer"))
    chosen = create_backend(backend, job.artifact)
    offline = evaluate(
        chosen.act, job.task, episodes, job.seed, max_episode_steps=job.max_episode_steps
    )
    chosen.close()
    return Run(
        backend,
        sorted(observer.episodes),
        np.asarray(inference),
        np.array(observer.round_trips),
        offline,
    )


def swap(
    job: Job,
    before: str,
    after: str,
    step: int,
    say: Say,
    recorder: Recorder | None = None,
) -> Swap:
    """Swap the backend by parameter after ``step`` control steps; stop after that episode.

    Raises:
        NodeError: a node failed, refused the swap, or sent an action of neither backend.
    """
    with pair_of_nodes(job, [before, after], 0, actions=True, recorder=recorder) as pair:
        observer = pair.observer
        pair.until(lambda: len(observer.actions) >= step)
        asked = time.perf_counter()
        answer = observer.request_backend(after)
        pair.until(answer.done)
        response = (time.perf_counter() - asked) * 1e6
        answered: Any = answer.result()
        result = answered.results[0]
        if not result.successful:
            raise NodeError(f"policy_node refused backend {after!r}: {result.reason}")
        say(f"{before} -> {after}: the node answered after {response / 1e3:.1f} ms")
        # As long again, and until an answer of the new backend is heard, which may be late; then
        # to the end of that episode.
        pair.until(lambda: next(reversed(observer.backends.values()), "") == after)
        last = max(2 * step, next(reversed(observer.backends)) // _period(job))
        pair.until(lambda: _steps(observer.episodes) >= last)
        # These count; the nodes play on. A result may overtake actions that wait to be taken.
        episodes = list(observer.episodes)
        pair.catch_up(lambda: _steps(episodes) * _period(job) in observer.actions)
    return _replay(job, observer, (before, after), episodes, response)


def _period(job: Job) -> int:
    """Control period, ns of simulated time."""
    return round(job.artifact.contract.period * _NANOSECONDS)


def _steps(episodes: list[Episode]) -> int:
    """Control steps of finished episodes."""
    return sum(episode.length for episode in episodes)


def offline_actions(job: Job, backend: str, steps: int) -> npt.NDArray[np.float32]:
    """Return the first ``steps`` actions (steps, m) of a run with one backend, without ROS."""
    chosen = create_backend(backend, job.artifact)
    session = Session(Simulation(job.task, max_episode_steps=job.max_episode_steps), job.seed)
    played = []
    for _ in range(steps):
        played.append(chosen.act(session.observation))
        session.step(played[-1])
    session.simulation.close()
    chosen.close()
    return np.array(played)


def _replay(
    job: Job,
    observer: Observer,
    names: tuple[str, str],
    episodes: list[Episode],
    response: float,
) -> Swap:
    """Play the run's actions offline, and find out which backend gave each.

    The node says it; where that did not reach the observer (it is kept out of the loop) the
    action's value tells, and an action that did not reach it is computed anew.
    """
    before, after = (create_backend(name, job.artifact) for name in names)
    contract = job.artifact.contract
    period = _period(job)
    session = Session(Simulation(job.task, max_episode_steps=job.max_episode_steps), job.seed)
    serving, swapped = before, -1
    played = []
    for index in range(_steps(episodes)):
        stamp = (index + 1) * period
        if serving is before and observer.backends.get(stamp) == after.name:
            serving, swapped = after, index
        action = np.clip(serving.act(session.observation), contract.low, contract.high)
        seen = observer.actions.get(stamp, action)
        if not np.array_equal(seen, action) and serving is before:
            serving, swapped = after, index
            action = np.clip(serving.act(session.observation), contract.low, contract.high)
        if not np.array_equal(seen, action):
            raise NodeError(
                f"policy_node: action {index} of the swapped run is {seen.tolist()}, "
                f"{serving.name} gives {action.tolist()}"
            )
        played.append(action)
        session.step(action)
    session.simulation.close()
    before.close()
    after.close()
    if swapped < 0:
        raise NodeError(f"policy_node: no action of {after.name} followed the swap")
    offline = [result.return_ for result in session.results]
    observed = sum(stamp <= len(played) * period for stamp in observer.actions)
    return Swap(*names, swapped, np.array(played), observed, episodes, offline, response)


class _Pair:
    """Both nodes of a run, and the observer that hears them."""

    def __init__(self, observer: Observer, policy: Child, simulator: Child) -> None:
        self.observer = observer
        self.policy = policy
        self.simulator = simulator
        self._last_news = time.monotonic()
        self._seen = 0

    def spin(self, *, policy_only: bool = False) -> None:
        """Take one message; NodeError if a node has ended or nothing has moved for a minute."""
        self.observer.spin(_POLL)
        self.policy.check_alive()
        if not policy_only:
            self.simulator.check_alive()
        seen = self.observer.steps
        now = time.monotonic()
        if seen != self._seen:
            self._seen, self._last_news = seen, now
        elif now - self._last_news > _STALL:
            raise NodeError(
                f"nothing has moved for {_STALL:g} s: {self.policy.complaint()}; "
                f"{self.simulator.complaint()}"
            )

    def until(self, condition: Callable[[], object]) -> None:
        """Spin until ``condition`` holds."""
        while not condition():
            self.spin()

    def catch_up(self, condition: Callable[[], object]) -> None:
        """Take what was sent already, until ``condition`` holds, at most two seconds long."""
        end = time.monotonic() + _LAST_MESSAGES
        while time.monotonic() < end and not condition():
            self.observer.spin(_POLL)

    def activate(self, recorder: Recorder | None = None) -> None:
        """Bring the policy node to life once everyone has found everyone.

        Before that its first answers would go unheard: a short run may be over before a recorder
        has found its nodes.
        """
        self.until(self.observer.finds_policy)
        self.until(lambda: self.observer.hears("round_trip") and self.observer.hears("episode"))
        self._transit(Transition.TRANSITION_CONFIGURE)
        self.until(lambda: self.observer.hears("timing"))
        if recorder is not None:
            sent = [topic for topic in recorder.topics if self.observer.hears(topic)]
            self.until(lambda: all(map(recorder.hears, sent)))
            # A node whose message has come knows all that the recorder subscribes to: a policy
            # node reports once a second, a simulator sends its observation until it is answered.
            self.until(lambda: recorder.receives("/diagnostics"))
            self.until(lambda: any(map(recorder.receives, ("observation", "joint_states"))))
        self._transit(Transition.TRANSITION_ACTIVATE)

    def _transit(self, transition: int) -> None:
        answer = self.observer.request_transition(transition)
        self.until(answer.done)
        result: Any = answer.result()
        if not result.success:
            raise NodeError(self.policy.complaint())


@contextlib.contextmanager
def pair_of_nodes(
    job: Job,
    backends: list[str],
    episodes: int,
    *,
    actions: bool = False,
    recorder: Recorder | None = None,
    policy_options: Mapping[str, Value] | None = None,
    simulator_options: Mapping[str, Value] | None = None,
) -> Iterator[_Pair]:
    """Start both nodes in lock-step, the first backend serves; ``episodes`` 0 plays for ever.

    Nothing is played before ``recorder`` hears all that is published here.
    """
    label = f"{job.label.replace('/', '-')}-{'-'.join(backends)}"
    with contextlib.ExitStack() as stack:
        observer = stack.enter_context(contextlib.closing(Observer(actions=actions)))
        policy = Child.node(
            "policy_node",
            {
                "policy": job.artifact.path,
                "backend": backends[0],
                "preload": backends,
                "lockstep": True,
                "timeout": 0.0,
                **(policy_options or {}),
            },
            job.logs / f"{label}-policy_node.log",
        )
        stack.callback(policy.close)
        simulator = Child.node(
            "mujoco_sim_node",
            {
                "task": job.task,
                "seed": job.seed,
                "episodes": episodes,
                "max_episode_steps": job.max_episode_steps or 0,
                **(simulator_options or {}),
            },
            job.logs / f"{label}-mujoco_sim_node.log",
        )
        stack.callback(simulator.close)
        pair = _Pair(observer, policy, simulator)
        pair.activate(recorder)
        yield pair
