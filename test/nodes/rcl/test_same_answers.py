"""The node gives the same answers through the hot path and through rclpy's executor."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from policy_builders import random_artifact
from robot_contracts import robot_contract
from robot_messages import imu, joint_states, odom
from ros_processes import PATIENCE
from sensor_msgs.msg import Imu, JointState
from std_srvs.srv import Trigger

from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import load_policy, save_policy

EXECUTORS = {"fast": "HotExecutor", "rclpy": "SingleThreadedExecutor"}
COUNTS = ("answered", "repeated", "no_action.", "refused", "last_reason", "mode", "stale")


def observations(contract) -> list[tuple[list[float], list[str]]]:
    """Good ones in several orders and with several lists of names, and every kind of bad one."""
    rng = np.random.default_rng(5)
    names = [channel.name for channel in contract.observation]
    count, found = len(names), []
    for index in range(24):
        values = (rng.normal(size=count) * 10.0 ** rng.integers(-3, 3)).tolist()
        order = rng.permutation(count)
        given = [[], names, [names[i] for i in order]][index % 3]
        found.append(([values[i] for i in order] if index % 3 == 2 else values, given))
    good = found[0][0]
    bad = [
        ([math.nan, *good[1:]], names),
        ([*good[:-1], -math.inf], []),
        ([1e300, *good[1:]], names),
        (good[:-1], []),
        (good, names[:-1]),
        (good[:-1], names[:-1]),
        ([*good, 1.0], [*names, "tail"]),
        (good, [*names[:-1], "tail"]),
        ([*good, 1.0], [*names, names[0]]),
        ([], []),
        (good, ["ä" * 50, *names[1:]]),
    ]
    for index, each in enumerate(bad):
        found.insert(2 * index + 1, each)
    return [*found, found[0]]


def plain(message: Any) -> tuple[Any, ...]:
    """A ``JointState``'s content as values that compare; NaN is equal to itself."""
    stamp = message.header.stamp
    values = np.array(message.position, np.float64).tobytes()
    sender = message.header.frame_id.partition("@")[0]  # behind it: host and process
    return stamp.sec, stamp.nanosec, sender, tuple(message.name), values


def counts(report: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in report.items() if key.startswith(COUNTS)}


def settled(watcher, wanted: int) -> dict[str, str]:
    """The diagnostics once ``wanted`` inputs have been counted."""
    while True:
        report = watcher.diagnostics()
        refused = sum(int(v) for k, v in report.items() if k.startswith("no_action."))
        if int(report["answered"]) + int(report["repeated"]) + refused >= wanted:
            return report


@pytest.fixture
def run(start, watcher):
    """Run a policy node with each executor in turn; ``talk`` gives what it has answered."""

    def both(policy, talk, **parameters):
        results = []
        for executor, name in EXECUTORS.items():
            for messages in watcher.messages.values():
                messages.clear()
            node = start(
                "policy_node", policy=str(policy), executor=executor, lockstep=True,
                autostart=True, timeout=0.0, **parameters,
            )  # fmt: skip
            results.append(talk())
            assert watcher.diagnostics()["executor"] == name
            node.end()
            watcher.until(lambda: not watcher.observations.get_subscription_count())
        return results

    return both


def test_a_feature_vector_gets_the_same_answers(run, watcher, policies):
    sent = observations(load_policy(policies["hopper"]).contract)

    def talk():
        watcher.until(watcher.observations.get_subscription_count)
        watcher.until(lambda: watcher.node.count_publishers("action_stamped"))
        for stamp, (values, names) in enumerate(sent, start=1):
            watcher.ask(values, names, stamp, patience=PATIENCE)
        watcher.tell(*sent[-1], len(sent))  # once more: the same answer again
        watcher.until(lambda: len(watcher.answers(len(sent))) == 2)
        report = settled(watcher, len(sent) + 1)
        timing, bare = watcher.messages["timing"], watcher.messages["action"]
        watcher.until(lambda: len(timing) == int(report["answered"]))
        watcher.until(lambda: len(bare) >= len(sent))
        stages = [plain(message)[:-1] for message in timing]
        actions = [tuple(message.data) for message in bare[-len(sent) :]]
        return answers(watcher), actions, stages, counts(report)

    fast, slow = run(policies["hopper"], talk)
    assert fast == slow
    assert len({values for *_, values in fast[0]}) > 10
    assert len(fast[2]) == int(fast[3]["answered"]) >= 20
    reasons = {"non_finite", "wrong_length", "missing", "extra", "misnamed"}
    assert {f"no_action.{reason}" for reason in reasons} <= fast[3].keys()


def robot_ticks() -> list[list[tuple[str, Any]]]:
    """Messages of each tick: good ones in any order, then kinds of bad ones."""
    rng = np.random.default_rng(8)
    ticks = []
    for tick in range(1, 16):
        stamp = tick / 8
        names = ["hip", "knee"] if tick % 3 else ["knee", "gripper", "hip"]
        joints = joint_states(stamp, names, rng.uniform(-0.5, 0.5, len(names)))
        quaternion = rng.normal(size=4)
        quaternion /= np.linalg.norm(quaternion)
        messages = [("imu", imu(stamp, quaternion)), ("odom", odom(stamp))]
        messages += [("joint_states", joints)]
        ticks.append([messages[i] for i in rng.permutation(3)])
    ticks[6].append(ticks[6][0])  # the same stamp once more
    return ticks


BAD = {
    "missing": ("joint_states", lambda at: joint_states(at, ["hip", "ankle"])),
    "non_finite": ("joint_states", lambda at: joint_states(at, position=[math.nan, 0.0])),
    "wrong_length": ("joint_states", lambda at: joint_states(at, velocity=[1.0])),
    "implausible": ("imu", lambda at: imu(at, (0, 0, 0, 2))),
}
KINDS = {"joint_states": JointState, "imu": Imu, "odom": Odometry}


def test_a_robot_gets_the_same_commands(run, watcher, tmp_path):
    contract = robot_contract()
    unlimited = tuple(dataclasses.replace(action, rate=math.inf) for action in contract.action)
    contract = dataclasses.replace(contract, action=unlimited)
    artifact = random_artifact(11, hidden=(16, 16), contract=contract)
    save_policy(artifact, tmp_path / "robot.safetensors")
    publishers = {
        name: watcher.node.create_publisher(kind, name, qos.FIGURES) for name, kind in KINDS.items()
    }

    def tell(messages):
        for name, message in messages:
            publishers[name].publish(message)
        stamp = messages[-1][1].header.stamp
        given = watcher.messages["action_stamped"]
        watcher.until(lambda: any(message.header.stamp == stamp for message in given))

    def call(service):
        assert watcher.call(Trigger, f"policy_node/{service}", Trigger.Request()).success

    def talk():
        for publisher in publishers.values():
            watcher.until(publisher.get_subscription_count)
        watcher.until(lambda: watcher.node.count_publishers("action_stamped"))
        problems = []
        for messages in robot_ticks():
            tell(messages)
        for at, (name, message) in enumerate(BAD.values(), start=3):
            tell([(name, message(float(at)))])
            report = watcher.diagnostics()
            problems.append((report["reason"], report[f"input.{name}.problem"]))
            call("reset")
            tell_quietly(publishers, at + 0.5)
            watcher.until(lambda: can_start(watcher))
        return answers(watcher), counts(watcher.diagnostics()), problems

    fast, slow = run(tmp_path / "robot.safetensors", talk, ramp_time=0.0)
    assert fast == slow
    assert [reason.partition(":")[0] for reason, _ in fast[2]] == list(BAD)
    assert len({values for *_, values in fast[0]}) > 5


def tell_quietly(publishers, stamp):
    """A good tick that is not answered: the node stands by."""
    for name, message in (("imu", imu), ("odom", odom), ("joint_states", joint_states)):
        publishers[name].publish(message(stamp))


def can_start(watcher) -> bool:
    return bool(watcher.call(Trigger, "policy_node/start", Trigger.Request()).success)


def answers(watcher) -> list[tuple[Any, ...]]:
    """The commands that answer something: not the last one of a node that ends."""
    given = map(plain, watcher.messages["action_stamped"])
    return [message for message in given if message[:2] != (0, 0)]
