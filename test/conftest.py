"""What every test gets: a ROS domain of its own, fixed seeds."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from fault_table import FaultTable
from guard import MARK, start_guard

from qpolicy_ros.harness.domains import reserved_domain

_GUARD = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --full, which `make test-full` sets."""
    parser.addoption("--full", action="store_true", help="full counts instead of stated subsets")
    parser.addoption("--planted-table", help="file for the table of test/replay/test_planted.py")
    parser.addoption(
        "--fault-table", help="file for the table that test/nodes/test_faults.py makes"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep this run's DDS apart from every other one on the machine; set hypothesis's counts."""
    # The same examples every time: a test must not fail on a machine where nothing changed.
    count = 1000 if config.getoption("--full") else 40
    hypothesis.settings.register_profile(
        "stated", derandomize=True, deadline=None, max_examples=count
    )
    hypothesis.settings.load_profile("stated")
    # A job in the background (nohup, some CI runners) ignores SIGINT, and would hand that on to
    # every process that a test starts.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if MARK not in os.environ:  # a worker has its controller's
        config.stash[_GUARD] = start_guard()
    # OR-Tools brings C++ libraries that torch and pyosys bring too: it crashes where it is imported
    # after both. A test run imports everything into one process; a command never does.
    with contextlib.suppress(ImportError):
        importlib.import_module("ortools.sat.python.cp_model")
    domain = contextlib.ExitStack()
    config.add_cleanup(domain.close)
    os.environ["ROS_DOMAIN_ID"] = str(domain.enter_context(reserved_domain()))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.pop("ROS_LOCALHOST_ONLY", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the guard end what is left, and wait for it."""
    guard = config.stash.get(_GUARD, None)
    if guard is not None:
        guard.communicate()
        os.environ.pop(MARK, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: a worker that begins one at the end would end alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _seeds():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries under test may use the global generator
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        # Training flushes denormal numbers; what runs next in the same process shall not.
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def ros_domain_id() -> int:
    """Return this run's ROS domain, which child processes inherit."""
    return int(os.environ["ROS_DOMAIN_ID"])


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Return whether to test the full counts (`make test-full`) or the stated subset."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def fault_table(request: pytest.FixtureRequest) -> Iterator[FaultTable]:
    """Return the table that fault tests fill; it is written where --fault-table says."""
    path = request.config.getoption("--fault-table")
    table = FaultTable(Path(path) if path else None)
    yield table
    table.write()
