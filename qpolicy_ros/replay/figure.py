"""The timeline around a difference: commands, what must have been sent, messages."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qpolicy_ros.replay.assembly import same
from qpolicy_ros.replay.compare import Verdict
from qpolicy_ros.replay.replayed import Kind, Replay
from qpolicy_ros.replay.ticks import NONE, Indexes

AROUND = 40  # ticks before and behind the difference

_JOINTS = 4
_KIND_COLOURS = {
    Kind.POLICY: "#0072b2",
    Kind.RAMP: "#cc79a7",
    Kind.SAFE: "#e69f00",
    Kind.FOREIGN: "#d55e00",
}
_WRONG = "#d62728"
_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "svg.hashsalt": "qpolicy",
    "text.parse_math": False,
}


def timeline(verdict: Verdict, tick: int) -> str:
    """Return the timeline around ``tick`` as SVG to be put into a page."""
    stream = io.StringIO()
    with mpl.rc_context(_STYLE):
        drawn(verdict, tick).savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def drawn(verdict: Verdict, tick: int) -> Figure:
    """Return the timeline around ``tick``."""
    replay = verdict.replay
    ticks = np.arange(max(0, tick - AROUND), min(len(replay.kind), tick + AROUND + 1))
    joints = _joints(replay, ticks, tick)
    seconds = (replay.times - replay.times[0]) / 1e9
    figure = Figure(figsize=(11.4, 2.4 + 1.5 * len(joints)), layout="constrained")
    axes = figure.subplots(
        len(joints) + 1, 1, sharex=True, height_ratios=[1.5] * len(joints) + [1.3]
    )
    for axis, joint in zip(axes, joints, strict=False):
        _commands(axis, replay, ticks, seconds, joint)
    _messages(axes[-1], replay, ticks, seconds)
    for axis in axes:
        axis.axvline(seconds[tick], color=_WRONG, lw=1.0, ls="--")
    axes[0].legend(loc="lower left", ncol=5, frameon=False, bbox_to_anchor=(0.0, 1.0))
    axes[-1].set_xlabel("s since the first command")
    return figure


def _joints(replay: Replay, ticks: Indexes, tick: int) -> list[int]:
    """Return the joints to draw: those that differ at the tick, then those that differ most."""
    sent, expected = replay.ticks.values[ticks], replay.expected[ticks]
    apart = np.nan_to_num(np.abs(sent - expected)).max(axis=0)
    here = ~same(replay.ticks.values[tick], replay.expected[tick])
    order = np.lexsort((-apart, ~here))
    return sorted(order[:_JOINTS].tolist())


def _commands(axis: Axes, replay: Replay, ticks: Indexes, seconds: Any, joint: int) -> None:
    at, sent = seconds[ticks], replay.ticks.values[ticks, joint]
    axis.step(at, replay.expected[ticks, joint], where="post", color="#999999", lw=2.4,
              label="must have been sent")  # fmt: skip
    for kind, shade in _KIND_COLOURS.items():
        own = replay.kind[ticks] == kind
        if own.any():
            axis.plot(
                at[own], sent[own], ".", ms=5, color=shade, label=f"sent: {kind.name.lower()}"
            )
    wrong = ~same(sent, replay.expected[ticks, joint]) & np.isfinite(replay.expected[ticks, joint])
    axis.plot(at[wrong], sent[wrong], "o", ms=8, mfc="none", color=_WRONG, label="differs")
    action = replay.contract.action[joint]
    axis.set_ylabel(action.name, fontsize=8)


def _messages(axis: Axes, replay: Replay, ticks: Indexes, seconds: Any) -> None:
    """Draw when each message came, and how long each answer took."""
    begin, end = seconds[ticks[0]], seconds[ticks[-1]]
    rows: list[tuple[str, Any, str]] = []
    recording, zero = replay.recording, replay.times[0]
    for name, sensor in recording.sensors.items():
        rows.append((name, (sensor.times[sensor.usable] - zero) / 1e9, "#56b4e9"))
        bad = ~sensor.usable
        if bad.any():
            rows.append((f"{name}, refused", (sensor.times[bad] - zero) / 1e9, _WRONG))
    if len(recording.observations.times):
        rows.append(("observation", (recording.observations.times - zero) / 1e9, "#009e73"))
    rows.append(("timing", (recording.timing.times - zero) / 1e9, "#cc79a7"))
    rows.append(("action_stamped", seconds, "#0072b2"))
    for place, (_, times, shade) in enumerate(rows[::-1]):
        inside = times[(times >= begin) & (times <= end)]
        axis.plot(inside, np.full(len(inside), place), "|", ms=9, color=shade)
    axis.set_yticks(range(len(rows)), [name for name, _, _ in rows[::-1]], fontsize=8)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.grid(visible=False, axis="y")


def answered(replay: Replay, tick: int) -> dict[str, str]:
    """Return the facts of one tick, for the page's table."""
    timing = replay.ticks.timing[tick]
    facts = {
        "command": str(tick),
        "stamp": f"{replay.stamps[tick] / 1e9:.9f} s",
        "sent by": Kind(int(replay.kind[tick])).name.lower(),
        "backend": str(replay.backend[tick]),
        "rate limit": f"{replay.rate[tick]:g}" if replay.rate[tick] else "off",
    }
    if timing != NONE:
        for name, value in zip(
            replay.recording.stages, replay.recording.timing.values[timing], strict=True
        ):
            if np.isfinite(value):
                facts[name] = f"{value:,.1f} µs"
    return facts
