"""Finds the ticks that differ from what the recording says they must be.

Each check looks at all ticks at once and returns those that it finds, each with its class and a
function that says why; only the few that are shown are put into words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.trace import set_back
from qpolicy_ros.policy.sources import CMD_VEL
from qpolicy_ros.replay.assembly import ABSENT, same
from qpolicy_ros.replay.expected import Kind, Replay, Reported
from qpolicy_ros.replay.explain import explain_answer, quote
from qpolicy_ros.replay.explain_inputs import explain_observation
from qpolicy_ros.replay.reasons import why_safe
from qpolicy_ros.replay.ticks import NONE, Flags, Indexes

CLASSES = ("sensor", "timing", "engine", "contract", "safety")

_SHOWN = 40  # differences that are put into words
_CLOCK_STEP_NS = 200_000_000  # by which a wall clock and a monotonic one may part between two ticks
_AROUND = 5  # ticks before and behind a step of a clock
_LOST_STAMPS = 10  # periods that a stamp may jump before it is the clock that was set
_SHARE_OF_TIME = 0.2  # of the usual time that lost commands take at least
_SECOND_NS = 1_000_000_000


class Difference(NamedTuple):
    """A tick that differs.

    Attributes:
        tick: number of the command in the recording, from 0.
        kind: of :data:`CLASSES`.
        text: why, in a sentence.
    """

    tick: int
    kind: str
    text: str


class _Found(NamedTuple):
    """A tick that a check has found; ``say`` gives class and text."""

    tick: int
    rank: int
    say: Callable[[], tuple[str, str]]


@dataclass
class Verdict:
    """What a replay has found.

    Attributes:
        replay: what was compared.
        ticks: commands in the recording.
        reproduced: those that were computed again, bit for bit.
        differing: ticks with a difference.
        differences: the first ones, in order of their ticks.
    """

    replay: Replay
    ticks: int
    reproduced: int
    differing: int
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    @property
    def first(self) -> Difference | None:
        """The first tick that differs."""
        return self.differences[0] if self.differences else None


def compare(replay: Replay, shown: int = _SHOWN) -> Verdict:
    """Find what differs, and why."""
    found: list[_Found] = []
    for rank, check in enumerate(_CHECKS):
        found += [_Found(tick, rank, say) for tick, say in check(replay)]
    found.sort(key=lambda each: (each.tick, each.rank))
    firsts: list[_Found] = []
    for each in found:
        if not firsts or firsts[-1].tick != each.tick:
            firsts.append(each)
    named = [Difference(each.tick, *each.say()) for each in firsts[:shown]]
    reproduced = int(replay.equal.sum())
    count = int((~replay.ticks.lost).sum())
    return Verdict(replay, count, reproduced, len(firsts), named)


Finding = tuple[int, Callable[[], tuple[str, str]]]


def _found(
    ticks: Sequence[int] | Indexes, kind: str, text: Callable[[int], str]
) -> Iterator[Finding]:
    for tick in ticks:
        yield int(tick), partial(_told, kind, text, int(tick))


def _told(kind: str, text: Callable[[int], str], tick: int) -> tuple[str, str]:
    return kind, text(tick)


def _policy(replay: Replay) -> Iterator[Finding]:
    """Another policy served than those that were given."""
    hashes = Reported(replay.recording, "function_hash")
    ticks = np.flatnonzero((replay.policy < 0) & (replay.kind == Kind.POLICY))

    def text(tick: int) -> str:
        other = hashes.values[int(hashes.before(replay.places[[tick]])[0])]
        given = ", ".join(each.function_hash[:12] for each in replay.policies)
        return f"policy {other[:12]} serves from here on, given are {given}"

    yield from _found(ticks, "contract", text)


def _misfit(replay: Replay) -> Iterator[Finding]:
    """A command has other joints, or values that no float32 is."""
    problems = replay.recording.commands.problems[replay.ticks.command]
    problems[replay.ticks.lost] = ""
    yield from _found(
        np.flatnonzero(problems != ""),
        "contract",
        lambda t: f"the command does not fit the policy: {problems[t]}",
    )
    low, high = replay.contract.low, replay.contract.high
    odd = np.flatnonzero(replay.ticks.odd & (problems == "") & (replay.kind != Kind.FOREIGN))

    def text(tick: int) -> tuple[str, str]:
        values = replay.recording.commands.values[replay.ticks.command[tick]]
        joint = int(np.argmax(values.astype(np.float32).astype(np.float64) != values))
        name = replay.contract.action[joint].name
        outside = not low[joint] <= values[joint] <= high[joint]
        kind = "safety" if outside else "contract"
        return kind, f"{name!r} is commanded {values[joint]!r}, which no float32 is"

    for tick in odd:
        yield int(tick), partial(text, int(tick))


def _foreign(replay: Replay) -> Iterator[Finding]:
    """Somebody else commanded; of a row of such commands the first counts."""
    foreign = replay.kind == Kind.FOREIGN
    ticks = np.flatnonzero(foreign & ~np.concatenate([[False], foreign[:-1]]))
    frames = replay.recording.commands.frames[replay.ticks.command]  # of lost ones never asked
    yield from _found(
        ticks,
        "safety",
        lambda t: (
            f"{frames[t]!r} commands {quote(replay.ticks.values[t])}: the watchdog took over"
            if "watchdog" in str(frames[t])
            else f"{frames[t]!r} commands {quote(replay.ticks.values[t])}"
        ),
    )


def _safe(replay: Replay) -> Iterator[Finding]:
    """The safe action instead of the policy's, for another reason than that somebody wanted it."""
    safe = replay.kind == Kind.SAFE
    own = np.flatnonzero(replay.kind != Kind.FOREIGN)
    inner = safe[own]
    first = own[inner & ~np.concatenate([[False], inner[:-1]])]
    if not replay.contract.robot:  # each observation is answered by itself
        first = np.flatnonzero(safe)
    for tick, reason in why_safe(replay, first):
        if reason is not None:
            yield int(tick), partial(tuple[str, str], reason)


def _ramps(replay: Replay) -> Iterator[Finding]:
    """A command of a ramp is not on its way."""
    ticks = np.flatnonzero((replay.kind == Kind.RAMP) & ~replay.equal)
    own = np.flatnonzero(replay.kind == Kind.RAMP)

    def text(tick: int) -> str:
        number = int(np.searchsorted(own, tick))
        return (
            f"command {number} of a ramp is {quote(replay.ticks.values[tick])}, on no straight way "
            "from a recorded pose to the default pose within the rates"
        )

    yield from _found(ticks, "safety", text)


def _lost(replay: Replay) -> Iterator[Finding]:
    """Messages that the recording lacks, or that nobody answered."""
    ticks, recording = replay.ticks, replay.recording
    places = replay.places
    seen: Flags = np.asarray(np.isfinite(replay.observations).any(axis=1))
    bad: Flags = np.zeros(len(seen), bool)
    given = ticks.observation != NONE
    bad[given] = recording.observations.problems[ticks.observation[given]] != ""
    blind = (replay.kind == Kind.POLICY) & ~seen & ~bad & (replay.policy >= 0)
    none = not len(recording.observations.stamps)
    what = (
        "no observation is in the recording" if none else "its observation is not in the recording"
    )
    yield from _found(
        np.flatnonzero(blind),
        "sensor",
        lambda t: f"a message is missing: {what} (stamp {replay.stamps[t] / 1e9:.9g} s)",
    )
    owed = _owed(replay)
    at = np.searchsorted(places, recording.observations.places[owed])
    for tick, index in zip(at, owed, strict=True):
        if 0 < tick < len(places):
            yield int(tick), partial(_say_unanswered, replay, int(index))
    lost = np.flatnonzero(ticks.lost)
    if not replay.lockstep:
        if len(lost):
            replay.notes.append(
                f"{len(lost)} commands are not in the recording, their answers are: the recorder "
                "lost them"
            )
        return
    yield from _found(
        lost,
        "sensor",
        lambda t: (
            f"a message is missing: the policy answered stamp {replay.stamps[t] / 1e9:.9g} s,"
            " its command is not in the recording"
        ),
    )


def _owed(replay: Replay) -> Indexes:
    """Return the unanswered observations that had to be answered: in lock-step each one.

    In real time a node takes the newest one, and the middleware may lose some.
    """
    indexes = _serving(replay, replay.ticks.unanswered)
    if replay.lockstep:
        return indexes
    if len(indexes):
        replay.notes.append(f"{len(indexes)} observations were not answered: newer ones came")
    return indexes[:0]


def _serving(replay: Replay, indexes: Indexes) -> Indexes:
    """Leave out observations that came while no policy node was serving."""
    places = replay.recording.observations.places[indexes]
    at = np.searchsorted(replay.places, places)
    kept = np.ones(len(indexes), bool)
    inside = (at > 0) & (at < len(replay.kind))
    kept[~inside] = False
    kept[inside] = ~replay.begins[at[inside]]
    mode = Reported(replay.recording, "mode")
    if mode.values:
        standby = np.array([value == "standby" for value in mode.values])
        kept &= ~(standby[mode.before(places)] | standby[mode.after(places)])
    # The safe action stands between two activations.
    kept[inside] &= replay.kind[at[inside] - 1] != Kind.SAFE
    return indexes[kept]


def _say_unanswered(replay: Replay, index: int) -> tuple[str, str]:
    series = replay.recording.observations
    stamp = series.stamps[index] / 1e9
    total = replay.recording.stage("total")
    at = int(np.searchsorted(replay.places, series.places[index]))
    timing = replay.ticks.timing[max(at - 1, 0)]
    period = replay.contract.period * 1e6
    if total is not None and timing != NONE and total[timing] > period:
        return "timing", (
            f"the observation of stamp {stamp:.9g} s was not answered: the answer before it took "
            f"{total[timing] / 1e3:.3g} ms of a control period of {period / 1e3:g} ms"
        )
    return "sensor", (
        f"a message is missing: the observation of stamp {stamp:.9g} s was never answered, so it "
        "did not reach the policy"
    )


def _observations(replay: Replay) -> Iterator[Finding]:
    """What a robot's policy saw is not what the messages say; or a message is missing."""
    assembled = replay.assembled
    if assembled is None:
        return
    acted = replay.acted
    for name, index in assembled.messages.items():
        stamps = replay.recording.stage(f"stamp.{name}")

        def text(tick: int, name: str = name, stamps: object = stamps) -> str:
            timing = replay.ticks.timing[tick]
            stamp = replay.stamps[tick] / 1e9
            if isinstance(stamps, np.ndarray) and timing != NONE:
                stamp += stamps[timing] / 1e6
            return (
                f"a message is missing: the tick used {name} of stamp {stamp:.9g} s, which is not "
                "in the recording"
            )

        yield from _found(acted[index == ABSENT], "sensor", text)
    seen = replay.observations[acted]
    whole = np.isfinite(seen).all(axis=1)
    wrong = (assembled.known & ~same(assembled.values, seen)).any(axis=1) & whole
    for row in np.flatnonzero(wrong):
        yield int(acted[row]), partial(explain_observation, replay, int(row))
    for name, index in assembled.messages.items():
        problems = np.where(index >= 0, replay.recording.sensors[name].problems[index], "")
        refused = np.flatnonzero(problems != "")
        said = dict(zip(acted[refused].tolist(), problems[refused].tolist(), strict=True))
        yield from _found(
            acted[refused],
            "sensor",
            lambda t, n=name, s=said: f"the tick used a message of {n} that is refused: {s[t]}",  # type: ignore[misc]
        )
    for name, missed in assembled.missed.items():
        limit = dict(replay.contract.time_limits).get(name)
        ages = replay.recording.stage(f"age.{name}")
        late = missed & ~np.concatenate([[False], missed[:-1]])
        if name == CMD_VEL or limit is None or ages is None:
            continue

        def old(tick: int, name: str = name, ages: object = ages, limit: float = limit) -> str:
            assert isinstance(ages, np.ndarray)
            age = ages[replay.ticks.timing[tick]] / 1e6
            return f"a message is late: the values of {name} are {age:.3g} s old, limit {limit:g} s"

        yield from _found(acted[late], "sensor", old)


def _answers(replay: Replay) -> Iterator[Finding]:
    """The command is not the policy's answer within its limits."""
    known = np.isfinite(replay.expected).all(axis=1)
    answered = (replay.kind == Kind.POLICY) & ~replay.ticks.lost
    wrong = np.flatnonzero(answered & ~replay.equal & known)
    for tick in wrong:
        yield int(tick), partial(explain_answer, replay, int(tick))


def _clocks(replay: Replay) -> Iterator[Finding]:
    """A clock was set while commands went out."""
    times, stamps = replay.times, replay.stamps
    own = np.flatnonzero((replay.kind != Kind.FOREIGN) & ~replay.ticks.lost)
    if len(own) < 2:
        return
    went, jump = np.diff(times[own]), np.diff(stamps[own])
    stamped = (stamps[own[1:]] != 0) & (stamps[own[:-1]] != 0)
    period = round(replay.contract.period * 1e9)
    step = np.zeros(len(own), bool)
    step[set_back(times[own])] = True
    measured = replay.recording.stage("elapsed")
    if measured is not None:
        timing = replay.ticks.timing[own[1:]]
        # The command before has to be the one before, and answers by the same clock.
        known = (timing != NONE) & stamped & (jump <= period) & ~replay.begins[own[1:]]
        known &= (replay.kind[own[:-1]] == Kind.POLICY) & (np.diff(own) == 1)
        took = np.where(known, measured[np.maximum(timing, 0)] * 1000.0, np.nan)
        step[1:] |= _lasting(np.nan_to_num(went - took))
    yield from _found(
        own[step],
        "timing",
        lambda t: (
            "the recorder's clock was set: by it the tick before is "
            f"{_span(int(times[t] - times[t - 1]))} away"
        ),
    )
    usual = float(np.median(went))
    # Commands that a recorder lost took their time; a clock that was set did not.
    quick = went < _SHARE_OF_TIME * usual * jump / period
    ahead = stamped & (jump > _LOST_STAMPS * period) & (jump - went > _CLOCK_STEP_NS) & quick
    anew = stamps[own[1:]] <= _LOST_STAMPS * period  # a simulation started anew
    backwards = stamped & (jump < -period) & ~anew
    acted = replay.kind[own[1:]] == Kind.POLICY
    yield from _found(
        own[1:][(ahead | backwards) & acted],
        "timing",
        lambda t: (
            f"the stamps' clock was set: {stamps[t] / 1e9:.9g} s follows "
            f"{stamps[own[np.searchsorted(own, t) - 1]] / 1e9:.9g} s"
        ),
    )


def _lasting(apart: npt.NDArray[np.float64]) -> Flags:
    """Where two clocks part for good; a process that stands still parts them for one tick."""
    drift = np.concatenate([np.zeros(_AROUND), np.cumsum(apart)])
    found = np.zeros(len(apart), bool)
    for index in np.flatnonzero(np.abs(apart) > _CLOCK_STEP_NS):
        before = np.median(drift[index : index + _AROUND])
        after = np.median(drift[index + _AROUND : index + 2 * _AROUND])
        found[index] = abs(after - before) > _CLOCK_STEP_NS
    return found


def _executor(replay: Replay) -> Iterator[Finding]:
    """A tick came later than the node lets pass, or its answer took longer."""
    measured = replay.recording.stage("elapsed")
    timeout = float(replay.parameter("timeout", "0"))
    timing = replay.ticks.timing
    timed = np.flatnonzero(timing != NONE)
    infer, quantise = replay.recording.stage("infer"), replay.recording.stage("quantise")
    deadline = float(replay.parameter("inference_deadline", "0"))
    if deadline and infer is not None and quantise is not None:
        took = (infer + quantise)[timing[timed]] / 1e6
        yield from _found(
            timed[took > deadline],
            "timing",
            lambda t: (
                f"the backend took {(infer + quantise)[timing[t]] / 1e3:.3g} ms, deadline "
                f"{deadline * 1e3:g} ms, and its action was sent all the same"
            ),
        )
    if measured is None or not timeout or replay.lockstep or not replay.contract.robot:
        return
    stood = timed[measured[timing[timed]] / 1e6 > timeout + replay.contract.period]
    between = replay.kind[np.maximum(stood - 1, 0)] == Kind.POLICY
    yield from _found(
        stood[between & ~replay.begins[stood]],
        "timing",
        lambda t: (
            f"the executor stood still: {measured[timing[t]] / 1e6:.3g} s since the command "
            f"before, timeout {timeout:g} s, and the policy went on"
        ),
    )


def _span(ns: int) -> str:
    return f"{ns / _SECOND_NS:+.6g} s"


_CHECKS: tuple[Callable[[Replay], Iterator[Finding]], ...] = (
    _policy,
    _misfit,
    _foreign,
    _clocks,
    _lost,
    _observations,
    _safe,
    _ramps,
    _executor,
    _answers,
)
