"""Which observation, answer and report each recorded command belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.arrival import set_back
from qpolicy_ros.replay.recording import Recording, Series, as_float32
from qpolicy_ros.replay.sensors import Nanos

Indexes = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

NONE = -1
EPISODES_APART = 50  # periods that the simulator leaves between a robot's episodes

_APART = 1_000_000  # ns, more than messages can be out of order, where only their order is known
_AT_ONCE = 300_000  # ns by which a recorder may take a command later than its report


@dataclass(frozen=True, kw_only=True)
class Ticks:
    """Every command once, in the order of the recording; n of them, m joints.

    A command that the recorder lost, but whose answer ``timing`` reports, is among them.

    Attributes:
        command: its message, (n,), or :data:`NONE` of a lost one.
        places, times, stamps: of the command, else of its ``timing``, (n,); see ``Series``.
        observation: the message that the policy saw, (n,), or :data:`NONE`.
        timing: the report of the answer, (n,), or :data:`NONE`.
        values: what was commanded, float32 (n, m); NaN where the message does not fit.
        odd: whether a value is none that a float32 can be, (n,).
        foreign: whether somebody else sent it, (n,).
        repeated: answers that came again: to an observation that was sent again.
        unanswered: observations without a command, between the first and the last answer.
        early: answers left out: their observations came before the recording began.
    """

    command: Indexes
    places: Nanos
    times: Nanos
    stamps: Nanos
    observation: Indexes
    timing: Indexes
    values: npt.NDArray[np.float32]
    odd: Flags
    foreign: Flags
    repeated: int
    unanswered: Indexes
    early: int

    @property
    def lost(self) -> Flags:
        """Which commands are not in the recording, (n,)."""
        return np.asarray(self.command == NONE)


def read_ticks(recording: Recording, *, robot: bool) -> Ticks:
    """Bring the messages together.

    Args:
        recording: of one policy node.
        robot: whether observations are records of what the policy saw: several may have one stamp.
    """
    commands, observations, timing = recording.commands, recording.observations, recording.timing
    starts = _starts(observations if len(observations.stamps) else commands)
    keys = _Keys.of(starts, [commands, observations, timing])
    foreign = recording.foreign
    own = ~foreign & (commands.stamps != 0)
    values, odd = as_float32(np.asarray(commands.values, np.float64))
    kept = ~_again(keys.numbers[0], values, own, commands.times if robot else None)
    seen = np.full(len(commands.stamps), NONE)
    answered = np.full(len(commands.stamps), NONE)
    chosen = np.flatnonzero(own & kept)
    clocks = [each.times for each in (commands, observations, timing)]
    if robot:
        # Times of sending, but where a clock was set back the order of arrival.
        if any(set_back(each.times) for each in (commands, timing, observations)):
            clocks = [each.places * _APART for each in (commands, observations, timing)]
        answered[chosen] = _once(keys, 0, 2, chosen, clocks[0], clocks[2])
        seen[chosen] = _once(keys, 0, 1, chosen, clocks[0], clocks[1])
    else:
        nearest = _nearest(keys, 0, 2, chosen, commands.times, timing.times)
        answered[chosen] = _of_the_nearest(nearest, commands.times[chosen], timing.times)
        seen[chosen] = _nearest(keys, 0, 1, chosen, commands.times, observations.times)
    if robot and recording.reported("parameter.lockstep")[1][-1:] == ["True"]:
        kept &= ~_sent_again(keys.numbers[0], values, own, (answered == NONE) & (seen == NONE))
        chosen = np.flatnonzero(own & kept)
    repeated = int((~kept).sum())
    used = np.zeros(len(timing.stamps), bool)
    used[answered[answered != NONE]] = True
    early = np.zeros(len(kept), bool)
    if not robot and len(observations.stamps):
        # A recorder hears one topic a moment before the other.
        early = own & kept & (seen == NONE) & (commands.places < observations.places[0])
        used |= timing.places < observations.places[0]
        kept &= ~early
    command = np.flatnonzero(kept)
    unsent = np.flatnonzero(~used)
    if not robot:  # an answer may be reported twice where its command came twice
        unsent = unsent[~_among(keys.numbers[2][unsent], keys.numbers[0][own])]
    saw = _nearest(keys, 2, 1, unsent, timing.times, observations.times)
    saw[np.isin(saw, seen[seen != NONE])] = NONE
    given = np.concatenate([keys.numbers[0][own], keys.numbers[2][unsent]])
    unanswered = _without(keys.numbers[1], given) if not robot else np.empty(0, int)
    if len(chosen):
        first, last = commands.places[chosen[0]], commands.places[chosen[-1]]
        places = observations.places[unanswered]
        unanswered = unanswered[(places > first) & (places < last)]
    else:
        unanswered = unanswered[:0]
    order = np.argsort(
        np.concatenate([commands.places[command], timing.places[unsent]]), kind="stable"
    )
    none, nothing = np.full(len(unsent), NONE), np.zeros(len(unsent), bool)
    lost = np.full((len(unsent), values.shape[1]), np.nan, np.float32)

    def together(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.concatenate([first, second])[order]

    return Ticks(
        command=together(command, none),
        places=together(commands.places[command], timing.places[unsent]),
        times=together(commands.times[command], timing.times[unsent]),
        stamps=together(commands.stamps[command], timing.stamps[unsent]),
        observation=together(seen[command], saw),
        timing=together(answered[command], unsent),
        values=together(values[command], lost),
        odd=together(odd[command], nothing),
        foreign=together(foreign[command], nothing),
        repeated=repeated,
        unanswered=unanswered,
        early=int(early.sum()),
    )


def _sent_again(numbers: Nanos, values: npt.NDArray[np.float32], own: Flags, bare: Flags) -> Flags:
    """Find a robot's commands of no tick, of which nothing was computed.

    A simulator that had no answer in time sent its messages again and got the same answer.
    """
    again = _again(numbers, values, own, None)
    # What was computed may have been found beside the second one.
    order = np.argsort(numbers, kind="stable")
    first = np.zeros(len(again), bool)
    first[order[:-1]] = again[order[1:]] & ~bare[order[1:]]
    return np.asarray((again | first) & bare)


@dataclass(frozen=True)
class _Keys:
    """Numbers that tell equal stamps of different runs apart, by series."""

    numbers: list[Nanos]

    @classmethod
    def of(cls, starts: Nanos, series: list[Series]) -> _Keys:
        stamps = np.concatenate([each.stamps for each in series])
        first, last = (int(stamps.min()), int(stamps.max())) if len(stamps) else (0, 0)
        # Two calendars in one bag are too far apart for a product: number the stamps instead.
        known = np.unique(stamps) if (last - first) > (1 << 40) * (len(starts) + 1) else None
        width = (len(known) if known is not None else last - first) + 1

        def number(each: Series) -> Nanos:
            run = np.searchsorted(starts, each.places, "right").astype(np.int64)
            inner = each.stamps - first if known is None else np.searchsorted(known, each.stamps)
            return np.asarray(run * width + inner, np.int64)

        return cls([number(each) for each in series])


def _starts(series: Series) -> Nanos:
    """Return where runs begin: stamps go back as a simulation starts anew."""
    return np.asarray(series.places[set_back(series.stamps)], np.int64)


def _again(keys: Nanos, values: npt.NDArray[np.float32], own: Flags, times: Nanos | None) -> Flags:
    """Whether a command is the one before it of the same stamp, sent (or recorded) again.

    With ``times`` only where these are equal too: a robot's ticks may have one stamp.
    """
    found = np.zeros(len(keys), bool)
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    equal = (values[order][1:] == values[order][:-1]).all(axis=1)
    if times is not None:
        same &= times[order][1:] == times[order][:-1]
    found[order[1:]] = same & equal & own[order][1:] & own[order][:-1]
    return found


def _nearest(
    keys: _Keys, target: int, source: int, chosen: Indexes, at: Nanos, sent: Nanos
) -> Indexes:
    """Return for each chosen message the one of ``source`` with its key, nearest in time."""
    wanted, given = keys.numbers[target][chosen], keys.numbers[source]
    if not len(given):
        return np.full(len(chosen), NONE)
    order = np.lexsort((sent, given))
    ordered = given[order]
    low, high = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
    found = np.where(high > low, order[np.minimum(low, len(order) - 1)], NONE)
    for index in np.flatnonzero(high - low > 1):
        several = order[low[index] : high[index]]
        found[index] = several[np.argmin(np.abs(sent[several] - at[chosen[index]]))]
    return found


def _of_the_nearest(found: Indexes, at: Nanos, sent: Nanos) -> Indexes:
    """Leave a message to the one command among those that found it which is nearest in time.

    A node that is killed may not tell of its last answer, which the next one gives again.
    """
    if not len(sent):
        return found
    order = np.lexsort((np.abs(sent[found] - at), found))
    again = np.zeros(len(found), bool)
    again[order[1:]] = found[order[1:]] == found[order[:-1]]
    return np.where(again, NONE, found)


def _once(
    keys: _Keys, target: int, source: int, chosen: Indexes, at: Nanos, sent: Nanos
) -> Indexes:
    """Return for each chosen command the report that was sent right behind it, each once.

    A report belongs to the last command of its stamp before it: several ticks may have one stamp.
    """
    found = np.full(len(chosen), NONE)
    given = keys.numbers[source]
    if not len(given) or not len(chosen):
        return found
    wanted = keys.numbers[target][chosen]
    order = np.lexsort(
        (
            np.repeat([0, 1], [len(wanted), len(given)]),
            np.concatenate([at[chosen], sent + _AT_ONCE]),
            np.concatenate([wanted, given]),
        )
    )
    place = np.arange(len(order))
    before = np.maximum.accumulate(np.where(order < len(wanted), place, -1))
    reports = place[order >= len(wanted)]
    command, report = order[before[reports]], order[reports] - len(wanted)
    good = (before[reports] >= 0) & (command < len(wanted))
    good[good] = wanted[command[good]] == given[report[good]]
    command, report = command[good], report[good]
    apart = np.abs(sent[report] - at[chosen[command]])
    best = np.lexsort((-apart,))  # of several, the nearest is written last
    found[command[best]] = report[best]
    return found


def _without(keys: Nanos, answered: Nanos) -> Indexes:
    """Return the first message of each key that ``answered`` lacks."""
    if (np.diff(keys) > 0).all():  # as it is in most recordings
        unique, first = keys, np.arange(len(keys))
    else:
        unique, first = np.unique(keys, return_index=True)
    return np.sort(first[~_among(unique, answered)])


def _among(values: Nanos, others: Nanos) -> Flags:
    """Whether each value is one of ``others``."""
    if not len(others):
        return np.zeros(len(values), bool)
    ordered = others if (np.diff(others) >= 0).all() else np.sort(others)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[place] == values)
