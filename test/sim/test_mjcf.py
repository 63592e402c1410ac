"""Bare MJCF models: what they give and what they do not invent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim import Simulation, open_simulation

MODEL = """
<mujoco><option timestep="0.005"/>
  <worldbody><body name="arm"><joint name="elbow" type="hinge" axis="0 1 0" damping="0.1"/>
    <geom size="0.02 0.2" type="capsule" pos="0 0 -0.2"/></body>
    <body name="ball" pos="1 0 1"><freejoint name="float"/><geom size="0.1"/></body></worldbody>
  <actuator><motor name="torque" joint="elbow" {limits}/></actuator>
  {more}
</mujoco>
"""
LIMITS = 'ctrllimited="true" ctrlrange="-2 3"'


@pytest.fixture
def write(tmp_path):
    def writer(limits=LIMITS, more=""):
        path = tmp_path / "arm.xml"
        path.write_text(MODEL.format(limits=limits, more=more))
        return str(path)

    return writer


def test_contract(write):
    contract = open_simulation(write()).contract
    names = [channel.name for channel in contract.observation]
    assert names[:2] == ["position:elbow", "position:float.x"]
    assert names[8:10] == ["velocity:elbow", "velocity:float.vx"]
    assert len(names) == 8 + 7
    channel = contract.action[0]
    assert (channel.name, channel.low, channel.high, channel.safe) == ("torque", -2.0, 3.0, 0.0)
    assert (contract.task, contract.env_id, contract.period) == ("arm", "", 0.005)


def test_a_longer_period_makes_more_substeps(write):
    simulation = open_simulation(write(), period=0.02)
    simulation.reset(0)
    simulation.step(np.zeros(1, np.float32))
    assert simulation.contract.period == pytest.approx(0.02)
    assert simulation.data.time == pytest.approx(0.02)


def test_no_reward_and_no_termination(write):
    simulation = open_simulation(write(), max_episode_steps=3)
    simulation.reset(0)
    outcomes = [simulation.step(np.ones(1, np.float32))[1:] for _ in range(3)]
    assert all(math.isnan(reward) for reward, _, _ in outcomes)
    assert [(over, cut) for _, over, cut in outcomes] == [(False, False)] * 2 + [(False, True)]


def test_actions_move_the_joint_and_are_clipped(write):
    simulation = open_simulation(write())
    simulation.reset(0)
    observation, *_ = simulation.step(np.array([9.0], np.float32))
    assert simulation.data.ctrl[0] == 3.0
    assert observation[8] > 0


def test_a_keyframe_is_the_start(write):
    more = '<keyframe><key qpos="0.5 1 0 1 1 0 0 0"/></keyframe>'
    assert open_simulation(write(more=more)).reset(0)[0] == np.float32(0.5)


@pytest.mark.parametrize(
    ("limits", "period", "text"),
    [
        ("", None, "ctrlrange: actuator 'torque' has no control limits"),
        ("ctrlrange='oops'", None, "arm.xml: task: .*ctrlrange"),
        (LIMITS, 0.007, "period: 0.007 s is no multiple .* give a multiple of 0.005 s"),
    ],
)
def test_unusable_models_are_refused(write, limits, period, text):
    with pytest.raises(PolicyError, match=text):
        open_simulation(write(limits), period=period)


def test_a_missing_file_is_named():
    with pytest.raises(PolicyError, match=r"/nowhere/arm.xml: task: there is no such MJCF file"):
        open_simulation("/nowhere/arm.xml")


def test_a_task_keeps_its_own_period():
    assert isinstance(open_simulation("hopper"), Simulation)
    with pytest.raises(PolicyError, match=r"period: 0.02 s is given, but 'hopper'"):
        open_simulation("hopper", period=0.02)
