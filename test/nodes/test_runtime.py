"""A node's command line."""

from __future__ import annotations

import pytest

from qpolicy_ros.nodes import runtime


def test_an_argument_that_is_not_ros_s_is_refused(capsys):
    def program(_stop):
        pytest.fail("the node was started")

    given = ["--ros-args", "-p", "a:=1", "--", "--bogus"]
    assert runtime.run(program, "policy_node", "", [], given) == 2
    line = "policy_node: error: arguments: '--bogus' is unknown; parameters go behind --ros-args"
    assert capsys.readouterr().err.startswith(line)
