"""Checks of what the policy was told: messages that are missing, late, refused or other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from qpolicy_ros.policy.sources import CMD_VEL
from qpolicy_ros.replay.assembly import ABSENT, same
from qpolicy_ros.replay.checks_of_commands import Finding, found
from qpolicy_ros.replay.explain_inputs import explain_observation
from qpolicy_ros.replay.replayed import MISSING, Kind, Replay, Reported
from qpolicy_ros.replay.ticks import NONE, Flags, Indexes


def lost_messages(replay: Replay) -> Iterator[Finding]:
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
    yield from found(
        np.flatnonzero(blind),
        "sensor",
        lambda t: f"{MISSING}: {what} (stamp {replay.stamps[t] / 1e9:.9g} s)",
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
    yield from found(
        lost,
        "sensor",
        lambda t: (
            f"{MISSING}: the policy answered stamp {replay.stamps[t] / 1e9:.9g} s,"
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
        f"{MISSING}: the observation of stamp {stamp:.9g} s was never answered, so it "
        "did not reach the policy"
    )


def wrong_observations(replay: Replay) -> Iterator[Finding]:
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
                f"{MISSING}: the tick used {name} of stamp {stamp:.9g} s, which is not "
                "in the recording"
            )

        yield from found(acted[index == ABSENT], "sensor", text)
    seen = replay.observations[acted]
    whole = np.isfinite(seen).all(axis=1)
    wrong = (assembled.known & ~same(assembled.values, seen)).any(axis=1) & whole
    for row in np.flatnonzero(wrong):
        yield int(acted[row]), partial(explain_observation, replay, int(row))
    for name, index in assembled.messages.items():
        problems = np.where(index >= 0, replay.recording.sensors[name].problems[index], "")
        refused = np.flatnonzero(problems != "")
        said = dict(zip(acted[refused].tolist(), problems[refused].tolist(), strict=True))
        yield from found(
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

        yield from found(acted[late], "sensor", old)
