"""Controllers of ros2_control with a policy's joints, in its order."""

from __future__ import annotations

import pytest
import yaml
from policy_builders import random_artifact
from robot_contracts import JOINTS, robot_contract

from qpolicy_ros.cli.main import main
from qpolicy_ros.interchange.outgoing import controllers
from qpolicy_ros.policy import PolicyError, save_policy


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(11, hidden=(16, 16), contract=robot_contract())


@pytest.mark.parametrize("trajectory", [False, True])
def test_the_joints_are_in_the_policys_order(artifact, trajectory):
    data = yaml.safe_load(controllers(artifact, trajectory=trajectory))
    manager = data["controller_manager"]["ros__parameters"]
    parameters = data["policy_controller"]["ros__parameters"]
    assert parameters["joints"] == list(JOINTS)
    kind = manager["policy_controller"]["type"]
    if trajectory:
        assert kind == "joint_trajectory_controller/JointTrajectoryController"
        assert parameters["command_interfaces"] == ["position"]
    else:
        assert kind == "forward_command_controller/ForwardCommandController"
        assert parameters["interface_name"] == "position"
    assert manager["update_rate"] >= 1 / artifact.contract.period


def test_the_command_writes_the_file(artifact, tmp_path, capsys):
    save_policy(artifact, tmp_path / "robot.safetensors")
    out = tmp_path / "controllers.yaml"
    call = ["export", str(tmp_path / "robot.safetensors"), "--out", str(out)]
    assert main([*call, "--format", "ros2-control"]) == 0
    assert yaml.safe_load(out.read_text())["policy_controller"]
    assert "2 joints in the policy's order" in capsys.readouterr().out


def test_a_feature_vectors_policy_is_refused():
    with pytest.raises(PolicyError, match="has a feature vector, its actions drive no joints"):
        controllers(random_artifact(3))
