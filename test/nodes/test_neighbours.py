"""What others send on a robot's topics: found by the graph, named, kept from the robot."""

from __future__ import annotations

import time
from functools import partial

import pytest
import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from policy_builders import random_artifact
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot_contracts import robot_contract
from robot_messages import imu, joint_states, odom
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from qpolicy_ros.policy import load_policy, save_policy

pytestmark = pytest.mark.slow

WITHIN = 2.0  # s, plus what a busy machine takes to say so
SPOKEN = 6.0


@pytest.fixture
def policy(tmp_path):
    artifact = random_artifact(11, hidden=(16, 16), contract=robot_contract())
    save_policy(artifact, tmp_path / "robot.safetensors")
    return str(tmp_path / "robot.safetensors")


@pytest.fixture
def run(start, policy):
    def starter(**parameters):
        defaults = {"policy": policy, "autostart": True, "ramp_time": 0.3, "timeout": 1.0}
        return start("policy_node", **{**defaults, "engage": False, **parameters})

    return starter


@pytest.fixture
def other(watcher):
    """A second node that can publish too."""
    node = rclpy.create_node("gui", context=watcher.context, namespace=watcher.node.get_namespace())
    yield node
    node.destroy_node()


class Sender:
    """The robot's topics at 100 Hz, in this process; ``also`` is called beside."""

    def __init__(self, watcher):
        create = watcher.node.create_publisher
        self.joints = create(JointState, "joint_states", 10)
        self.imu, self.odom = create(Imu, "imu", 10), create(Odometry, "odom", 10)
        self.also = lambda _: None
        watcher.node.create_timer(0.01, self.send)

    def send(self):
        now = time.time()
        self.joints.publish(joint_states(now, position=[0.5, 0.8], velocity=[0, 0]))
        self.also(now)
        self.imu.publish(imu(now))
        self.odom.publish(odom(now))


@pytest.fixture
def sender(watcher):
    return Sender(watcher)


def call(watcher, service):
    response = watcher.call(Trigger, f"policy_node/{service}", Trigger.Request())
    return response.success, response.message


def wait_for_mode(watcher, mode):
    watcher.until(lambda: watcher.diagnostics().get("mode") == mode, timeout=60.0)


def problem(watcher, part):
    """Wait until the diagnostics name ``part``; return the report."""
    reports = []

    def named():
        reports.append(watcher.diagnostics())
        return part in reports[-1]["message"]

    watcher.until(named, timeout=SPOKEN)
    return reports[-1]


def test_a_grippers_publisher_beside_does_not_make_the_legs_old(run, watcher, sender, other):
    """Both are sent in one control cycle, the legs' first: a queue of one would lose those."""
    gripper = other.create_publisher(JointState, "joint_states", 10)
    sender.also = lambda now: gripper.publish(joint_states(now, names=["finger"], velocity=[0]))
    run()
    wait_for_mode(watcher, "standby")
    watcher.until(lambda: call(watcher, "start")[0])
    wait_for_mode(watcher, "policy")
    # A busy machine loses some too, but not all the time: three good seconds of nine will do.
    shares = []
    while len(shares) < 3 and not (shares and shares[-1] <= 0.02):
        before = watcher.diagnostics()
        counted = partial(rises, before, watcher, "answered", "input.joint_states.missed")
        watcher.until(partial(_enough, counted), timeout=30.0)
        answered, missed = counted()
        shares.append(missed / answered)
    report = watcher.diagnostics()
    assert report["mode"] == "policy"
    assert "two senders" not in report["message"]
    assert min(shares) <= 0.02, shares


def _enough(counted):
    return counted()[0] >= 150


def rises(before, watcher, *counts):
    """By how much counts of the diagnostics have grown."""
    report = watcher.diagnostics()
    return [int(report[name]) - int(before[name]) for name in counts]


def test_two_publishers_of_one_joint_are_named(run, watcher, sender, other):
    zeros = other.create_publisher(JointState, "joint_states", 10)
    node = run()
    wait_for_mode(watcher, "standby")
    assert "two senders" not in watcher.diagnostics()["message"]
    sender.also = lambda now: zeros.publish(
        joint_states(now, names=["knee", "hip"], position=[0, 0], velocity=[0, 0])
    )
    space = watcher.node.get_namespace()
    text = f"from two senders at once, {space}/gui and {space}/watcher; stop one of them"
    report = problem(watcher, text)
    assert report["level"] == "1"
    assert "'hip', 'knee'" in report["message"]
    assert node.output.count(text) == 1  # logged once


def test_who_makes_way_for_another_is_no_second_sender(run, watcher, sender, other):  # noqa: ARG001
    """As the simulator, which commands as long as nobody else does."""
    first, second = (node.create_publisher(Twist, "cmd_vel", 10) for node in (watcher.node, other))
    node = run()
    wait_for_mode(watcher, "standby")
    timers = [watcher.node.create_timer(0.05, lambda: first.publish(Twist()))]
    run_for(watcher, 1.0)
    timers.append(watcher.node.create_timer(0.05, lambda: second.publish(Twist())))
    run_for(watcher, 1.0)
    watcher.node.destroy_timer(timers[0])
    run_for(watcher, 4.0)
    assert "two senders" not in node.output
    watcher.node.create_timer(0.05, lambda: first.publish(Twist()))
    problem(watcher, "cmd_vel: the same values from two senders at once")


def run_for(watcher, seconds):
    end = time.monotonic() + seconds
    watcher.until(lambda: time.monotonic() >= end)


def test_another_type_on_cmd_vel_is_named_with_its_remedy(run, watcher, sender):  # noqa: ARG001
    command = watcher.node.create_publisher(TwistStamped, "cmd_vel", 10)
    node = run()
    report = problem(watcher, "geometry_msgs/msg/TwistStamped")
    assert "set enable_stamped_cmd_vel to true" in report["message"]
    assert "set enable_stamped_cmd_vel to true" in node.output
    watcher.node.destroy_publisher(command)


def test_a_silent_command_is_no_speed_and_goes_on_by_itself(run, watcher, sender):  # noqa: ARG001
    seen = []
    watcher.node.create_subscription(
        JointState,
        "observation",
        lambda m: seen.append(dict(zip(m.name, m.position, strict=True))),
        100,
    )
    command = watcher.node.create_publisher(Twist, "cmd_vel", 10)
    message = Twist()
    message.linear.x = 0.3
    run(ramp_time=0.0)
    wait_for_mode(watcher, "standby")
    watcher.until(lambda: call(watcher, "start")[0])
    for _ in range(2):
        timer = watcher.node.create_timer(0.05, lambda: command.publish(message))
        watcher.until(lambda: seen and seen[-1]["wanted"] == pytest.approx(0.3))
        watcher.node.destroy_timer(timer)
        watcher.until(lambda: seen[-1]["wanted"] == 0.0)
    assert watcher.diagnostics()["mode"] == "policy"


def test_a_qos_that_cannot_match_is_named(run, watcher, sender):  # noqa: ARG001
    wish = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    watcher.node.create_subscription(Float64MultiArray, "action", lambda _: None, wish)
    run()
    wait_for_mode(watcher, "standby")
    # Its name is known a moment later than its wish.
    problem(watcher, f"action: the QoS of {watcher.node.get_namespace()}/watcher cannot match")


def test_the_topic_that_is_waited_for_is_logged(run, watcher):
    node = run()
    watcher.until(lambda: "waits for the first usable message on 'joint_states'" in node.output)
    assert "'imu', 'odom'" in node.output
    assert "WARN" not in node.output
    waits = watcher.diagnostics()["waits_for"]
    where = f"in ROS domain {watcher.context.get_domain_id()} (rmw_"
    assert f"; nobody sends 'joint_states', 'imu', 'odom' {where}" in waits


def test_a_feature_vector_that_nobody_sends_is_said_with_the_domain(start, watcher, policies):
    watcher.node.destroy_publisher(watcher.observations)
    node = start("policy_node", policy=str(policies["hopper"]), autostart=True)
    said = "waits for the first message on 'observation'; nobody sends 'observation' in ROS domain"
    watcher.until(lambda: said in node.output)
    assert "WARN" not in node.output


def test_two_clocks_are_named(run, watcher, other):
    """Time would jump between them; a feature vector's node looks too."""
    clocks = [n.create_publisher(Clock, "clock", 10) for n in (watcher.node, other)]
    watcher.node.create_timer(0.02, lambda: [clock.publish(Clock()) for clock in clocks])
    run(use_sim_time=True)
    wait_for_mode(watcher, "standby")  # how long the node takes to start is not the question
    text = problem(watcher, "two senders")["message"]
    space = watcher.node.get_namespace()
    assert f"/clock: the same values from two senders at once, {space}/gui and" in text
    assert watcher.diagnostics()["mode"] == "standby"


def test_a_second_policy_node_is_refused_and_both_are_named(run, watcher, robot):
    robot()
    first = run()
    wait_for_mode(watcher, "standby")
    watcher.until(lambda: call(watcher, "start")[0])
    wait_for_mode(watcher, "policy")
    second = run(engage=True)
    text = "commands this robot too; this is"
    watcher.until(lambda: text in second.output or "overridden" in first.output)
    name = f"{watcher.node.get_namespace()}/policy_node@"
    named = second.output + first.output
    for node in (first, second):
        assert f":{node.process.pid}'" in named
    assert name in named
    # Nobody but the first commands, or the robot is safe.
    watcher.spin(1.0)
    watcher.messages["action_stamped"].clear()
    watcher.spin(1.0)
    senders = {m.header.frame_id for m in watcher.messages["action_stamped"]}
    safe = {tuple(m.position) for m in watcher.messages["action_stamped"]} == {(0.0, 0.0)}
    assert len(senders) == 1 or safe
    assert all(sender.startswith(name) for sender in senders)


@pytest.mark.usefixtures("sender")
@pytest.mark.parametrize("order", [("hip", "knee"), ("knee", "hip")])
def test_other_joints_of_a_controller_are_found_before_anything_is_commanded(
    run, watcher, other, order
):
    other.declare_parameter("joints", list(order))
    watcher.executor.add_node(other)
    name = f"{watcher.node.get_namespace()}/gui"
    run(controller=name)
    wait_for_mode(watcher, "standby")
    if order == ("knee", "hip"):
        text = problem(watcher, "in another order")["message"]
        assert f"controller: {name} has the same joints in another order" in text
        success, message = call(watcher, "start")
        assert not success
        assert message.startswith("misnamed: controller: ")
        assert not watcher.messages["action_stamped"]
    else:
        watcher.until(lambda: call(watcher, "start")[0])


def test_two_nodes_that_answer_one_feature_vector_do_not_both_go_on(serve, watcher, policies):
    artifact = load_policy(policies["hopper"])
    values = artifact.golden.observations[0].tolist()
    first = serve()
    watcher.wait_for_policy(values)
    second = serve()
    stamp = [0]

    def tell():
        stamp[0] += 1
        watcher.tell(values, stamp=stamp[0])

    watcher.node.create_timer(0.05, tell)
    watcher.until(lambda: "commands this robot too; this is" in first.output + second.output)
    watcher.spin(2.5)
    watcher.messages["action_stamped"].clear()
    watcher.spin(1.0)
    answers = watcher.messages["action_stamped"]
    safe = {tuple(message.position) for message in answers} == {(0.0, 0.0, 0.0)}
    assert answers
    assert safe or len({message.header.frame_id for message in answers}) == 1
