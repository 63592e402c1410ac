"""A node without the C part serves through rclpy, and says why."""

from __future__ import annotations

import sys

import pytest

from qpolicy_ros.nodes.rcl.compile import CompileError
from qpolicy_ros.nodes.rcl.library import make_executor
from qpolicy_ros.policy import load_policy


@pytest.fixture
def observation(policies):
    return load_policy(policies["hopper"]).golden.observations[0].tolist()


def test_without_a_compiler_rclpy_serves_and_the_diagnostics_say_so(
    serve, watcher, observation, tmp_path, monkeypatch
):
    monkeypatch.setenv("CC", "no-such-cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    node = serve()
    watcher.wait_for_policy(observation)
    report = watcher.diagnostics()
    assert report["executor"] == "SingleThreadedExecutor"
    assert report["hot_path"].startswith("off: no C compiler: install gcc")
    lines = [line for line in node.output.splitlines() if "no C compiler" in line]
    assert len(lines) == 1


def test_with_it_the_node_is_served_below_rclpy(serve, watcher, observation):
    serve()
    watcher.wait_for_policy(observation)
    report = watcher.diagnostics()
    assert (report["executor"], report["hot_path"]) == ("HotExecutor", "rcl")


def test_an_executor_that_is_unknown_is_refused(serve):
    node = serve(executor="fastest")
    assert node.wait() == 2
    assert "executor: 'fastest' is unknown; choose one of fast, rclpy" in node.output


def test_another_rclpy_serves_itself(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "qpolicy_ros.nodes.rcl.executor", None)
    with pytest.raises(CompileError, match="another rclpy: "):
        make_executor(library)
