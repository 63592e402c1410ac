"""The tables of docs/results.md: from the rows alone, between their markers."""

from __future__ import annotations

from pathlib import Path

import pytest

from qpolicy_ros.bench.results_page import fill, markers, tables
from qpolicy_ros.bench.rows import parse_results, read_results
from qpolicy_ros.bench.targets import write_targets
from qpolicy_ros.cli.main import main
from qpolicy_ros.common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def inference(peer, **changes):
    return {
        "bench": "inference/hopper shape", "subject": "integer C", "peer": peer,
        "ratio": 56.1, "p50_us": 0.66, "p99_us": 1.0, "peer_p50_us": 37.04, "peer_p99_us": 50.0,
    } | changes  # fmt: skip


def core(**changes):
    return {
        "bench": "fpga core", "subject": "hopper/paper", "policy": "paper", "cycles": 7,
        "target_cycles": 8, "p50_us": 0.07, "lut": 1482, "dsp": 0, "fits": True, "depth_ns": 3.5,
        "depth_allowed_ns": 3.5,
        "paper": {"latency_us": 0.2, "lut": 2400, "dsp": 45},
    } | changes  # fmt: skip


def page(name="speed", between="old"):
    first, last = markers(name)
    return f"before\n{first}\n{between}\n{last}\nbehind\n"


def test_the_tables_on_the_page_are_those_of_the_rows():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    made = tables(read_results(ROOT / "docs" / "benchmarks"))
    assert made.keys() == {"speed", "cores"}
    assert all(marker in text for name in made for marker in markers(name))
    assert text == fill(text, made, "results.md"), "run `qpolicy bench targets`"


def test_a_speed_row_holds_our_median_and_each_peer_s():
    rows = [inference("torch eager"), inference("onnxruntime fp32", peer_p50_us=8.26)]
    rows.append(inference("plain C fp32", subject="fp32 NumPy", peer_p50_us=99.0))
    lines = tables(parse_results({"inference": rows}))["speed"].splitlines()
    assert lines[2:] == ["| Hopper, 11-16-16-3 | 0.7 | not measured | 8.3 | 37.0 |"]


def test_a_core_of_other_widths_is_not_set_beside_the_paper_s():
    rows = [core(), core(subject="hopper/selected", policy="selected")]
    lines = tables(parse_results({"fpga": rows}))["cores"].splitlines()
    assert lines[2:] == ["| `hopper/paper` | 7 | 0.07, 0.2 | 1,482, 2,400 | 0, 45 |"]


def test_what_was_not_measured_leaves_the_old_table():
    assert tables(parse_results({})) == {}
    other = {"inference": [inference("torch eager", bench="inference/other")]}
    assert tables(parse_results(other)) == {}


def test_only_what_is_between_the_markers_changes():
    assert fill(page(), {"speed": "new"}, "f") == page(between="\nnew\n")
    assert fill(page(), {"cores": "new"}, "f") == page()
    once = fill(page(), {"speed": "new"}, "f")
    assert fill(once, {"speed": "new"}, "f") == once


def test_a_lost_marker_is_named():
    first, _ = markers("speed")
    with pytest.raises(InputError, match=r"results.md: .*end of speed"):
        fill(f"{first}\ntable\n", {"speed": "new"}, "results.md")


def test_the_command_fills_the_page_one_folder_up(tmp_path, capsys):
    file, folder = tmp_path / "docs" / "results.md", tmp_path / "docs" / "benchmarks"
    folder.mkdir(parents=True)
    file.write_text(page(), encoding="utf-8")
    (folder / "inference.json").write_text(
        '[{"bench": "inference/hopper shape", "subject": "integer C", "peer": "torch eager", '
        '"ratio": 50.0, "p50_us": 1.0, "p99_us": 2.0, "peer_p50_us": 50.0, "peer_p99_us": 60.0}]'
    )
    assert main(["bench", "targets", "--out", str(folder)]) == 0
    capsys.readouterr()
    assert "| 1.0 | not measured | not measured | 50.0 |" in file.read_text(encoding="utf-8")


def test_a_page_without_markers_is_left_alone(tmp_path):
    file = tmp_path / "results.md"
    file.write_text("mine\n", encoding="utf-8")
    write_targets(tmp_path / "benchmarks")
    assert file.read_text(encoding="utf-8") == "mine\n"
