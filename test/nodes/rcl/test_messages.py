"""Messages read and written in C have what rclpy's have."""

from __future__ import annotations

import math
from array import array
from functools import partial

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from policy_builders import make_contract
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.rcl.executor import HotExecutor
from qpolicy_ros.nodes.rcl.hot import hot
from qpolicy_ros.nodes.rcl.library import layout
from qpolicy_ros.nodes.rcl.messages import open_writer, set_stamp, stamp_of
from qpolicy_ros.nodes.serving.safety import ActionGuard


def fields(message, kind):
    """Every field of a message of the type ``kind`` by its path."""
    found = {}
    for name in kind.get_fields_and_field_types():
        value, part = getattr(message, name), getattr(kind(), name)
        if hasattr(part, "get_fields_and_field_types"):
            inner = fields(value, type(part))
            found |= {f"{name}.{path}": each for path, each in inner.items()}
        else:
            is_row = hasattr(value, "__len__") and not isinstance(value, str)
            found[name] = [str(each) for each in value] if is_row else str(value)
    return found


def odd_message(kind):
    rng = np.random.default_rng(3)
    message = kind()
    if hasattr(message, "header"):
        message.header.frame_id = "base, ä"
        message.header.stamp.sec, message.header.stamp.nanosec = -7, 4_000_000_000
    if kind is JointState:
        message.name = ["", "hip", "ä" * 40]
        message.position = array("d", [math.nan, -0.0, 1e-310])
        message.effort = array("d", rng.normal(size=5).tolist())
    elif kind is Imu:
        message.orientation.w = math.inf
        message.angular_velocity.y = 1 / 3
        message.orientation_covariance[0] = -1.0
        message.linear_acceleration_covariance[8] = math.pi
    elif kind is Odometry:
        message.child_frame_id = "trunk"
        message.pose.pose.position.z = 1e300
        message.twist.covariance[35] = 2.0
    else:
        (message.twist if kind is TwistStamped else message).linear.x = -0.1
    return message


def exchange(node, publish, context, library, kind):
    """Publish; return the fields as C gives them and as rclpy does."""
    seen = {}

    def keep(message):
        seen[isinstance(message, library.Message)] = fields(message, kind)

    hot(node.create_subscription(kind, "odd", keep, 10))
    node.create_subscription(kind, "odd", keep, 10)
    executor = HotExecutor(library, context=context)
    executor.add_node(node)
    while len(seen) < 2:
        publish()
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    return seen[True], seen[False]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [JointState, Imu, Odometry, Twist, TwistStamped])
def test_a_message_read_in_c_has_the_fields_of_rclpys(make_node, context, library, kind):
    node, message = make_node("both"), odd_message(kind)
    publisher = node.create_publisher(kind, "odd", 10)
    found, wanted = exchange(node, lambda: publisher.publish(message), context, library, kind)
    assert found == wanted == fields(message, kind)


@pytest.mark.timeout(60)
def test_a_message_written_in_c_arrives_as_rclpys_does(make_node, context, library):
    node = make_node("both")
    writer = open_writer(node, JointState, "odd", qos.FIGURES, library)
    message = writer.message
    message.name = ["left", "ä"]
    message.header.frame_id = "integer"
    values = np.array([0.1, -0.0], np.float32)
    wanted = JointState(name=["left", "ä"], position=[float(np.float32(0.1)), -0.0])
    wanted.header.frame_id = "integer"
    wanted.header.stamp.sec, wanted.header.stamp.nanosec = 5, 7
    send = partial(writer.send, (5, 7), values)
    found, _ = exchange(node, send, context, library, JointState)
    assert found == fields(wanted, JointState)
    assert stamp_of(message) == (5, 7)
    set_stamp(message, (6, 8))
    assert stamp_of(message) == (6, 8)
    writer.close()


@pytest.fixture
def joints(library):
    return library.Writer(0, layout(JointState)).message


def test_names_are_the_same_list_until_one_changes(joints):
    joints.name = ["a", "bc"]
    first = joints.name
    joints.name = ["a", "bc"]
    assert joints.name is first
    for other in (["ab", "c"], ["a", "b"], ["a"], []):
        joints.name = other
        assert joints.name == other
    assert first == ["a", "bc"]


def test_what_is_read_is_a_copy(joints):
    joints.position = array("d", [1.0, 2.0])
    before = joints.position
    joints.position = array("d", [3.0])
    assert before == array("d", [1.0, 2.0])


def test_a_part_keeps_its_message(joints):
    stamp = joints.header.stamp
    del joints
    stamp.sec = 12
    assert stamp.sec == 12


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: setattr(m, "nothing", 1), AttributeError),
        (lambda m: delattr(m, "name"), AttributeError),
        (lambda m: setattr(m, "position", np.zeros(2, np.int64)), TypeError),
        (lambda m: setattr(m, "position", np.zeros((2, 2))), TypeError),
        (lambda m: setattr(m, "name", [1]), TypeError),
        (lambda m: setattr(m.header.stamp, "sec", 2**31), OverflowError),
        (lambda m: setattr(m.header.stamp, "nanosec", -1), OverflowError),
        (lambda m: setattr(m, "header", None), TypeError),
    ],
)
def test_a_wrong_value_is_refused(joints, change, error):
    with pytest.raises(error):
        change(joints)


def test_values_are_copied_where_the_names_are_the_lists(joints):
    joints.name = ["a", "b", "c"]
    joints.position = array("d", [0.1, -0.0, 1e300])
    names, out = joints.name, np.zeros(3, np.float32)
    assert joints.floats(names, None, out)
    wanted = np.array([0.1, -0.0, np.inf], np.float32)
    assert out.tobytes() == wanted.tobytes()
    assert joints.floats(names, np.array([2, 0], np.intp), out[:2])
    assert out[:2].tobytes() == wanted[[2, 0]].tobytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "name", ["a", "c"]),
        lambda m: setattr(m, "name", ["a"]),
        lambda m: setattr(m, "position", array("d", [1.0])),
        lambda m: setattr(m, "position", array("d", [1.0, 2.0, 3.0])),
    ],
    ids=["another name", "a name less", "a value less", "a value more"],
)
def test_other_names_or_sizes_are_not_copied(joints, change):
    joints.name, joints.position = ["a", "b"], array("d", [1.0, 2.0])
    names, out = joints.name, np.zeros(2, np.float32)
    assert joints.floats(names, None, out)
    change(joints)
    assert not joints.floats(names, None, out)
    assert not joints.floats(names, np.array([0, 1], np.intp), out)


def test_without_names_the_values_come_in_the_contracts_order(joints):
    joints.position = array("d", [1.0, 2.0])
    out = np.zeros(2, np.float32)
    assert joints.floats(["kept", "before"], np.array([1, 0], np.intp), out)
    assert out.tolist() == [1.0, 2.0]
    assert not joints.floats((), None, out[:1])


def test_a_list_that_was_never_read_is_not_trusted(joints):
    joints.name, joints.position = ["a"], array("d", [1.0])
    assert not joints.floats(["a"], None, np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("order", "out"),
    [(None, np.zeros(1)), (None, np.zeros((1, 1), np.float32)), (np.zeros(1, np.int32), None)],
)
def test_other_arrays_are_refused(joints, order, out):
    joints.name, joints.position = ["a"], array("d", [1.0])
    with pytest.raises(TypeError, match="bytes an item"):
        joints.floats(joints.name, order, np.zeros(1, np.float32) if out is None else out)


def test_a_place_that_is_not_there_is_not_read(joints):
    joints.name, joints.position = ["a"], array("d", [1.0])
    for place in (1, -1, 2**60):
        order = np.array([place], np.intp)
        assert not joints.floats(joints.name, order, np.zeros(1, np.float32))


def test_a_message_without_a_stamp_says_so(library):
    message = library.Writer(0, layout(Float64MultiArray)).message
    with pytest.raises(TypeError, match="has no stamp"):
        message.stamp()
    with pytest.raises(TypeError, match="has no names"):
        message.floats((), None, np.zeros(1, np.float32))


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0, 1.0000001, -1.5, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", [0, 2])
def test_a_guard_looks_as_well_in_c(library, value, place):
    contract = make_contract(outputs=3)
    action = np.zeros(3, np.float32)
    action[place] = value
    wanted = ActionGuard(contract).is_inside(action)
    assert ActionGuard(contract, library=library).is_inside(action) is wanted
    assert wanted == (abs(value) <= 1.0)


def test_an_action_of_another_length_is_no_answer(library):
    for guard in (ActionGuard(make_contract(), library=each) for each in (None, library)):
        with pytest.raises(ValueError, match=r"longer|differ"):
            guard.is_inside(np.zeros(1, np.float32))


def test_a_field_that_c_does_not_read_says_so(library):
    message = library.Writer(0, layout(Float64MultiArray)).message
    with pytest.raises(TypeError, match=r"MultiArrayLayout\.dim: this kind of field"):
        _ = message.layout.dim


def test_a_closed_writer_publishes_no_more(make_node, library):
    writer = open_writer(make_node("both"), JointState, "odd", qos.FIGURES, library)
    writer.close()
    with pytest.raises(RuntimeError, match="publish: the publisher is closed"):
        writer.publish()


def test_a_writer_knows_whether_anybody_listens(make_node, context, library):
    node = make_node("both")
    writer = open_writer(node, JointState, "odd", qos.FIGURES, library)
    assert not writer.is_heard()
    writer.publish()  # to nobody
    exchange(node, writer.publish, context, library, JointState)
    assert writer.is_heard()
    writer.close()


def test_without_the_c_part_rclpy_publishes(make_node, context):
    node, seen = make_node("both"), []
    writer = open_writer(node, JointState, "odd", qos.FIGURES, None)
    node.create_subscription(JointState, "odd", seen.append, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    while not seen:
        writer.send((1, 2), np.array([0.5], np.float32))
        executor.spin_once(timeout_sec=0.1)
    assert list(seen[0].position) == [0.5]
    assert stamp_of(seen[0]) == (1, 2)
    executor.shutdown()
