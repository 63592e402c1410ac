"""The page of targets: met, short or open, from the rows alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qpolicy_ros.bench.returns import Return, shipped_returns
from qpolicy_ros.bench.rows import parse_results, read_results
from qpolicy_ros.bench.targets import assess, page
from qpolicy_ros.cli.main import main
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import policy_folders

PAGES = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"


def row(**changes):
    return {
        "bench": "inference/hopper shape", "subject": "integer C", "peer": "torch eager",
        "ratio": 20.0, "p50_us": 1.0, "p99_us": 2.0, "peer_p50_us": 20.0, "peer_p99_us": 24.0,
    } | changes  # fmt: skip


CORE = {
    "bench": "fpga core", "subject": "hopper/paper", "policy": "paper", "cycles": 8,
    "target_cycles": 8, "p50_us": 0.08, "lut": 1482, "dsp": 0, "fits": True, "depth_ns": 3.5,
    "depth_allowed_ns": 3.5, "paper": {"latency_us": 0.2, "lut": 2400, "dsp": 45},
}  # fmt: skip


def found(rows, area, what):
    """The one target of an area whose words begin so."""
    (target,) = [
        t for t in assess(parse_results(rows)) if t.area == area and t.what.startswith(what)
    ]
    return target


def test_the_worst_case_decides_and_is_named():
    slow = row(bench="inference/ant shape", ratio=9.5)
    target = found({"inference": [row(), slow]}, "Inference", "eager torch, 2 policies, median")
    assert target.met is False
    assert target.measured == "9.50x (ant shape, torch eager)"


def test_p99_is_compared_with_p99():
    target = found({"inference": [row()]}, "Inference", "eager torch, 1 policies, p99")
    assert target.met is True
    assert target.measured.startswith("12.00x")


def test_a_limit_is_not_met_by_reaching_it():
    rows = {"inference": [row(p50_us=2.0)]}
    assert found(rows, "Inference", "the paper's Hopper").met is False
    assert found({"inference": [row()]}, "Inference", "the paper's Hopper").met is True


def test_a_loop_is_compared_with_both_echoes_at_p50_and_p99():
    conditions = {
        "sustained_s": 60,
        "missed_deadlines": {"policy_node integer": 23, "rclpy echo": 99, "C echo": 20},
    }
    times = {"p50_us": 124.0, "p99_us": 260.0, "conditions": conditions}
    loops = [
        row(bench="ros_loop/ant shape", subject="policy_node integer", peer=peer, **times,
            peer_p50_us=p50, peer_p99_us=p99)
        for peer, p50, p99 in (("C echo", 100.0, 200.0), ("rclpy echo", 210.0, 430.0))
    ]  # fmt: skip
    rows = {"ros_loop": loops}
    assert found(rows, "ROS 2 loop", "ant shape, p50 to the C echo").met is True
    assert found(rows, "ROS 2 loop", "ant shape, p99 to the C echo").met is False
    assert found(rows, "ROS 2 loop", "ant shape, p50 to the rclpy echo").met is True
    assert found(rows, "ROS 2 loop", "ant shape, p99 to the rclpy echo").met is False
    missed = found(rows, "ROS 2 loop", "1 kHz")
    assert missed.met is False
    assert missed.measured == "23, the C echo 20"


def test_memory_may_grow_at_the_start_only():
    soak = {"subject": "policy_node integer", "ticks": 1_000_000}
    flat, leak = [50_000, *[60_000] * 20], [50_000, *range(60_000, 62_000, 100)]
    target = "memory over"
    assert found({"ros_soak": [soak | {"rss_kib": flat}]}, "ROS 2 loop", target).met is True
    assert found({"ros_soak": [soak | {"rss_kib": leak}]}, "ROS 2 loop", target).met is False
    short = soak | {"ticks": 1000, "rss_kib": flat}
    assert found({"ros_soak": [short]}, "ROS 2 loop", target).met is None


def test_the_faster_of_our_quantised_trainers_counts():
    training = [
        row(bench="training/Hopper-v4", subject=name, peer="sbx", ratio=ratio)
        for name, ratio in (("ours, QAT", 1.1), ("ours, QAT, bfloat16", 1.6), ("ours, FP32", 9.0))
    ]
    target = found({"training": training}, "Training", "QAT, steps a CPU second, Hopper-v4, to sbx")
    assert target.met is True
    assert target.measured == "1.60x (ours, QAT, bfloat16)"


def test_a_peer_that_updates_its_actor_as_seldom_stands_beside_the_figure():
    training = [
        row(bench="training/Hopper-v4", subject="ours, QAT", peer=peer, ratio=ratio)
        for peer, ratio in (("sbx", 1.6), ("sbx, policy_delay 2", 1.2))
    ]
    target = found({"training": training}, "Training", "QAT, steps a CPU second, Hopper-v4, to sbx")
    assert target.measured == "1.60x (ours, QAT; 1.20x sbx, policy_delay 2)"


def test_a_policy_is_held_to_the_paper_s_fp32_mean_within_its_bits():
    limits = (16, 6, 2, 8)
    policies = [Return("a/paper", 100.0, 1.0, 100, limits, 100.0, 80.0)]
    policies.append(Return("b/paper", 99.0, 1.0, 100, limits, 100.0, 80.0))
    good, short = assess(parse_results({}), policies)[-2:]
    assert (good.met, short.met) == (True, False)
    assert short.area == "Returns"
    assert short.measured == "99 ± 1 (99%; the paper's quantised mean 80)"


def test_every_task_of_the_paper_has_a_policy_within_its_width_and_bits():
    found = {each.policy: each for each in shipped_returns(policy_folders()[-1])}
    tasks = ("hopper", "walker2d", "halfcheetah", "ant", "humanoid")
    assert found.keys() >= {f"{task}/paper" for task in tasks}
    assert "hopper/selected" in found  # what we select is what the paper selected
    assert "hopper/best" not in found  # 3 bits where the paper has 2
    hopper = found["hopper/paper"]
    assert hopper.limits == (16, 6, 2, 8)
    assert (round(hopper.fp32), round(hopper.selected)) == (2710, 2126)


def test_a_start_is_met_by_its_median_and_says_its_quartiles():
    start = row(
        subject="policy_node, integer, to active",
        p50_us=4e5, p50_low_us=3.3e5, p50_high_us=2.4e6,
    )  # fmt: skip
    target = found({"startup": [start]}, "Start-up", "policy_node, integer, to active, median")
    assert target.met is True
    assert target.measured == "0.4 s (quartiles 0.33, 2.4 s)"


def test_a_student_needs_the_return_and_the_time():
    student = {"cpu_s": 170.0, "mean_return": 970.0, "teacher_return": 1000.0, "episodes": 100}
    rows = {"distillation": [student]}
    assert found(rows, "Distillation", "3-bit").met is True
    assert found(rows, "Distillation", "its return").met is False


def test_a_core_must_be_short_fit_and_be_fast():
    assert found({"fpga": [CORE]}, "FPGA core", "hopper").met is True
    for worse in ({"cycles": 9}, {"fits": False}, {"depth_ns": 3.6}):
        assert found({"fpga": [CORE | worse]}, "FPGA core", "hopper").met is False


def test_a_core_with_quantiser_and_actions_must_be_fast_and_fit():
    whole = {"latency_us": 9.9, "fits": True, "depth_ns": 3.5}
    what = "hopper/paper, sensor words"
    assert found({"fpga": [CORE | {"end_to_end": whole}]}, "FPGA core", what).met is True
    for worse in ({"latency_us": 10.0}, {"fits": False}, {"depth_ns": 3.6}):
        row = CORE | {"end_to_end": whole | worse}
        assert found({"fpga": [row]}, "FPGA core", what).met is False


def test_what_nobody_measured_is_open():
    targets = assess(parse_results({}))
    assert targets
    assert {target.met for target in targets} == {None}
    assert "0 met, 0 short" in page(targets)


def test_rows_that_are_none_are_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "inference.json").write_text('{"no": "list"}')
    assert main(["bench", "targets", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "inference.json: file: not a list of rows" in error[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ratio": None}, "row 0, ratio: None is of another kind"),
        ({"peer": 3}, "row 0, peer: 3 is of another kind"),
        ({"conditions": {"sustained_s": "long"}}, "row 0, conditions, sustained_s: 'long' is of"),
        ({"conditions": []}, r"row 0, conditions: \[\] is no record"),
    ],
)
def test_a_row_of_other_kinds_is_refused_by_file_row_and_field(changed, said):
    with pytest.raises(InputError, match=rf"inference\.json: {said}"):
        parse_results({"inference": [row(**changed)]})


def test_a_row_that_lacks_a_figure_is_refused():
    core = {name: value for name, value in CORE.items() if name != "lut"}
    with pytest.raises(InputError, match=r"fpga\.json: row 0, lut: is missing"):
        parse_results({"fpga": [core]})


def test_the_command_writes_and_prints_the_page(tmp_path, capsys):
    assert main(["bench", "targets", "--out", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.startswith("# Targets")
    assert (tmp_path / "new" / "targets.md").exists()


def test_the_page_in_docs_is_that_of_the_rows_in_docs():
    text = (PAGES / "targets.md").read_text(encoding="utf-8")
    returns = shipped_returns(policy_folders()[-1])
    assert text == page(assess(read_results(PAGES), returns)), "run `qpolicy bench targets`"


def test_every_shortfall_has_its_profile():
    text = (PAGES / "targets.md").read_text(encoding="utf-8")
    profiles = (PAGES / "profiles.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", profiles, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"profiles\.md#([\w-]+)", text)) <= anchors
