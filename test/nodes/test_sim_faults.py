"""A simulation that blows up, is too slow, or shares a graph with another one: said, not hidden."""

from __future__ import annotations

import time

import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from qpolicy_ros.nodes import qos, sim_clock

UNSTABLE = """
<mujoco><option timestep="0.02" integrator="Euler"/><worldbody>
  <body pos="0 0 1"><joint name="arm" axis="0 1 0"/>
    <geom type="capsule" fromto="0 0 0 0 0 -.3" size=".02"/></body></worldbody>
  <actuator><position name="arm" joint="arm" kp="{gain}" ctrlrange="-2 2"/></actuator>
  <keyframe><key qpos="0.5" ctrl="0.5"/></keyframe></mujoco>
"""


@pytest.fixture
def arm(start, watcher, tmp_path):
    """Simulate one joint with a servo of some gain; each observation is answered with 1."""

    def starter(gain):
        (tmp_path / "arm.xml").write_text(UNSTABLE.format(gain=gain))
        publisher = watcher.node.create_publisher(JointState, "action_stamped", qos.COMMAND)

        def answer(message):
            action = JointState(position=[1.0])
            action.header.stamp = message.header.stamp
            publisher.publish(action)

        watcher.node.create_subscription(JointState, "observation", answer, 10)
        return start(
            "mujoco_sim_node", task=str(tmp_path / "arm.xml"), episodes=1, max_episode_steps=20
        )

    return starter


def ended(watcher, node):
    watcher.until(lambda: node.process.poll() is not None and watcher.messages["episode"])
    message = watcher.messages["episode"][0]
    return dict(zip(message.name, message.position, strict=True))


def test_physics_that_blows_up_is_an_episode_that_failed(arm, watcher):
    node = arm(200000)
    episode = ended(watcher, node)
    assert episode["failed"] == 1
    assert episode["length"] < 20
    assert node.wait() == 1
    assert "the acceleration of joint 'arm' is not finite or too large" in node.output


def test_what_has_no_reward_says_so(arm, watcher):
    node = arm(2)
    assert ended(watcher, node)["failed"] == 0
    assert node.wait() == 0
    assert "episode 1 (seed 0): no reward, 20 steps, time limit" in node.output
    assert "nan" not in node.output


def test_two_simulators_have_one_clock(start, watcher):
    """Both publish on the same topic here: the test's nodes have one namespace and two names."""
    stamps = []
    watcher.node.create_subscription(
        Clock, "clock", lambda m: stamps.append(m.clock.sec + m.clock.nanosec * 1e-9), 100
    )
    nodes = [
        start(
            "mujoco_sim_node",
            task="hopper",
            realtime=True,
            policy_timeout=0.0,
            rename=f"__node:={name}",
        )
        for name in ("sim_a", "sim_b")
    ]
    count = lambda: watcher.node.count_publishers("clock")  # noqa: E731
    watcher.until(lambda: any("publishes it too" in node.output for node in nodes))
    watcher.until(lambda: count() == 1)
    watcher.spin(0.5)
    stamps.clear()
    watcher.spin(1.0)
    assert stamps == sorted(stamps)
    (info,) = watcher.node.get_publishers_info_by_topic("clock")
    assert info.node_name == "sim_a"
    assert "/sim_a goes on" in nodes[1].output


class Log:
    def __init__(self):
        self.lines = []

    def get_logger(self):
        return self

    def warning(self, text):
        self.lines.append(text)


@pytest.mark.parametrize(
    ("step", "said"), [(0.02, ""), (0.05, "slower than real time: 0.40 of it")]
)
def test_a_pace_below_real_time_is_said(monkeypatch, step, said):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log = Log()
    pace = sim_clock.Pace(log, 0.02)
    for _ in range(int(6 / step)):
        now[0] += step
        pace.stepped(step)
    assert len(log.lines) == bool(said)
    assert all(line.startswith(said) for line in log.lines)
