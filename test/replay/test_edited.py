"""Recordings that were changed afterwards: a message gone, twice, or with other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bags import Message
from flights import TYPES, Fault, Settings, feature_flight, robot_flight

from qpolicy_ros.policy import find_policy, load_policy

AT = 80


@pytest.fixture(scope="module")
def walk():
    return robot_flight(load_policy(find_policy("go2/walk")), Settings(ticks=160)).messages


def edited(messages: list[Message], topic: str, change: Callable[[Any], Any]) -> list[Message]:
    """Change a topic's messages from number ``AT`` on."""
    found, count = [], 0
    for each in messages:
        count += each.topic == topic
        kept = each
        if each.topic == topic and count > AT:
            content = TYPES.deserialize_cdr(each.data, each.kind)
            change(content)
            kept = each._replace(data=bytes(TYPES.serialize_cdr(content, each.kind)))
        found.append(kept)
    return found


def without(messages: list[Message], topic: str) -> list[Message]:
    """Drop one message of a topic."""
    place = [index for index, each in enumerate(messages) if each.topic == topic][AT]
    return messages[:place] + messages[place + 1 :]


@pytest.mark.parametrize("topic", ["/timing", "/observation"])
def test_what_can_be_computed_without_a_message_is(walk, go2, verdict, topic):
    found = verdict(without(walk, topic), go2)
    assert found.equal, found.first


@pytest.mark.parametrize("topic", ["/joint_states", "/imu", "/action_stamped"])
def test_a_message_that_is_gone_is_missed(walk, go2, verdict, topic):
    first = verdict(without(walk, topic), go2).first
    assert first.kind == "sensor"
    assert "missing" in first.text


def test_a_message_recorded_twice_is_one(walk, go2, verdict):
    assert verdict([each for each in walk for _ in range(2)], go2).equal


def names_mixed(message: Any) -> None:
    message.name = [message.name[1], message.name[0], *message.name[2:]]


def degrees(message: Any) -> None:
    message.velocity = message.velocity * 180 / np.pi


def turned(message: Any) -> None:
    message.angular_velocity.z = -message.angular_velocity.z


@pytest.mark.parametrize(
    ("topic", "change", "said"),
    [
        ("/joint_states", names_mixed, "swapped"),
        ("/joint_states", degrees, "multiplied by 0.01745"),
        ("/imu", turned, "multiplied by -1"),
        ("/action_stamped", names_mixed, "swapped"),
    ],
    ids=["joint names", "degrees", "turned axis", "command names"],
)
def test_an_order_or_a_unit_is_the_contracts(walk, go2, verdict, topic, change, said):
    first = verdict(edited(walk, topic, change), go2).first
    assert first.kind == "contract"
    assert said in first.text


def test_a_message_that_the_node_refuses_is_named(walk, go2, verdict):
    def spoil(message: Any) -> None:
        message.angular_velocity.x = np.nan

    first = verdict(edited(walk, "/imu", spoil), go2).first
    assert first.kind == "sensor"
    assert "non_finite" in first.text


def test_a_process_that_stood_still_has_not_set_the_clock(hopper, verdict):
    """Between the limits and the sending: by the limits' clock the next tick is late instead."""
    fault = Fault(at=AT, behind=lambda tick: 10**9 if tick == AT else 0)
    found = verdict(feature_flight(hopper, Settings(ticks=120), fault).messages, hopper)
    assert found.equal, found.first


def test_limits_of_somebody_else_are_found(hopper, verdict):
    def clip(action, before, tick):  # noqa: ARG001 as every fault is called
        return np.clip(action, np.float32(-0.4), np.float32(0.4))

    messages = feature_flight(hopper, Settings(ticks=200), Fault(at=60, sent=clip)).messages
    first = verdict(messages, hopper).first
    assert first.kind == "safety"
    assert "other limits" in first.text
