"""A random policy for a real robot: its returns are poor and differ between backends."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")

from policy_builders import random_artifact

from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim import Simulation


@pytest.fixture(scope="session")
def policy(tmp_path_factory) -> Path:
    contract = Simulation("halfcheetah").contract
    file = tmp_path_factory.mktemp("policies") / "random.safetensors"
    save_policy(random_artifact(3, hidden=(16, 16), contract=contract), file)
    return file
