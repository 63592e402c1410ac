"""Real-time scheduling, CPUs and locked memory: given where there is a right, else refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

NOBODY = 65534

CHILD = """
import json, os, subprocess, sys, threading
from pathlib import Path
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.nodes import realtime

settings, user = json.loads(sys.argv[1])
if user:
    os.setgid(user)
    os.setuid(user)
threading.Thread(target=threading.Event().wait, daemon=True).start()  # as the middleware's
try:
    realtime.apply(settings["priority"], settings["cpus"], lock_memory=settings["lock_memory"])
except InputError as error:
    print(error)
    sys.exit(2)
threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
later = subprocess.run(
    [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"],
    capture_output=True, text=True, check=True,
).stdout
locked = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmLck" in line]
print(json.dumps({
    "threads": len(threads),
    "schedulers": sorted({os.sched_getscheduler(thread) for thread in threads}),
    "priorities": sorted({os.sched_getparam(thread).sched_priority for thread in threads}),
    "cpus": sorted({cpu for thread in threads for cpu in os.sched_getaffinity(thread)}),
    "locked_kib": int(locked[0].split()[1]),
    "child": int(later),
}))
"""


def apply(priority=0, cpus=(), *, lock_memory=False, user=0):
    """Set up a process of its own; return what it finds of itself, or why it was refused."""
    settings = {"priority": priority, "cpus": list(cpus), "lock_memory": lock_memory}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([settings, user])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 2), done.stderr
    return done.stdout.strip() if done.returncode else json.loads(done.stdout)


def needs(found):
    """Skip where this machine gives the right to nobody."""
    if isinstance(found, str) and "refused" in found:
        pytest.skip(found)
    return found


def test_nothing_is_changed_unless_asked():
    found = apply()
    assert found["schedulers"] == [os.SCHED_OTHER]
    assert found["cpus"] == sorted(os.sched_getaffinity(0))
    assert found["locked_kib"] == 0


def test_all_threads_get_the_priority_and_children_do_not():
    found = needs(apply(priority=20))
    assert found["threads"] >= 2
    assert found["schedulers"] == [os.SCHED_FIFO | os.SCHED_RESET_ON_FORK]
    assert found["priorities"] == [20]
    assert found["child"] == os.SCHED_OTHER


def test_all_threads_keep_to_the_cpus():
    last = max(os.sched_getaffinity(0))
    assert apply(cpus=[last])["cpus"] == [last]


def test_memory_is_locked():
    assert needs(apply(lock_memory=True))["locked_kib"] > 1000


def test_a_cpu_that_is_not_there_is_refused():
    text = apply(cpus=[4096])
    assert text.startswith("realtime.cpus: [4096] not among this process's CPUs; choose from [")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"priority": 20}, "realtime.priority: 20 is refused: no right to real-time scheduling; "),
        ({"lock_memory": True}, "realtime.lock_memory: refused: only "),
    ],
)
def test_without_rights_it_is_refused_with_a_remedy(settings, text):
    refusal = apply(**settings, user=NOBODY)
    if isinstance(refusal, dict):
        pytest.skip("this machine gives the right to everybody")
    assert refusal.startswith(text)
    assert "allow it with `ulimit" in refusal


def test_the_node_refuses_to_start_with_it(serve):
    node = serve(realtime__cpus=[4096])
    assert node.wait() == 2
    assert "realtime.cpus: [4096] not among this process's CPUs" in node.output
    assert len(node.output.splitlines()) == 1


def test_the_node_says_how_it_is_scheduled(serve, watcher):
    node = serve(realtime__priority=3)
    watcher.until(
        lambda: node.process.poll() is not None or watcher.node.count_publishers("action")
    )
    if "refused" in node.output:
        pytest.skip(node.output)
    assert watcher.diagnostics()["scheduler"] == "SCHED_FIFO, priority 3"
