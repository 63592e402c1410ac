"""Nothing that a test run starts outlives it, whatever the outcome."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from guard import MARK, marked

RUN = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from guard import start_guard
guard = start_guard()
for _ in range(2):  # one of them a session leader, as nodes are
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
import os
print(os.environ["QPOLICY_TEST_RUN"], flush=True)
time.sleep(600)
"""


def test_what_a_killed_run_started_is_ended():
    helpers = os.path.join(os.path.dirname(__file__), os.pardir, "helpers")  # noqa: PTH118, PTH120
    outer = {key: value for key, value in os.environ.items() if key != MARK}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, helpers], stdout=subprocess.PIPE, text=True, env=outer
    )
    assert run.stdout is not None
    mark = run.stdout.readline().strip()
    while len(marked(mark)) < 2:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while marked(mark):
        time.sleep(0.01)
    run.stdout.close()


def test_children_do_not_ignore_an_interrupt():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    child.send_signal(signal.SIGINT)
    assert child.wait() != 0
