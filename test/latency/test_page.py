"""Reports of bags that lack something: what is unknown is left out, not drawn as a number."""

from __future__ import annotations

import numpy as np
import pytest
from bags import JOINT_STATE, PERIOD, STAGES, WALL, Message, answers, joint_state, write_bag

from qpolicy_ros.latency.bag import open_bag
from qpolicy_ros.latency.figures import png, svg
from qpolicy_ros.latency.page import page
from qpolicy_ros.latency.summary import summarise
from qpolicy_ros.latency.text import render
from qpolicy_ros.latency.ticks import read_ticks
from qpolicy_ros.latency.trace import read_trace


def report_of(tmp_path, *bags):
    ticks = [
        read_ticks(read_trace(open_bag(write_bag(tmp_path / f"bag{index}", messages))))
        for index, messages in enumerate(bags)
    ]
    return summarise(ticks, 0)


@pytest.fixture
def bare(tmp_path):
    """Timing alone, without stamps: neither deadline nor drops are known."""
    data = joint_state(0, STAGES, [1.0] * 6, "integer")
    messages = [Message("/timing", JOINT_STATE, WALL + index, data) for index in range(20)]
    return report_of(tmp_path, messages)


def test_an_unknown_deadline_is_not_drawn(bare):
    assert "deadline" not in svg("ecdf", bare)
    assert "deadline" not in svg("over_time", bare)


def test_a_logarithmic_axis_has_plain_numbers(tmp_path):
    report = report_of(tmp_path, answers([300.0, 350.0, 420.0, 640.0] * 20))
    for figure in ("ecdf", "over_time"):
        drawn = svg(figure, report)
        assert "<!-- 500 -->" in drawn  # text is drawn as paths, with itself as a comment
        assert "mathdefault" not in drawn


def test_unknown_counts_are_dashes(bare):
    row = next(line for line in render(bare, compare=False).splitlines() if "integer" in line)
    assert row.split()[:4] == ["integer", "20", "-", "-"]


def test_a_bag_without_timing_has_no_stages(tmp_path):
    messages = [each for each in answers([300.0] * 20) if each.topic != "/timing"]
    report = report_of(tmp_path, messages)
    assert "no timing topic" in svg("stages", report)
    assert report.figures()["backends"]["unknown"]["stages"] == {}
    assert png(report).startswith(b"\x89PNG")


def test_simulated_times_have_no_table_of_periods(tmp_path):
    report = report_of(tmp_path, answers([300.0] * 20, start=10**9))
    assert "Period from answer to answer" not in page(report)
    assert "jitter, std" not in render(report, compare=False)


def test_bags_follow_one_another_and_a_backend_may_be_in_one_only(tmp_path):
    second = answers([500.0] * 30, "fp32", stamp=31 * PERIOD, start=WALL + 30 * PERIOD)
    report = report_of(tmp_path, answers([300.0] * 30), answers([300.0] * 30) + second)
    drawn = svg("over_time", report)
    assert "1 swaps" in drawn
    assert drawn.count("<!-- integer -->") == drawn.count("<!-- fp32 -->") == 1


def test_backends_far_apart_are_drawn_on_a_logarithmic_axis(tmp_path):
    far = answers([90_000.0] * 30, "fp32", stamp=31 * PERIOD, start=WALL + 1000 * PERIOD)
    near, wide = (
        svg("side_by_side", report_of(tmp_path / name, answers([300.0] * 30) + extra))
        for name, extra in (("near", []), ("wide", far))
    )
    assert "<!-- 10,000 -->" in wide
    assert "<!-- 10,000 -->" not in near


def test_equal_backends_are_not_ranked(tmp_path):
    drawn = np.random.default_rng(0).uniform(90.0, 110.0, 400)
    second = answers(drawn[200:], "fp32", stamp=201 * PERIOD, start=WALL + 200 * PERIOD)
    said = render(report_of(tmp_path, answers(drawn[:200]) + second), compare=True)
    assert "p50: no difference shown between" in said
