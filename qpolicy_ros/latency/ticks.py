"""One row an answer: when, by which backend, how long; and what happened in between."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.arrival import Nanos, set_back
from qpolicy_ros.latency.bag import BagError
from qpolicy_ros.latency.trace import Micros, Series, Trace, is_wall

UNKNOWN = "unknown"

#: Stages that are plotted, in the order in which they happen.
#: ``wait`` is a robot's: from the oldest message's arrival to the tick that used it.
STAGES = ("transport", "queue", "wait", "quantise", "infer", "publish", "other")

_US = 1000.0  # ns
_RARE = 0.01  # share of answers that may lack an age without changing what latency means


@dataclass(frozen=True, kw_only=True)
class Ticks:
    """The answers of one bag, in order.

    Attributes:
        trace: where they come from.
        times: when, int64 (n,), ns, of :attr:`clock`.
        clock: ``publish`` or ``log``; empty where neither is wall time.
        backends: who answered (n,).
        latency: µs (n,); see :attr:`meaning`.
        meaning: what ``latency`` is.
        stages: µs (n,) by name, of :data:`STAGES`; empty without ``timing``.
        round_trip: µs (n,), NaN where the robot's side has not reported it.
        run: number of the clock's run (n,); it ends where stamps go back.
        rank: how many answers of the same run and backend came before (n,).
        age: µs (n,) since the time in the observation's stamp; None where that is no wall time.
        drops, duplicates, resent, untimed: counts by backend; None where they cannot be known.
        swaps: indexes of the answers that are the first of another backend within a run.
        resets: times of ended episodes and of stamps that went back, ns.
        period: control period by the stamps, µs, NaN = unknown.
        notes: what a reader of the figures should know.
    """

    trace: Trace
    times: Nanos
    clock: str
    backends: npt.NDArray[np.str_]
    latency: Micros
    meaning: str
    stages: dict[str, Micros]
    round_trip: Micros
    run: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int64]
    age: Micros | None
    drops: dict[str, int] | None
    duplicates: dict[str, int] | None
    resent: int
    untimed: int
    swaps: npt.NDArray[np.intp]
    resets: Nanos
    period: float
    notes: list[str] = field(default_factory=list)


def read_ticks(trace: Trace) -> Ticks:
    """Return the answers of a trace.

    Raises:
        BagError: there is none.
    """
    notes = list(trace.bag.notes)
    clock = _clock(trace, notes)
    if trace.timing is not None:
        series, named = trace.timing.series, trace.timing.backends
        latency, meaning = _total(trace, notes)
        stages = _stages(trace.timing.stages)
    else:
        series, latency, meaning = _arrivals(trace, clock)
        named, stages = np.full(len(latency), ""), {}
        notes.append("no timing topic: latency is from the recorder's times, stages are unknown")
    times = getattr(series, clock or "log")
    if not len(times):
        remedy = "record while observations are answered"
        raise BagError.at(trace.bag.path, "answers", "there are none", remedy)
    keys = _keys(trace, series, clock or "log")
    run = keys.runs(series)
    backends = _backends(trace, named, series.places, notes)
    known = series.stamps != 0
    if not known.all():
        notes.append(f"{int((~known).sum())} answers have no stamp")
    drops, duplicates, resent, untimed = _losses(trace, series, backends, keys)
    if drops is None:
        notes.append("no observation topic or no stamps: drops are unknown")
    swaps = np.flatnonzero((backends[1:] != backends[:-1]) & (run[1:] == run[:-1])) + 1
    within = (keys.starts > series.places[0]) & (keys.starts <= series.places[-1])
    jumps = times[np.searchsorted(series.places, keys.starts[within])]
    return Ticks(
        trace=trace,
        times=times,
        clock=clock,
        backends=backends,
        latency=latency,
        meaning=meaning,
        stages=stages,
        round_trip=_round_trip(trace, series, run),
        run=run,
        rank=_rank(run, backends),
        age=_age(series, clock),
        drops=drops,
        duplicates=duplicates,
        resent=resent,
        untimed=untimed,
        swaps=swaps,
        resets=np.sort(np.concatenate([getattr(trace.episodes, clock or "log"), jumps])),
        period=_period(trace, series),
        notes=notes,
    )


def _clock(trace: Trace, notes: list[str]) -> str:
    """Choose the wall clock that orders and spaces the messages."""
    series = trace.timing.series if trace.timing is not None else trace.actions
    wall = {name: is_wall(getattr(series, name)) for name in ("publish", "log")}
    if trace.has_publish and wall["publish"] != wall["log"]:
        notes.append(
            "arrival and sending are recorded by different clocks (use_sim_time): "
            "nothing is computed between the two"
        )
    if trace.has_publish and wall["publish"]:
        return "publish"
    if wall["log"]:
        return "log"
    notes.append("times are simulated: no period, no jitter")
    return ""


def _total(trace: Trace, notes: list[str]) -> tuple[Micros, str]:
    """Return the latency by the policy node's own clock, and what it is."""
    assert trace.timing is not None
    stages = trace.timing.stages
    missing = {"total", "infer"} - stages.keys()
    if missing:
        wrong = f"stages {', '.join(stages)} lack {', '.join(sorted(missing))}"
        raise BagError.at(trace.bag.path, "timing", wrong, "record policy_node's timing")
    total = stages["total"]
    age = stages.get("age", np.full(len(total), np.nan))
    unknown = int((~np.isfinite(age)).sum())
    if unknown > _RARE * len(age):
        notes.append(
            f"the observation's age is unknown in {unknown} of {len(age)} answers (clocks of two "
            "hosts, or an older rclpy): latency is from callback to action"
        )
        return total, "callback to action published"
    if unknown:
        notes.append(f"{unknown} answers without the observation's age are left out")
    return age + total, "observation sent to action published"


def _stages(given: dict[str, Micros]) -> dict[str, Micros]:
    """Return the durations that add up to the latency."""
    nothing = np.zeros(len(given["total"]))
    parts = {name: given.get(name, nothing) for name in ("quantise", "infer", "publish")}
    stages: dict[str, Micros] = {}
    if np.isfinite(given.get("age", np.full(1, np.nan))).any():
        age, queue = given["age"], given.get("queue", nothing)
        if np.isfinite(queue).any():
            # Three readings of the clock: a difference of some nanoseconds below zero is none.
            stages = {"transport": np.maximum(age - queue, 0.0), "queue": queue}
        else:
            stages = {"wait": age}
    return stages | parts | {"other": np.maximum(given["total"] - sum(parts.values()), 0.0)}


def _arrivals(trace: Trace, clock: str) -> tuple[Series, Micros, str]:
    """Return the answered observations and their latency by the recorder's clock."""
    if not clock:
        wrong = "no timing topic, and times are simulated"
        raise BagError.at(trace.bag.path, "clocks", wrong, "record timing, or in wall time")
    keys = _keys(trace, trace.actions, clock)
    first, index = np.unique(keys.of(trace.observations), return_index=True)
    asked = keys.of(trace.actions)
    place = np.minimum(np.searchsorted(first, asked), max(len(first) - 1, 0))
    answered = (trace.actions.stamps != 0) & np.isin(asked, first)
    _, once = np.unique(asked, return_index=True)
    kept = np.intersect1d(np.flatnonzero(answered), once)
    actions = Series(*(each[kept] for each in trace.actions))
    sent = getattr(trace.observations, clock)[index[place[kept]]]
    took = (getattr(actions, clock) - sent) / _US
    what = "sent" if clock == "publish" else "recorded"
    return actions, took, f"observation {what} to action {what}"


@dataclass(frozen=True)
class _Keys:
    """Numbers that tell equal stamps of different runs apart.

    Attributes:
        starts: where each run but the first begins, see ``Series.places``.
        first, width: smallest stamp, and what separates two runs, ns.
    """

    starts: Nanos
    first: int
    width: int

    def runs(self, series: Series) -> Nanos:
        """Return the number of the run of each message."""
        return np.searchsorted(self.starts, series.places, "right").astype(np.int64)

    def of(self, series: Series) -> Nanos:
        """Return one number a message."""
        return self.runs(series) * self.width + (series.stamps - self.first)


def _keys(trace: Trace, answers: Series, column: str) -> _Keys:
    """Find the runs: stamps or times go back where a simulation starts anew or a clock is set."""
    series = trace.observations if len(trace.observations.log) else answers
    times = getattr(series, column)
    back = np.flatnonzero(np.diff(series.stamps) < 0) + 1
    # A message sent again may arrive behind the next one.
    real = [int(i) for i in back if series.stamps[i] < np.median(series.stamps[max(0, i - 5) : i])]
    real = sorted({*real, *set_back(times)})
    stamps = np.concatenate([each.stamps for each in (series, trace.actions, answers)])
    given = stamps[stamps != 0]
    first, last = (int(given.min()), int(given.max())) if len(given) else (0, 0)
    return _Keys(np.asarray(series.places[real], np.int64), first, last - first + 1)


def _backends(
    trace: Trace, named: npt.NDArray[np.str_], places: Nanos, notes: list[str]
) -> npt.NDArray[np.str_]:
    """Return who answered; where the messages do not say, what the diagnostics said then."""
    if (named != "").all():
        return named
    reported = [(r.place, r.values["backend"]) for r in trace.reports if "backend" in r.values]
    if not reported:
        notes.append("the bag does not say which backend answered")
        return np.where(named == "", UNKNOWN, named)
    notes.append("backends are those that the diagnostics named, once a second")
    place = np.searchsorted([each for each, _ in reported], places, "right") - 1
    names = np.array([name for _, name in reported])[np.maximum(place, 0)]
    return np.where(named == "", names, named)


def _losses(
    trace: Trace, answers: Series, backends: npt.NDArray[np.str_], keys: _Keys
) -> tuple[dict[str, int] | None, dict[str, int] | None, int, int]:
    """Count observations without action, actions sent twice, observations sent twice."""
    observed = np.unique(keys.of(trace.observations), return_index=True)
    stamped = trace.actions.stamps != 0
    acted = keys.of(trace.actions)[stamped]
    if not len(acted) or not trace.observations.stamps.any():
        return None, None, 0, 0

    def serving(at: Nanos) -> npt.NDArray[np.str_]:
        place = np.searchsorted(answers.places, at, "right") - 1
        return backends[np.maximum(place, 0)]

    def count(names: npt.NDArray[np.str_]) -> dict[str, int]:
        return {str(name): int((names == name).sum()) for name in np.unique(backends)}

    sent = trace.observations.places[observed[1]]
    # Before the first answer the policy was not there; the last may still be under way.
    asked = (sent >= answers.places[0]) & (sent < answers.places[-1])
    dropped = sent[asked & ~np.isin(observed[0], acted)]
    unique, times_acted = np.unique(acted, return_counts=True)
    answered = keys.of(answers)
    twice = np.repeat(unique, times_acted - 1)
    known, index = np.unique(answered, return_index=True)
    place = np.minimum(np.searchsorted(known, twice), len(known) - 1)
    untimed = int((~np.isin(unique, answered)).sum())
    resent = len(trace.observations.log) - len(observed[0])
    return count(serving(dropped)), count(backends[index[place]]), resent, untimed


def _round_trip(trace: Trace, answers: Series, run: npt.NDArray[np.int64]) -> Micros:
    """Return the robot's own round trips beside the answers."""
    stamps, took = trace.round_trip
    found = np.full(len(answers.stamps), np.nan)
    if not len(stamps):
        return found
    # Runs are counted from the first in both, as the reports are not stamped by the same clock.
    own = np.concatenate([[0], np.cumsum(np.diff(stamps) < 0)])
    width = int(max(stamps.max(), answers.stamps.max())) + 1
    known, index = np.unique(own * width + stamps, return_index=True)
    wanted = (run - run[0]) * width + answers.stamps
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    hit = known[place] == wanted
    found[hit] = took[index[place[hit]]]
    return found


def _rank(run: npt.NDArray[np.int64], backends: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    rank = np.zeros(len(run), np.int64)
    groups = np.unique(backends, return_inverse=True)[1] + run * (len(np.unique(backends)) + 1)
    for group in np.unique(groups):
        chosen = groups == group
        rank[chosen] = np.arange(chosen.sum())
    return rank


def _age(series: Series, clock: str) -> Micros | None:
    """Return the age at action by the observation's stamp, where both are wall time.

    The timing is sent right behind the action.
    """
    if clock != "publish" or not is_wall(series.stamps[series.stamps != 0]):
        return None
    return (series.publish - series.stamps) / _US


def _period(trace: Trace, answers: Series) -> float:
    stamps = trace.observations.stamps if len(trace.observations.log) else answers.stamps
    steps = np.diff(stamps)
    steps = steps[steps > 0]
    return float(np.median(steps)) / _US if len(steps) else float("nan")
