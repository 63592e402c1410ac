"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape

from qpolicy_ros.latency.bootstrap import LEVEL
from qpolicy_ros.latency.figures import PANELS, svg
from qpolicy_ros.latency.summary import Report
from qpolicy_ros.latency.text import (
    Table,
    described,
    is_number,
    latency_table,
    number,
    period_table,
    sentence,
    stage_table,
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.8em; }
table { border-collapse: collapse; margin: .5em 0; font-variant-numeric: tabular-nums; }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child, .text { text-align: left; }
.facts td:first-child { color: #666; } .note { color: #8a4b00; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1em; }
svg { max-width: 100%; height: auto; } .wide { grid-column: 1 / -1; }
"""


_WIDE = ("over_time", "stages")
_BAG_COLUMNS = [
    "bag",
    "storage",
    "content",
    "time",
    "observations sent again",
    "actions without timing",
]
_METHOD = f"Intervals at {LEVEL:.0%}, by a bootstrap over stretches of successive answers."


def page(report: Report) -> str:
    """Return the whole page."""
    figures = report.figures()
    names = ", ".join(figures["backends"])
    panels = "".join(
        f'<div class="{"wide" if name in _WIDE else ""}">{svg(name, report)}</div>'
        for name in PANELS
    )
    bags = [
        [
            each["path"],
            f"{each['storage']}, version {each['version'] or 'unknown'}",
            f"{number(each['messages'])} messages, {number(each['answers'])} answers",
            f"{each['duration_s']:.1f} s, times: {each['clock'] or 'simulated'}",
            number(each["resent"]),
            number(each["actions_without_timing"]),
        ]
        for each in figures["bags"]
    ]
    facts = [[name.replace("_", " "), value] for name, value in report.conditions.items()]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in report.notes)
    said = "".join(f"<li>{escape(sentence(each))}</li>" for each in report.comparisons)
    body = [
        f"<h1>Latency: {escape(names)}</h1>",
        f"<p>{escape(described(report))}</p>",
        notes,
        _table(latency_table(report)),
        f"<ul>{said}</ul>" if said else "",
        f'<div class="panels">{panels}</div>',
        "<h2>Stages</h2>",
        _table(stage_table(report)),
        "<h2>Period from answer to answer</h2>" if period_table(report)[1] else "",
        _table(period_table(report)),
        "<h2>Conditions</h2>",
        _table((["", ""], facts), "facts"),
        "<h2>Bags</h2>",
        _table((_BAG_COLUMNS, bags), "facts"),
        f"<p>{len(figures['swaps'])} swaps, {figures['resets']} resets. {_METHOD}</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Latency: {escape(names)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _table(table: Table, style: str = "") -> str:
    head, rows = table
    if not rows:
        return ""
    kinds = [
        ' class="text"' if style or not any(is_number(row[index]) for row in rows) else ""
        for index in range(len(head))
    ]

    def line(tag: str, cells: list[str]) -> str:
        placed = zip(cells, kinds, strict=True)
        content = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in placed)
        return f"<tr>{content}</tr>"

    lines = "".join(line("td", row) for row in rows)
    heading = line("th", head) if any(head) else ""
    return f'<table class="{style}">{heading}{lines}</table>'
