"""A policy for a robot whose joints have other names."""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import random_artifact
from robot_contracts import robot_contract

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import Assembler, PolicyError, load_policy, make_engine, save_policy
from qpolicy_ros.policy.renaming import rename_joints


@pytest.fixture
def artifact():
    return random_artifact(contract=robot_contract())


def test_the_same_values_under_other_names_give_the_same_bits(artifact):
    other = rename_joints(artifact, {"hip": "knee", "knee": "left/hip"})
    first, second = Assembler(artifact.contract), Assembler(other.contract)
    raw = dict(zip(first.sources, np.linspace(-1, 1, len(first.sources)), strict=True))
    swapped = {"hip": "knee", "knee": "left/hip"}
    renamed = {}
    for source, value in raw.items():
        head, _, key = source.partition(":")
        renamed[f"{head}:{swapped.get(key, key)}"] = value
    one, two = first.observation(raw), second.observation(renamed)
    assert one.tolist() == two.tolist()
    actions = [make_engine(a.network).act(one).tolist() for a in (artifact, other)]
    assert actions[0] == actions[1]
    assert [action.name for action in other.contract.action] == ["knee", "left/hip"]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"hipp": "a"}, "'hipp' is no joint of the policy; nearest are hip"),
        ({"hip": "knee"}, "two joints would be 'knee'"),
    ],
)
def test_a_name_that_cannot_be_is_refused(names, text, artifact):
    with pytest.raises(PolicyError, match=text):
        rename_joints(artifact, names)


def test_the_command_writes_it(artifact, tmp_path, capsys):
    save_policy(artifact, tmp_path / "a.safetensors")
    arguments = ["rename", str(tmp_path / "a.safetensors"), "hip=h", "knee=k"]
    assert main([*arguments, "--out", str(tmp_path / "b.safetensors")]) == 0
    assert "its joints are h, k" in capsys.readouterr().out
    contract = load_policy(tmp_path / "b.safetensors").contract
    assert [action.name for action in contract.action] == ["h", "k"]
    assert main([*arguments[:2], "hip", "--out", str(tmp_path / "c.safetensors")]) == 2
    assert not (tmp_path / "c.safetensors").exists()
