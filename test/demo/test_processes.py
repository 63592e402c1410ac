"""Child processes: what a dead one said, and that none is left behind."""

from __future__ import annotations

import signal

import pytest

from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.harness import processes
from qpolicy_ros.harness.processes import Child, children_end_with_us, last_error


def child(tmp_path, source):
    module = tmp_path / "toy_node.py"
    module.write_text(source)
    return Child("toy_node", [], tmp_path / "log", {"PYTHONPATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("[ERROR] [17.2] [policy_node]: policy: 'x' is no file\n[INFO] [17.3] [n]: bye\n",
         "policy: 'x' is no file"),
        ("toy_node: error: seed: -1 is too small\n", "toy_node: error: seed: -1 is too small"),
        ("Traceback (most recent call last):\n  error here\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("[INFO] [17.2] [policy_node]: serving\n\n", "serving"),
        ("", "it said nothing"),
    ],
)  # fmt: skip
def test_the_last_error_of_a_log(tmp_path, log, expected):
    (tmp_path / "log").write_text(log)
    assert last_error(tmp_path / "log") == expected


def test_an_ended_child_is_reported_with_status_and_reason(tmp_path):
    node = child(tmp_path, "import sys; sys.exit('toy_node: error: no policy')")
    node.wait(90)
    with pytest.raises(NodeError, match=r"toy_node ended with status 1: .*no policy .*log"):
        node.check_alive()


def test_a_running_child_is_no_error(tmp_path):
    node = child(tmp_path, "import time; time.sleep(60)")
    node.check_alive()
    node.close()


def test_close_ends_a_child_that_ignores_interrupts(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_PATIENCE", 0.2)
    ready = tmp_path / "ready"
    node = child(
        tmp_path,
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)",
    )
    while not ready.exists():
        node.check_alive()
    node.close()
    assert node.code == -9


def test_an_interrupt_ends_every_child(tmp_path):
    nodes = []

    def start_and_interrupt():
        with children_end_with_us():
            nodes.extend(child(tmp_path, "import time; time.sleep(60)") for _ in range(2))
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        start_and_interrupt()
    assert [node.code is not None for node in nodes] == [True, True]


def test_parameters_reach_the_node_as_yaml(tmp_path):
    node = Child.node(
        "mujoco_sim_node", {"task": "a: 'b'", "seed": 3}, tmp_path / "log", namespace="/robot"
    )
    assert node.wait(180) == 2
    assert "'a: 'b'' is not known" in last_error(tmp_path / "log").replace('"', "'")
