"""Two hundred planted faults, each to be put into its class; the stated subset takes one a kind.

The full count writes its table with ``--planted-table FILE``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from bags import write_bag
from planted import KINDS, planted

from qpolicy_ros.replay.run import replay

COUNT = 200
SHARE = 0.99


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "_"))
def test_a_planted_fault_is_put_into_its_class(kind, verdict):
    messages, artifact = planted(kind, 0)
    found = verdict(messages, artifact)
    assert found.first is not None
    assert found.first.kind == kind.right, found.first
    assert found.first.text.isprintable()


def test_two_hundred(full, tmp_path, request):
    if not full:
        pytest.skip("200 faults: make test-full")
    rows: dict[str, Counter[str]] = {kind.name: Counter() for kind in KINDS}
    wrong = []
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        messages, artifact = planted(kind, 1 + number // len(KINDS))
        first = replay(write_bag(tmp_path / f"bag{number}", messages), [artifact]).first
        rows[kind.name][first.kind if first else "none"] += 1
        if first is None or first.kind != kind.right:
            wrong.append(f"{kind.name} ({artifact.contract.task}): {first}")
    path = request.config.getoption("--planted-table")
    if path:
        Path(path).write_text(table(rows), encoding="utf-8")
    assert len(wrong) <= (1 - SHARE) * COUNT, "\n".join(wrong)


def table(rows: dict[str, Counter[str]]) -> str:
    """Return the faults, how many were planted and how many were found, as Markdown."""
    lines = ["| fault | class | planted | in its class | else |", "|---|---|---|---|---|"]
    right = total = 0
    for kind in KINDS:
        found = rows[kind.name]
        count, good = sum(found.values()), found[kind.right]
        others = ", ".join(f"{n} {name}" for name, n in found.items() if name != kind.right)
        lines.append(f"| {kind.name} | {kind.right} | {count} | {good} | {others or '-'} |")
        right, total = right + good, total + count
    share = f"{right / total:.1%}"
    lines.append(f"| **all** | | **{total}** | **{right}** ({share}) | |")
    return "\n".join(lines) + "\n"
