"""The benchmark of start-up."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from qpolicy_ros.bench import startup


def test_importing_the_policy_room_is_timed_and_does_not_import_torch():
    wall, cpu = startup._import(startup._OURS, "qpolicy_ros.policy")
    assert wall > 0
    assert cpu > 0


def test_a_policy_room_that_imports_torch_fails_the_run():
    pytest.importorskip("torch")
    with pytest.raises(startup.NodeError, match="imported torch"):
        startup._import(startup._OURS, "torch")
