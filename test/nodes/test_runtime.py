"""A node's command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qpolicy_ros.cli.main import main
from qpolicy_ros.nodes import runtime


def test_an_argument_that_is_not_ros_s_is_refused(capsys):
    def program(_stop):
        pytest.fail("the node was started")

    given = ["--ros-args", "-p", "a:=1", "--", "--bogus"]
    assert runtime.run(program, "policy_node", "", [], given) == 2
    line = "policy_node: error: arguments: '--bogus' is unknown; parameters go behind --ros-args"
    assert capsys.readouterr().err.startswith(line)


@pytest.mark.parametrize("rule", ["__ns:=/a b!", "__ns:=//", "x:=:", "__ns:=/\ud800"])
def test_a_remapping_that_ros_cannot_read_is_one_line(rule, capsys):
    def program(_stop):
        pytest.fail("the node was started")

    assert runtime.run(program, "policy_node", "", [], ["--ros-args", "-r", rule]) == 2
    said = capsys.readouterr().err
    assert said.startswith("policy_node: error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("namespace", ["a b!", "/1a", "a//b", "a\0b", "\ud800", "a" * 400])
def test_the_command_that_records_refuses_a_namespace_that_is_none(namespace, tmp_path, capsys):
    bag = tmp_path / "bag"
    assert main(["record", "--namespace", namespace, "--output", str(bag)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("qpolicy record: error: --namespace: ")
    assert line.endswith("; give one like /robot")
    assert not bag.exists()


def test_a_namespace_may_lack_its_first_slash():
    assert runtime.checked_namespace("robot") == runtime.checked_namespace("/robot/") == "/robot"


def test_a_log_folder_that_cannot_be_made_is_named_with_its_remedy(tmp_path):
    (tmp_path / "file").touch()
    environment = {**os.environ, "ROS_LOG_DIR": str(tmp_path / "file" / "log")}
    command = [sys.executable, "-m", "qpolicy_ros.nodes.policy_node"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("; set ROS_LOG_DIR to a folder that can be written")
