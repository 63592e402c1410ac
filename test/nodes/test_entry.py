"""What a node's command says before the node is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qpolicy_ros.nodes import entry


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A ROS 2 with one middleware."""
    marker = tmp_path / "share/ament_index/resource_index/rmw_typesupport/rmw_fastrtps_cpp"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(entry.sys, "prefix", str(tmp_path / "none"))


@pytest.mark.parametrize("wanted", ["", "rmw_fastrtps_cpp"])
def test_a_middleware_that_is_there_is_no_fault(installed, monkeypatch, wanted):  # noqa: ARG001
    monkeypatch.setenv("RMW_IMPLEMENTATION", wanted)
    assert not entry.missing_middleware()


def test_where_nothing_says_what_is_installed_ros_decides(tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")
    monkeypatch.setattr(entry.sys, "prefix", str(tmp_path / "none"))
    assert not entry.missing_middleware()


def test_another_middleware_is_named_with_its_package(installed, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")
    text = entry.missing_middleware()
    assert "'rmw_zenoh_cpp' is not installed, only rmw_fastrtps_cpp" in text
    assert "install ros-jazzy-rmw-zenoh-cpp, or unset it" in text


def test_a_node_ends_with_one_line_where_its_middleware_is_missing():
    pytest.importorskip("rclpy")
    done = subprocess.run(
        [sys.executable, "-c", "from qpolicy_ros.nodes.entry import policy_node; policy_node()"],
        env={**os.environ, "RMW_IMPLEMENTATION": "rmw_cyclone"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("policy_node: error: RMW_IMPLEMENTATION: 'rmw_cyclone' is not")
    assert done.stderr.count("\n") == 1
