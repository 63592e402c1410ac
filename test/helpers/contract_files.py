"""Contract files of a robot of three joints, written and read back."""

from __future__ import annotations

import yaml

from qpolicy_ros.interchange.incoming.contracts.context import Context
from qpolicy_ros.interchange.incoming.contracts.read import read_contract
from qpolicy_ros.policy.contract_rules import check_contract
from qpolicy_ros.policy.robot_facts import RobotFacts

ROBOT = RobotFacts(
    "robot.xml", ("hip", "knee", "ankle"), poses={"home": {"hip": 0.5, "knee": -1.0}}
)
ORDER = [2, 0, 1]  # the policy's entry i is the robot's joint ORDER[i]
JOINTS = ["ankle", "hip", "knee"]


def written(tmp_path, content, name="contract.yaml"):
    """A YAML file; text is written as it is."""
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    (tmp_path / name).write_text(text)
    return tmp_path / name


def read(path, inputs, outputs=3, **options):
    options.setdefault("robot", ROBOT)
    contract = read_contract(path, Context(inputs, outputs, **options))
    check_contract(contract)
    return contract
