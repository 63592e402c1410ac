"""What is refused, what is clamped: the policy node's decisions, without ROS."""

from __future__ import annotations

import dataclasses
import math
from array import array

import numpy as np
import pytest
from policy_builders import make_contract
from robot_contracts import robot_contract

from qpolicy_ros.nodes.serving.safety import ActionGuard, ObservationReader
from qpolicy_ros.policy import ObservationError

NAMES = ["value_0", "value_1", "value_2"]


@pytest.fixture
def reader():
    return ObservationReader(make_contract(inputs=3))


class FakeClock:
    """A clock that goes on by ``tick`` ns with each look: one control period at first."""

    def __init__(self):
        self.now, self.tick = 0, 10_000_000

    def __call__(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def guard(clock):
    return ActionGuard(make_contract(outputs=2), clock=clock)


def test_values_without_names_are_taken_in_the_contracts_order(reader):
    assert reader.read([], [1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]


def test_values_are_put_in_order_by_name(reader):
    names = ["value_2", "value_0", "value_1"]
    assert reader.read(names, [3.0, 1.0, 2.0]).tolist() == [1.0, 2.0, 3.0]


def test_the_order_follows_when_the_names_change(reader):
    reader.read(["value_2", "value_0", "value_1"], [3.0, 1.0, 2.0])
    assert reader.read(NAMES, [1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]


def test_a_refused_list_of_names_is_refused_again(reader):
    for _ in range(2):
        with pytest.raises(ObservationError, match="'value_2' missing"):
            reader.read(NAMES[:2], [1.0, 2.0])


def test_the_result_is_float32_and_a_copy(reader):
    values = array("d", [0.1, 0.2, 0.3])
    result = reader.read([], values)
    values[0] = 9.0
    assert result.dtype == np.float32
    assert result[0] == np.float32(0.1)


@np.errstate(over="ignore")  # as whoever serves sets it
def test_values_beyond_float32_become_infinite(reader):
    assert np.isinf(reader.read([], [1e300, 0.0, 0.0])[0])


@pytest.mark.parametrize(
    ("names", "values", "reason", "text"),
    [
        ([], [1.0, 2.0], "wrong_length", "2 values for 3"),
        (NAMES, [1.0, 2.0], "wrong_length", "2 values for 3 names"),
        (NAMES[:2], [1.0, 2.0], "missing", "'value_2'"),
        ([*NAMES, "odd"], [1.0, 2.0, 3.0, 4.0], "extra", "'odd'"),
        ([*NAMES, "value_1"], [1.0, 2.0, 3.0, 4.0], "extra", "'value_1' given more than once"),
        ([*NAMES[:2], "odd"], [1.0, 2.0, 3.0], "misnamed", "'odd' given, 'value_2' expected"),
    ],
)
def test_refusals_name_the_reason_and_the_value(reader, names, values, reason, text):
    with pytest.raises(ObservationError) as caught:
        reader.read(names, values)
    assert caught.value.reason == reason
    assert text in str(caught.value)


def test_actions_are_clamped(guard):
    assert guard.limit(np.array([2.0, -2.0], np.float32)).tolist() == [1.0, -1.0]


def test_the_rate_limit_starts_at_the_safe_action(guard):
    guard.set_rate_limit(10.0)  # 0.1 in a period of 10 ms
    assert guard.limit(np.array([1.0, -1.0], np.float32)).tolist() == pytest.approx([0.1, -0.1])


def test_the_rate_limit_follows_the_last_action(guard):
    guard.set_rate_limit(10.0)
    action = np.array([1.0, 0.05], np.float32)
    guard.limit(action)
    assert guard.limit(action).tolist() == pytest.approx([0.2, 0.05])


def test_the_rate_limit_starts_again_after_a_hold(guard):
    guard.set_rate_limit(10.0)
    action = np.array([1.0, 1.0], np.float32)
    guard.limit(action)
    guard.hold()
    assert guard.limit(action).tolist() == pytest.approx([0.1, 0.1])


def test_without_a_rate_limit_actions_jump(guard):
    guard.set_rate_limit(10.0)
    guard.set_rate_limit(0.0)
    assert guard.limit(np.array([1.0, -1.0], np.float32)).tolist() == [1.0, -1.0]


def test_a_rate_limit_set_while_serving_starts_at_the_last_action(guard):
    guard.limit(np.array([0.8, -0.8], np.float32))
    guard.set_rate_limit(10.0)
    limited = guard.limit(np.array([-1.0, -0.8], np.float32))
    assert limited.tolist() == pytest.approx([0.7, -0.8])


@pytest.mark.parametrize(("tick_ns", "step"), [(4_000_000, 0.04), (10**9, 0.1), (0, 0.0)])
def test_the_rate_counts_over_the_time_since_the_last_action(guard, clock, tick_ns, step):
    guard.set_rate_limit(10.0)
    clock.tick = tick_ns
    assert guard.limit(np.array([1.0, -1.0], np.float32)).tolist() == pytest.approx([step, -step])


@pytest.fixture
def robot_guard(clock):
    clock.tick = 20_000_000  # the robot's control period; its joints go at 20 rad/s
    return ActionGuard(robot_contract(), clock=clock)


def test_each_joint_has_its_own_rate(clock):
    contract = robot_contract()
    fast = dataclasses.replace(contract.action[1], rate=math.inf)
    clock.tick = 20_000_000
    guard = ActionGuard(
        dataclasses.replace(contract, action=(contract.action[0], fast)), clock=clock
    )
    assert guard.limit(np.array([1.0, 1.0], np.float32)).tolist() == pytest.approx([0.4, 1.0])


def test_the_lower_of_both_rates_counts(robot_guard):
    robot_guard.set_rate_limit(5.0)
    limited = robot_guard.limit(np.array([1.0, -1.0], np.float32))
    assert limited.tolist() == pytest.approx([0.1, -0.1])
    robot_guard.set_rate_limit(0.0)
    limited = robot_guard.limit(np.array([1.0, -1.0], np.float32))
    assert limited.tolist() == pytest.approx([0.5, -0.5])


def test_the_rate_begins_where_the_robot_stands_but_within_limits(robot_guard):
    robot_guard.begin(np.array([1.5, -0.5], np.float32))
    limited = robot_guard.limit(np.array([-1.0, -0.5], np.float32))
    assert limited.tolist() == pytest.approx([0.6, -0.5])


def test_no_time_and_no_rate_is_no_nan(clock):
    contract = robot_contract()
    fast = tuple(dataclasses.replace(a, rate=math.inf) for a in contract.action[1:])
    clock.tick = 0
    guard = ActionGuard(
        dataclasses.replace(contract, action=(contract.action[0], *fast)), clock=clock
    )
    assert np.isfinite(guard.limit(np.array([0.5, 0.5], np.float32))).all()
