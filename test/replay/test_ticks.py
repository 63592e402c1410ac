"""Which report belongs to which command."""

from __future__ import annotations

import numpy as np

from qpolicy_ros.replay.ticks import NONE, _of_the_nearest


def test_a_report_of_two_commands_is_that_of_the_nearer_one():
    """A node was killed before it told of its answer; its successor gave it again, and told."""
    found = np.array([0, 1, 1, NONE, NONE, 2])
    commands = np.array([10, 20, 1_600, 1_700, 1_800, 1_900])
    told = np.array([11, 1_601, 1_901])
    expected = [0, NONE, 1, NONE, NONE, 2]
    assert _of_the_nearest(found, commands, told).tolist() == expected


def test_without_reports_there_is_nothing_to_share():
    none = np.full(3, NONE)
    assert (_of_the_nearest(none, np.arange(3), np.empty(0, np.int64)) == NONE).all()
