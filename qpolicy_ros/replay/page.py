"""A verdict as one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape

import numpy as np

from qpolicy_ros.replay.assembly import same
from qpolicy_ros.replay.compare import Verdict
from qpolicy_ros.replay.figure import answered, timeline
from qpolicy_ros.replay.replayed import Kind
from qpolicy_ros.replay.text import figures

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.8em; }
table { border-collapse: collapse; margin: .5em 0; font-variant-numeric: tabular-nums; }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child, .text { text-align: left; }
.facts td:first-child { color: #666; } .facts td { text-align: left; }
.verdict { padding: .6em 1em; border-left: 6px solid; background: #f6f6f6; }
.equal { border-color: #009e73; } .differs { border-color: #d62728; }
.wrong { color: #d62728; font-weight: 600; } .note { color: #8a4b00; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2em; align-items: start; }
svg { max-width: 100%; height: auto; }
"""


def page(verdict: Verdict) -> str:
    """Return the whole page."""
    replay, found = verdict.replay, figures(verdict)
    first = verdict.first
    tick = first.tick if first else max(len(replay.kind) - 1, 0)
    head = "equal" if verdict.equal else f"tick {tick} differs"
    commands = ", ".join(f"{n:,} {name}" for name, n in found["commands"].items() if n)
    said = (
        "Equal: every command in this recording is what this policy computes from these inputs."
        if first is None
        else f"<b>{escape(first.kind)}</b>: tick {first.tick}, {_at(verdict, tick)}: "
        f"{escape(first.text)}"
    )
    facts = {
        "bag": found["bag"],
        "namespace": found["namespace"] or "/",
        "policy": ", ".join(found["function_hash"]),
        "commands": commands,
        "reproduced": f"{found['reproduced']:,} of {found['ticks']:,}, bit for bit",
        "ticks with a difference": f"{found['differing_ticks']:,}",
        "answered by": ", ".join(f"{name} ({n:,})" for name, n in found["backends"].items()),
        "computed by": found["engine"],
        "swaps, restarts": f"{found['swaps']}, {found['restarts']}",
        "sent again": f"{found['repeated']}",
    }
    body = [
        f"<h1>Replay: {escape(head)}</h1>",
        f'<p class="verdict {"equal" if first is None else "differs"}">{said}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in replay.notes),
        f"<h2>{'Around the first difference' if first else 'The last commands'}</h2>",
        timeline(verdict, tick) if len(replay.kind) else "",
        '<div class="pair"><div>',
        "<h2>The command</h2>",
        _command(verdict, tick) if len(replay.kind) else "",
        "</div><div>",
        "<h2>The tick</h2>",
        _facts(answered(replay, tick)) if len(replay.kind) else "",
        "</div></div>",
        _differences(verdict),
        "<h2>The recording</h2>",
        _facts(facts),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Replay: {escape(head)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _at(verdict: Verdict, tick: int) -> str:
    times = verdict.replay.times
    return f"{(int(times[tick]) - int(times[0])) / 1e9:.3f} s after the first command"


def _facts(facts: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items()
    )
    return f'<table class="facts">{rows}</table>'


def _command(verdict: Verdict, tick: int) -> str:
    """Return the command of a tick beside what must have been sent, joint by joint."""
    replay = verdict.replay
    sent, expected = replay.ticks.values[tick], replay.expected[tick]
    wrong = ~same(sent, expected) & np.isfinite(expected)
    policy = replay.kind[tick] == Kind.POLICY
    rows = []
    for joint, action in enumerate(replay.contract.action):
        cells = [
            f"{sent[joint]:.9g}",
            f"{expected[joint]:.9g}",
            f"{replay.raw[tick, joint]:.9g}" if policy else "",
            f"{replay.before[tick, joint]:.9g}",
        ]
        mark = ' class="wrong"' if wrong[joint] else ""
        content = "".join(f"<td{mark}>{cell}</td>" for cell in cells)
        rows.append(f"<tr><td>{escape(action.name)}</td>{content}</tr>")
    names = ("joint", "sent", "must have been", "the policy's answer", "command before")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _differences(verdict: Verdict) -> str:
    if len(verdict.differences) < 2:
        return ""
    rows = "".join(
        f"<tr><td>{each.tick}</td><td>{_at(verdict, each.tick)}</td><td>{escape(each.kind)}</td>"
        f'<td class="text">{escape(each.text)}</td></tr>'
        for each in verdict.differences
    )
    more = verdict.differing - len(verdict.differences)
    tail = f"<p>{more:,} more ticks differ.</p>" if more > 0 else ""
    return f"<h2>Ticks that differ</h2><table>{rows}</table>{tail}"
