"""The page of the doctor's measurement: what its rows say, and no more."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from qpolicy_ros.doctor import page
from qpolicy_ros.doctor.measured import AMONG, MISSED, NAMED, NOT_SEEN, SOUND

BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"


def row(number, outcome, kind="sign", policy="p"):
    return {
        "policy": policy, "number": number, "planted": "turn: a, b", "kind": kind,
        "outcome": outcome, "said": "turn: c" if outcome != NOT_SEEN else None, "why": "it falls",
        "seconds": 3.0, "seed": 2, "doctor": "0123abcd",
    }  # fmt: skip


@pytest.fixture
def made(tmp_path, monkeypatch):
    def make(rows):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(f"{json.dumps(each)}\n" for each in rows))
        command = ["page", str(file), "--out", str(tmp_path), "--faults", "5"]
        monkeypatch.setattr(sys, "argv", command)
        page.main()
        return (tmp_path / "doctor.md").read_text()

    return make


def test_the_published_page_is_that_of_its_rows():
    if not (BENCHMARKS / "doctor.json").exists():
        pytest.skip("not measured yet")
    rows = json.loads((BENCHMARKS / "doctor.json").read_text(encoding="utf-8"))
    assert (BENCHMARKS / "doctor.md").read_text(encoding="utf-8") == page.page(rows)


def test_every_outcome_is_counted_by_policy_and_by_kind(made):
    rows = [row(-1, NOT_SEEN, SOUND), row(-1, NAMED, SOUND, "q")]
    rows += [row(i, outcome) for i, outcome in enumerate((NAMED, NAMED, AMONG, NOT_SEEN))]
    text = made([*rows, row(0, MISSED, "scale", "q")])
    assert "**5 of 10 faults were planted.**" in text
    assert "**Named exactly: 2 of the 4 that are seen, 50.0%**" in text
    assert "of all 5 40.0%. False alarms: 1 of 2." in text
    assert "| `p` | 4 | 2 | 1 | 0 | 1 | 67% | 0 of 1 |" in text
    assert "| `q` | 1 | 0 | 0 | 1 | 0 | 0% | 1 of 1 |" in text
    assert "| `scale` | 1 | 0 | 0 | 1 | 0 | 0% |" in text
    assert "| **all** | 5 | 2 | 1 | 1 | 1 | 50% |" in text


def test_what_was_said_instead_and_what_was_not_seen_is_listed_without_the_joints(made):
    text = made([row(0, AMONG), row(1, NOT_SEEN), row(2, MISSED)])
    assert "| `p` | turn | turn (the right one is among the next) | it falls |" in text
    assert "| `p` | turn | turn | it falls |" in text
    assert "- turn: `p`" in text


def test_rows_of_two_versions_are_said(made):
    assert "versions of the search" not in made([row(0, NAMED)])
    assert "**2 versions of the search took part**" in made(
        [row(0, NAMED), row(1, NAMED) | {"doctor": "other"}]
    )


def test_no_rows_is_one_line(made, capsys):
    with pytest.raises(SystemExit) as ended:
        made([])
    assert ended.value.code == 2
    assert "rows.jsonl: rows: has no rows" in capsys.readouterr().err
