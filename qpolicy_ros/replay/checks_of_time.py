"""Checks of time: clocks that were set, and ticks that came later than the node lets pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.arrival import set_back
from qpolicy_ros.replay.checks_of_commands import Finding, found
from qpolicy_ros.replay.replayed import Kind, Replay
from qpolicy_ros.replay.ticks import EPISODES_APART, NONE, Flags, Indexes

_CLOCK_STEP_NS = 200_000_000  # by which a wall clock and a monotonic one may part between two ticks
_AROUND = 5  # ticks before and behind a step of a clock
_LOST_STAMPS = 10  # periods that a stamp may jump before it is the clock that was set
_SHARE_OF_TIME = 0.2  # of the usual time that lost commands take at least
_SECOND_NS = 1_000_000_000


def set_clocks(replay: Replay) -> Iterator[Finding]:
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
    yield from found(
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
    ahead[_episodes(replay, own)] = False
    backwards = stamped & (jump < -period) & ~anew
    acted = replay.kind[own[1:]] == Kind.POLICY
    yield from found(
        own[1:][(ahead | backwards) & acted],
        "timing",
        lambda t: (
            f"the stamps' clock was set: {stamps[t] / 1e9:.9g} s follows "
            f"{stamps[own[np.searchsorted(own, t) - 1]] / 1e9:.9g} s"
        ),
    )


def _episodes(replay: Replay, own: Indexes) -> Indexes:
    """Commands, less the first of ``own``, that begin a simulated robot's next episode.

    The stamps leave the simulator's gap, and the policy saw what it sees with its histories empty,
    as far as the recording determines that.
    """
    period = round(replay.contract.period * 1e9)
    gaps = np.flatnonzero(np.diff(replay.stamps[own]) == EPISODES_APART * period)
    if replay.assembled is None or not replay.lockstep:
        return gaps[:0]
    ticks = own[gaps + 1]
    row = np.searchsorted(replay.acted, ticks)
    among = row < len(replay.acted)
    gaps, ticks, row = gaps[among], ticks[among], row[among]
    same = replay.observations[ticks] == replay.assembled.values[row]
    same |= ~replay.assembled.known[row]
    return gaps[(replay.acted[row] == ticks) & same.all(axis=1)]


def _lasting(apart: npt.NDArray[np.float64]) -> Flags:
    """Where two clocks part for good; a process that stands still parts them for one tick."""
    drift = np.concatenate([np.zeros(_AROUND), np.cumsum(apart)])
    parted = np.zeros(len(apart), bool)
    for index in np.flatnonzero(np.abs(apart) > _CLOCK_STEP_NS):
        before = np.median(drift[index : index + _AROUND])
        after = np.median(drift[index + _AROUND : index + 2 * _AROUND])
        parted[index] = abs(after - before) > _CLOCK_STEP_NS
    return parted


def late_ticks(replay: Replay) -> Iterator[Finding]:
    """A tick came later than the node lets pass, or its answer took longer."""
    measured = replay.recording.stage("elapsed")
    timeout = float(replay.parameter("timeout", "0"))
    timing = replay.ticks.timing
    timed = np.flatnonzero(timing != NONE)
    infer, quantise = replay.recording.stage("infer"), replay.recording.stage("quantise")
    deadline = float(replay.parameter("inference_deadline", "0"))
    if deadline and infer is not None and quantise is not None:
        took = (infer + quantise)[timing[timed]] / 1e6
        yield from found(
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
    yield from found(
        stood[between & ~replay.begins[stood]],
        "timing",
        lambda t: (
            f"the executor stood still: {measured[timing[t]] / 1e6:.3g} s since the command "
            f"before, timeout {timeout:g} s, and the policy went on"
        ),
    )


def _span(ns: int) -> str:
    return f"{ns / _SECOND_NS:+.6g} s"
