"""The benchmark of the ROS 2 loop, over real DDS."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("rclpy")

from qpolicy_ros.bench import loop, soak
from qpolicy_ros.bench.cases import random_case
from qpolicy_ros.bench.measure import DisagreementError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        # The domain it chooses is its own business.
        patch.setenv("ROS_DOMAIN_ID", "0")
        rows = loop.run(out, lambda _: None, quick=True)
    return rows, out


def test_each_backend_meets_both_echoes(written):
    rows, _ = written
    assert [(row.subject, row.peer) for row in rows] == [
        ("policy_node integer", "C echo"),
        ("policy_node fp32", "C echo"),
        ("policy_node integer", "rclpy echo"),
        ("policy_node fp32", "rclpy echo"),
    ]
    assert all(row.p99_us >= row.p50_us > 10 for row in rows)


def test_rows_page_and_plot_are_written(written):
    rows, out = written
    stored = json.loads((out / "ros_loop.json").read_text())
    assert [row["ratio"] for row in stored] == [row.ratio for row in rows]
    facts = stored[0]["conditions"]
    assert facts["rate_hz"] == 1000
    nodes = {"C echo", "rclpy echo", "policy_node integer"}
    assert facts["missed_deadlines"].keys() == facts["missed_deadlines_2khz"].keys() == nodes
    page = (out / "ros_loop.md").read_text()
    assert "| policy_node fp32 |" in page
    for who in ("the machine (clock_nanosleep)", "policy_node", "policy_node, rclpy"):
        p50, p99, most = facts["jitter_us"][who]
        assert 0 < p50 <= p99 <= most
        assert f"| {who} | " in page
    assert (out / "ros_loop.png").read_bytes().startswith(b"\x89PNG")


def test_a_soak_says_what_memory_the_nodes_held(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    monkeypatch.setattr(soak, "_TICKS_A_SWAP", 20)
    soak.run(tmp_path, lambda _: None, 200)
    rows = json.loads((tmp_path / "ros_soak.json").read_text())
    assert [row["subject"] for row in rows] == ["rclpy echo", "policy_node integer"]
    assert [row["swaps"] for row in rows] == [0, 10]
    for row in rows:
        assert len(row["rss_kib"]) == 21
        assert all(kib > 1000 for kib in row["rss_kib"])


@pytest.mark.parametrize("backend", ["integer", "fp32"])
def test_a_node_that_sends_other_actions_is_refused(backend):
    case = random_case("hopper shape")
    zeros = np.zeros(3, np.float32)
    with pytest.raises(DisagreementError, match=f"policy_node {backend}: golden observation 0"):
        loop.verify(case, backend, lambda _: zeros)
