"""A ROS domain is chosen that nobody uses, and nobody else gets it meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from qpolicy_ros.harness import domains
from qpolicy_ros.harness.domains import reserved_domain, use_free_domain


@pytest.fixture
def two_domains(monkeypatch):
    """Let there be two domains, 1 and 2; return a socket on a port of the first one's."""
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    monkeypatch.setattr(domains, "_DOMAINS", 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 0))  # a port that nobody had
        monkeypatch.setattr(domains, "_PORT_BASE", taken.getsockname()[1] - 10 - 250)
        yield taken


@pytest.mark.usefixtures("two_domains")
def test_the_domain_is_one_whose_ports_are_free():
    assert use_free_domain() == 2
    assert os.environ["ROS_DOMAIN_ID"] == "2"


def test_a_reserved_domain_is_nobody_elses_until_it_is_given_back(two_domains):
    two_domains.close()
    for _ in range(10):  # the order in which they are tried is drawn
        with reserved_domain() as first, reserved_domain() as second:
            assert {first, second} == {1, 2}


def test_a_domain_is_held_against_other_processes_too():
    script = (
        "import sys; from qpolicy_ros.harness import domains as d\n"
        "print(d._bind(int(sys.argv[1]), d._GUARD))"
    )
    with reserved_domain() as held:
        command = [sys.executable, "-c", script, str(held)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "None\n"
