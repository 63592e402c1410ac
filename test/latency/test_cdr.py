"""Reading by the thousand gives what rosbags gives message by message."""

from __future__ import annotations

import numpy as np
import pytest
from bags import JOINT_STATE, STAGES, TYPES, joint_state

from qpolicy_ros.latency.cdr import CdrError, joint_states, stamps


def mixed(count: int) -> list[bytes]:
    generator = np.random.default_rng(0)
    frames = ["integer", "fp32", "fpga", "", "ein Bäckend"]
    return [
        joint_state(
            int(generator.integers(0, 2**31)) * 10**9 + int(generator.integers(0, 10**9)),
            STAGES,
            generator.normal(size=len(STAGES)),
            frames[generator.integers(len(frames))],
        )
        for _ in range(count)
    ]


def big_endian(payload: bytes) -> bytes:
    message = TYPES.deserialize_cdr(payload, JOINT_STATE)
    return bytes(TYPES.serialize_cdr(message, JOINT_STATE, little_endian=False))


def test_it_equals_rosbags_message_by_message():
    payloads = mixed(500)
    payloads += [big_endian(payload) for payload in payloads[:50]]
    found = joint_states(payloads)
    assert found.names == STAGES
    for index, payload in enumerate(payloads):
        message = TYPES.deserialize_cdr(payload, JOINT_STATE)
        stamp = message.header.stamp
        assert found.stamps[index] == stamp.sec * 10**9 + stamp.nanosec
        assert found.frames[index] == message.header.frame_id
        assert found.positions[index].tolist() == message.position.tolist()
    assert stamps(payloads).tolist() == found.stamps.tolist()


def test_messages_without_names_and_values():
    found = joint_states([joint_state(5), joint_state(7)])
    assert found.stamps.tolist() == [5, 7]
    assert found.positions.shape == (2, 0)


@pytest.mark.parametrize("length", [0, 5, 12, 15, 40, 100])
def test_a_cut_message_is_refused(length):
    payload = mixed(1)[0]
    assert len(payload) > 100
    with pytest.raises(CdrError, match="cut"):
        joint_states([payload[:length]])


def test_a_message_that_is_not_one_is_refused():
    with pytest.raises(CdrError, match="cut or of another type"):
        joint_states([b"\x00\x01\x00\x00" + b"\xff" * 60])


def test_changing_names_are_refused():
    first, second = joint_state(1, ["a"], [1.0]), joint_state(1, ["b"], [1.0])
    with pytest.raises(CdrError, match="names change"):
        joint_states([first, second])


def test_a_stamp_that_is_cut_is_refused():
    with pytest.raises(CdrError, match="shorter"):
        stamps([b"\x00\x01\x00\x00\x01"])


def test_lengths_that_change_without_names_are_refused():
    first, second = joint_state(1, [], [1.0]), joint_state(2, [], [1.0, 2.0])
    with pytest.raises(CdrError, match="lengths change: 1 and 2 values"):
        joint_states([first, second])


def test_names_without_values_are_refused():
    whole, empty = joint_state(1, ["a", "b"], [1.0, 2.0]), joint_state(2, ["a", "b"])
    for payloads in ([empty], [whole, empty]):
        with pytest.raises(CdrError, match="a message has 2 names and 0 values"):
            joint_states(payloads)
