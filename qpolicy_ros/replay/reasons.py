"""Why the safe action was sent, by what the node reported and by the messages themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from qpolicy_ros.nodes.serving.modes import INTENDED, Reason
from qpolicy_ros.replay.replayed import MISSING, Kind, Replay, Reported
from qpolicy_ros.replay.sensors import Sensor
from qpolicy_ros.replay.ticks import NONE, Indexes

#: The class of each reason that the node gives.
CLASS_OF = {
    Reason.STALE: "timing",
    Reason.STALLED: "timing",
    Reason.DEADLINE: "timing",
    Reason.OVERRIDDEN: "safety",
    Reason.BACKEND: "engine",
    Reason.NON_FINITE: "sensor",
    Reason.WRONG_LENGTH: "sensor",
    Reason.MISSING: "sensor",
    Reason.EXTRA: "sensor",
    Reason.MISNAMED: "sensor",
    Reason.IMPLAUSIBLE: "sensor",
}

_REFUSED = re.compile(r"\((non_finite|wrong_length|missing|extra|misnamed|implausible): ")
_SENT = "the safe action was sent"

Why = tuple[str, str]


def why_safe(replay: Replay, ticks: Indexes) -> Iterator[tuple[int, Why | None]]:
    """Say why each of ``ticks`` sent the safe action; None where somebody wanted it."""
    find = _robot if replay.contract.robot else _feature
    counts = _Counts(replay)
    for tick in ticks:
        yield int(tick), find(replay, counts, int(tick))


class _Counts:
    """The node's counters around a tick: which of them rose."""

    def __init__(self, replay: Replay) -> None:
        self._reports = replay.recording.reports
        self._places = np.array([report.place for report in self._reports], np.int64)

    def rose(self, place: int) -> dict[str, int]:
        """Return counters that rose between the reports before and behind ``place``."""
        at = int(np.searchsorted(self._places, place))
        if not 0 < at < len(self._reports):
            return {}
        before, after = self._reports[at - 1].values, self._reports[at].values
        if before.get("session") != after.get("session"):
            before = {}
        found = {}
        for key, value in after.items():
            if key.startswith("no_action.") or key == "stale":
                rise = int(value) - int(before.get(key, "0"))
                if rise > 0:
                    found[key.removeprefix("no_action.")] = rise
        return found

    def after(self, place: int, key: str) -> str:
        """Return the next report's value of ``key``."""
        at = int(np.searchsorted(self._places, place))
        return self._reports[at].values.get(key, "") if at < len(self._reports) else ""


def _feature(replay: Replay, counts: _Counts, tick: int) -> Why | None:  # noqa: PLR0911 cases
    observation = replay.ticks.observation[tick]
    if observation != NONE:
        problem = replay.recording.observations.problems[observation]
        if problem:
            return _classed(problem.partition(": ")[0], problem)
    place = int(replay.places[tick])
    mode = Reported(replay.recording, "mode")
    around = {counts.after(place, "mode")}
    if mode.values:
        around.add(mode.values[int(mode.before(replay.places[[tick]])[0])])
    if "safe" in around or "standby" in around:
        return None  # ~/stop was called: nothing else makes a feature vector's node safe
    rose = counts.rose(place)
    if not replay.stamps[tick]:
        own = np.flatnonzero(replay.kind[:tick] != Kind.FOREIGN)
        served = len(own) and replay.kind[own[-1]] == Kind.POLICY and not replay.begins[tick]
        if "stale" in rose and served:
            text = counts.after(place, "last_reason") or "stale"
            return "timing", f"{_SENT}: {text}"
        return None  # still waiting, or the last word of a deactivation or of ~/stop
    for reason in ("deadline", "backend", "non_finite", "wrong_length", "missing", "misnamed"):
        if reason in rose:
            return _classed(reason, counts.after(place, "last_reason") or reason)
    if observation == NONE:
        return "sensor", (
            f"{MISSING}: {_SENT} to stamp {replay.stamps[tick] / 1e9:.9g} s, whose "
            "observation is not in the recording"
        )
    return "safety", f"{_SENT} and the recording does not say why"


def _robot(replay: Replay, _: _Counts, tick: int) -> Why | None:
    place = int(replay.places[tick])
    said = _reported(replay, place)
    if said is not None:
        reason, text = said
        if reason in {each.value for each in INTENDED}:
            return None
        return _classed(reason, text)
    if not replay.stamps[tick]:
        return None  # the last word of a deactivation
    found = _by_messages(replay, tick)
    if found is not None:
        return found
    if tick + 1 >= len(replay.kind) and not replay.recording.reports:
        return None
    return "safety", f"{_SENT} and the recording does not say why"


def _reported(replay: Replay, place: int) -> tuple[str, str] | None:
    """Return reason and text that the node gave for the safe mode it was in at ``place``."""
    for report in replay.recording.reports:
        if report.place < place:
            continue
        if report.values.get("mode") != "safe":
            return None
        reason, _, text = report.values.get("reason", "").partition(": ")
        return (reason, f"{reason}: {text}") if reason else None
    return None


def _by_messages(replay: Replay, tick: int) -> Why | None:
    """Find what was wrong with the messages before the tick."""
    at = replay.times[tick]
    timeout = float(replay.parameter("timeout", "0.5")) * 1e9
    for sensor in replay.recording.sensors.values():
        bad = _refused(sensor, at, timeout)
        if bad:
            return _classed(bad.partition(": ")[0], bad)
        usable = np.flatnonzero(sensor.usable & (sensor.times <= at))
        if len(usable) and at - sensor.times[usable[-1]] > timeout and sensor.name != "cmd_vel":
            age = (at - sensor.times[usable[-1]]) / 1e9
            return "timing", f"{_SENT}: stale: nothing usable on {sensor.name!r} for {age:.3g} s"
    return None


def _refused(sensor: Sensor, at: int, within: float) -> str:
    recent = (sensor.times <= at) & (sensor.times > at - within)
    bad = np.flatnonzero(recent & ~sensor.usable & ~sensor.others)
    return str(sensor.problems[bad[-1]]) if len(bad) else ""


def _classed(reason: str, text: str) -> Why:
    inner = _REFUSED.search(text)
    if reason == Reason.STALE.value and inner:
        reason = inner[1]  # what came was refused, so nothing usable came
    try:
        kind = CLASS_OF[Reason(reason)]
    except (ValueError, KeyError):
        kind = "safety"
    return kind, f"{_SENT}: {text}"
