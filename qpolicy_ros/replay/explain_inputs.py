"""Why what a robot's policy saw is not what the recorded messages say."""

from __future__ import annotations

import numpy as np

from qpolicy_ros.policy.sources import HISTORY, PREVIOUS_ACTION
from qpolicy_ros.replay.assembly import Assembly, same, same_rows
from qpolicy_ros.replay.replayed import Replay
from qpolicy_ros.replay.ticks import Indexes

Why = tuple[str, str]

_LOOKED_AT = 60  # ticks
_BEFORE_NS, _BEHIND_NS = 5_000_000_000, 1_000_000_000  # where to look for another message


def explain_observation(replay: Replay, row: int) -> Why:
    """Say why what the policy saw at tick ``acted[row]`` is not what the messages say."""
    assembled = replay.assembled
    assert assembled is not None
    tick = int(replay.acted[row])
    assembly = Assembly(replay.contract)
    seen, expected = replay.observations[tick], assembled.values[row]
    wrong = assembled.known[row] & ~same(expected, seen)
    names = [channel.name for channel in replay.contract.observation]
    columns = np.flatnonzero(wrong)
    column = int(columns[0])
    source = assembly.sources[column]
    saw = (
        f"the policy saw {seen[column]:.7g} for {names[column]!r}, "
        f"the messages say {expected[column]:.7g}"
    )
    if _swapped(replay, assembly, row, columns):
        which = " and ".join(repr(names[index]) for index in columns[:2])
        return "contract", f"{saw}: {which} are swapped"
    for name in {assembly.sources[index].topic for index in columns} & assembled.messages.keys():
        index = int(assembled.messages[name][row])
        problem = str(replay.recording.sensors[name].problems[index]) if index >= 0 else ""
        if problem:
            return "sensor", f"{saw}: the message is refused: {problem}"
    topics = {assembly.sources[index].topic for index in columns}
    if topics <= {PREVIOUS_ACTION, HISTORY}:
        return "sensor", f"{saw}: a message of the tick before is missing"
    stale = _stale(replay, assembly, row, columns)
    if stale:
        return "sensor", f"{saw}: {stale}"
    scale = _scale(replay, assembly, row, columns)
    if scale:
        return "contract", f"{saw}: {scale}"
    return "sensor", f"{saw} ({source.topic}): no message has this value"


def _swapped(replay: Replay, assembly: Assembly, row: int, columns: Indexes) -> bool:
    """Whether each value is that of another joint or axis of the same message."""
    assembled = replay.assembled
    assert assembled is not None
    seen = replay.observations[replay.acted[row]]
    if len(columns) > 1 and set(seen[columns]) == set(assembled.values[row][columns]):
        return True
    for column in columns:
        name = assembly.sources[column].topic
        if name not in replay.recording.sensors:
            return False
        index = int(assembled.messages[name][row])
        raw = replay.recording.sensors[name].values[index] if index >= 0 else np.empty(0)
        if not same(assembly.scaled(raw[:, None], [column])[:, 0], seen[column]).any():
            return False
    return True


def _stale(replay: Replay, assembly: Assembly, row: int, columns: Indexes) -> str:
    """Find another message of the topic that has what the policy saw."""
    assembled = replay.assembled
    assert assembled is not None
    tick = int(replay.acted[row])
    for name, sensor in replay.recording.sensors.items():
        own = assembly.columns(name)
        touched = np.isin(own, columns)
        if not touched.any():
            continue
        index = int(assembled.messages[name][row])
        usable = np.flatnonzero(sensor.usable)
        usable = usable[(sensor.times[usable] > replay.times[tick] - _BEFORE_NS)]
        usable = usable[(sensor.times[usable] < replay.times[tick] + _BEHIND_NS)]
        none = np.zeros(len(usable), bool)
        values = assembly.of_message(sensor, usable, none)
        fits = same_rows(values, replay.observations[tick][own])
        hit = usable[fits & (usable != index)]
        if len(hit) and touched.sum() == len(columns):
            apart = (sensor.times[hit[-1]] - sensor.times[index]) / 1e6 if index >= 0 else np.nan
            return f"they are those of another message of {name}, {apart:+.4g} ms from it"
    return ""


def _scale(replay: Replay, assembly: Assembly, row: int, columns: Indexes) -> str:
    """Find a factor, the same in the next ticks, or an offset that was left out."""
    assembled = replay.assembled
    assert assembled is not None
    rows = np.arange(row, min(row + _LOOKED_AT, len(replay.acted)))
    seen = replay.observations[replay.acted[rows]][:, columns].astype(np.float64)
    expected = assembled.values[rows][:, columns].astype(np.float64)
    wrong = ~same(seen, expected) & np.isfinite(seen)
    channels = [assembly.contract.observation[column] for column in columns]
    low, high = np.array([c.low for c in channels]), np.array([c.high for c in channels])
    inside = (expected > low) & (expected < high) & (seen > low) & (seen < high)
    used = wrong & inside & (np.abs(expected) > 1e-12)
    if used.sum() < 3:
        return ""
    ratio = seen[used] / expected[used]
    if np.ptp(ratio) < 1e-3 * max(abs(float(np.median(ratio))), 1e-9):
        return f"it is multiplied by {np.median(ratio):.6g}"
    apart = (seen - expected)[wrong & inside]
    if np.ptp(apart) < 1e-5 * max(1.0, float(np.abs(apart).max())):
        return f"{np.median(apart):+.6g} is added to it"
    offsets = np.array([c.offset * c.scale for c in channels])
    if np.allclose(seen, expected + offsets, atol=1e-5):
        return "its offset was left out"
    return ""
