"""Whose a command is, and what had been reported when it was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from bags import DIAGNOSTICS, TYPES, Message
from flights import Fault, Settings, feature_flight, status

from qpolicy_ros.latency.trace import Report
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter
from qpolicy_ros.replay.replayed import Kind
from qpolicy_ros.replay.run import replay
from qpolicy_ros.replay.senders import by_others

AT = 100
REPORT = 4  # number of the report right before that tick
LATE = 20  # commands that arrive behind a report that was sent after them
OLD, NEW = "/a/policy_node@robot:7", "/a/policy_node@robot:8"
NAMED = [Report(0, 0, {"hardware_id": "/a/policy_node"})]


@pytest.mark.parametrize(
    ("senders", "reports", "foreign"),
    [
        (["", ""], NAMED, []),
        ([OLD, OLD], NAMED, []),
        ([OLD, NEW], NAMED, []),
        ([OLD, "safety_watchdog", OLD], NAMED, [1]),
        ([OLD, NEW, OLD], NAMED, [1]),
        ([OLD, "/b/policy_node@robot:9", OLD], NAMED, [1]),
        (["/b/policy_node@robot:9", "/b/policy_node@robot:9", OLD], NAMED, [0, 1]),
        ([OLD, OLD, "/b/policy_node@robot:9"], [], [2]),
        ([], [], []),
    ],
    ids=["old", "own", "restart", "watchdog", "twin", "other", "other sends more", "bare", "none"],
)
def test_a_command_is_foreign_where_another_process_sent_it(senders, reports, foreign):
    assert np.flatnonzero(by_others(np.array(senders, np.str_), reports)).tolist() == foreign


def test_a_report_counts_from_when_it_was_sent_however_late_commands_arrive(hopper, tmp_path):
    """The rate limit changes at tick ``AT``; commands of before arrive behind its report."""
    flight = feature_flight(hopper, Settings(ticks=200), Fault(AT, rate_limit=3.0))
    numbered = list(with_numbers(flight.messages))
    change = next(m.log for number, m in numbered if m.topic == "/diagnostics" and number == REPORT)
    path = tmp_path / "bag_0.mcap"
    writer = McapWriter(path, "test")
    channels: dict[str, int] = {}
    for number, each in numbered:
        if each.topic not in channels:
            channels[each.topic] = writer.add_channel(each.topic, each.kind, "", "")
        arrived, data = each.log, each.data
        if each.topic == "/action_stamped" and AT - LATE <= number < AT:
            arrived = change + 1000 * (number - AT + LATE + 1)
        if each.topic == "/diagnostics" and number >= REPORT:
            data = with_rate(data)
        writer.write(channels[each.topic], arrived, each.log, number, data)
    writer.close()
    found = replay(path, [hopper])
    assert found.equal, found.first
    policy = found.replay.kind == Kind.POLICY
    assert ((found.replay.rate == 3.0)[policy]).sum() == policy.sum() - AT


def with_numbers(messages: Sequence[Message]) -> Iterator[tuple[int, Message]]:
    """Number the messages of each topic."""
    counts: Counter[str] = Counter()
    for each in messages:
        yield counts[each.topic], each
        counts[each.topic] += 1


def with_rate(data: bytes) -> bytes:
    """Return a status that names the rate limit of 3."""
    values = TYPES.deserialize_cdr(data, DIAGNOSTICS).status[0].values
    return status({each.key: each.value for each in values} | {"parameter.rate_limit": "3.0"})
