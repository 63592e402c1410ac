"""The figures of answers whose latencies are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bags import (
    JOINT_STATE,
    PERIOD,
    STAGES,
    WALL,
    Message,
    answers,
    joint_state,
    reported,
    write_bag,
)
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.latency.bag import BagError, open_bag
from qpolicy_ros.latency.summary import summarise, to_json
from qpolicy_ros.latency.ticks import read_ticks
from qpolicy_ros.latency.trace import read_trace
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter


def report_of(tmp_path, *bags, warm_up=0, deadline=0.0):
    ticks = [
        read_ticks(read_trace(open_bag(write_bag(tmp_path / f"bag{index}", messages))))
        for index, messages in enumerate(bags)
    ]
    return summarise(ticks, warm_up, deadline)


def later(messages: list[Message], periods: int) -> list[Message]:
    return [each._replace(log=each.log + periods * PERIOD) for each in messages]


def test_the_figures_are_those_of_numpy(tmp_path):
    latencies = np.random.default_rng(0).integers(100, 900, 400) * 1.0
    latencies[17], latencies[200] = 8001.0, 9000.0
    report = report_of(tmp_path, [reported(), *answers(latencies)])
    found = report.figures()["backends"]["integer"]
    assert found["n"] == 400
    assert found["mean_us"] == pytest.approx(latencies.mean())
    for key, share in (("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999)):
        assert found[key] == pytest.approx(np.quantile(latencies, share))
    assert found["max_us"] == 9000.0
    assert found["deadline_misses"] == 2
    assert found["drops"] == found["duplicates"] == 0
    assert found["stages"]["infer"]["mean_us"] == pytest.approx(latencies.mean() / 4)
    assert found["age_at_action"]["from"] == "the observation's sending"


def test_warm_up_stands_apart(tmp_path):
    report = report_of(tmp_path, answers([5000.0] * 10 + [100.0] * 40), warm_up=10)
    found = report.figures()["backends"]["integer"]
    assert (found["n"], found["max_us"]) == (40, 100.0)
    assert (found["warm_up"]["n"], found["warm_up"]["p50_us"]) == (10, 5000.0)


def test_only_warm_up_is_an_error(tmp_path):
    with pytest.raises(BagError, match="all of the 20 answers are warm-up"):
        report_of(tmp_path, answers([100.0] * 20), warm_up=20)


def test_the_period_does_not_span_swaps_and_resets(tmp_path):
    second = answers([100.0] * 50, start=WALL + 1000 * PERIOD)
    report = report_of(tmp_path, answers([100.0] * 50) + second)
    period = report.figures()["backends"]["integer"]["period"]
    assert period["median_us"] == PERIOD / 1000.0
    assert period["jitter_max_us"] == 0.0


@pytest.mark.parametrize(
    ("messages", "given", "deadline", "origin"),
    [
        ([reported(period_ms="4")], 0.0, 4000.0, "the policy's control period"),
        ([], 0.0, 8000.0, "the period of the observations' stamps"),
        ([reported(period_ms="4")], 500.0, 500.0, "--deadline-us"),
    ],
)
def test_where_the_deadline_comes_from(tmp_path, messages, given, deadline, origin):
    report = report_of(tmp_path, messages + answers([100.0] * 20), deadline=given)
    assert (report.deadline, report.deadline_from) == (deadline, origin)


def test_without_any_period_the_deadline_is_unknown(tmp_path):
    data = joint_state(0, STAGES, [1.0] * 6, "integer")
    messages = [Message("/timing", JOINT_STATE, WALL + index, data) for index in range(20)]
    report = report_of(tmp_path, messages)
    assert json.loads(to_json(report))["deadline_us"] is None
    assert any("--deadline-us" in note for note in report.notes)


def test_bags_of_two_backends_are_put_side_by_side(tmp_path):
    fast = answers(np.random.default_rng(0).uniform(90.0, 110.0, 500), "integer")
    slow = answers(np.random.default_rng(1).uniform(190.0, 210.0, 500), "fp32")
    report = report_of(tmp_path, fast, slow)
    assert [sample.name for sample in report.samples] == ["integer", "fp32"]
    found = {each.statistic: each for each in report.comparisons}
    assert (found["p50"].faster, found["p50"].slower) == ("integer", "fp32")
    assert found["p50"].ratio == pytest.approx(2.0, rel=0.02)
    assert found["p50"].shown
    assert found["p50"].confidence == 1.0


def test_two_artifacts_are_not_mixed(tmp_path):
    messages = answers([100.0] * 20)
    swapped = [reported(), reported(WALL + 5, function_hash="cd" * 32), *messages]
    with pytest.raises(BagError, match="two artifacts in one bag: abababababab and cdcdcdcdcdcd"):
        report_of(tmp_path, swapped)


def test_bags_of_two_artifacts_are_not_mixed(tmp_path):
    first = [reported(), *answers([100.0] * 20)]
    second = [reported(function_hash="cd" * 32), *answers([100.0] * 20)]
    with pytest.raises(BagError, match=r"two artifacts in .*bag0 and .*bag1"):
        report_of(tmp_path, first, second)


def test_end_to_end_and_callback_latency_are_not_mixed(tmp_path):
    without = []
    for index in range(20):
        data = joint_state((index + 1) * PERIOD, STAGES, [np.nan, np.nan, 1, 1, 1, 3.0], "integer")
        without.append(Message("/timing", JOINT_STATE, WALL + index * PERIOD, data))
    with pytest.raises(BagError, match="analyse these bags one by one"):
        report_of(tmp_path, answers([100.0] * 20), without)


def test_conditions_come_from_the_bag(tmp_path):
    status = reported(cpu="Z80", rmw="rmw_fastrtps_cpp", git_revision="abc+")
    report = report_of(tmp_path, [status, *answers([100.0] * 20)])
    assert report.conditions["cpu"] == "Z80"
    assert report.conditions["rmw"] == "rmw_fastrtps_cpp"
    assert report.conditions["function_hash"] == "ab" * 32
    assert report.notes == []


def test_unknown_conditions_are_said(tmp_path):
    report = report_of(tmp_path, answers([100.0] * 20))
    assert report.conditions == {}
    assert any("conditions are unknown" in note for note in report.notes)


def test_swaps_are_listed(tmp_path):
    second = answers([100.0] * 20, "fp32", stamp=21 * PERIOD)
    report = report_of(tmp_path, answers([100.0] * 20) + later(second, 20))
    (swap,) = report.figures()["swaps"]
    assert (swap["from"], swap["to"]) == ("integer", "fp32")
    assert swap["time_s"] == pytest.approx(20 * PERIOD / 1e9)


def callback_only(count: int = 20) -> list[Message]:
    """Answers whose observation's age nobody knows."""
    stages = [np.nan, np.nan, 1.0, 1.0, 1.0, 3.0]
    return [
        Message(
            "/timing",
            JOINT_STATE,
            WALL + index * PERIOD,
            joint_state((index + 1) * PERIOD, STAGES, stages, "integer"),
        )
        for index in range(count)
    ]


def test_an_age_that_nobody_knows_is_not_invented(tmp_path):
    found = report_of(tmp_path, callback_only()).figures()["backends"]["integer"]
    assert found["age_at_action"] is None
    assert found["drops"] is None
    assert found["mean_us"] == 3.0


def test_an_age_by_stamp_counts_from_the_stamp(tmp_path):
    file = tmp_path / "sent.mcap"
    definition, _ = get_typestore(Stores.ROS2_JAZZY).generate_msgdef(JOINT_STATE, ros_version=2)
    writer = McapWriter(file, "test")
    channel = writer.add_channel("/timing", JOINT_STATE, definition, "")
    for each in answers([300.0] * 20, stamp=WALL - 2_000_000):
        if each.topic == "/timing":
            writer.write(channel, each.log + 500, each.log, 0, each.data)
    writer.close()
    report = summarise([read_ticks(read_trace(open_bag(file)))], 0)
    age = report.figures()["backends"]["integer"]["age_at_action"]
    assert age["from"] == "the observation's stamp"
    assert age["mean_us"] == 2301.0


def test_simulated_times_give_no_period(tmp_path):
    report = report_of(tmp_path, answers([100.0] * 20, start=10**9))
    assert report.figures()["backends"]["integer"]["period"] is None
    assert report.figures()["bags"][0]["clock"] is None


def test_a_period_that_is_no_number_is_not_used(tmp_path):
    report = report_of(tmp_path, [reported(period_ms="eight"), *answers([100.0] * 20)])
    assert report.deadline_from == "the period of the observations' stamps"


def test_conditions_that_differ_are_all_shown(tmp_path):
    bags = [
        [reported(cpu=cpu, function_hash="", policy=f"/opt/{cpu}/hopper/paper.safetensors"), *rest]
        for cpu, rest in (("Z80", answers([100.0] * 20)), ("6502", answers([100.0] * 20)))
    ]
    report = report_of(tmp_path, *bags)
    assert report.conditions["cpu"] == "Z80; 6502"
    assert "function_hash" not in report.conditions
    assert "the bags differ in cpu" in report.notes


def test_a_backend_that_is_all_warm_up_is_noted(tmp_path):
    few = answers([100.0] * 5, "fp32", start=WALL + 100 * PERIOD, stamp=101 * PERIOD)
    report = report_of(tmp_path, answers([100.0] * 50) + few, warm_up=10)
    assert [sample.name for sample in report.samples] == ["integer"]
    assert "fp32: all of its 5 answers are warm-up" in report.notes
