"""Recordings made without ROS, and policies that flew in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("rosbags")

from bags import Message, write_bag

from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy
from qpolicy_ros.replay.compare import Verdict
from qpolicy_ros.replay.run import replay


@pytest.fixture(scope="session")
def hopper() -> PolicyArtifact:
    return load_policy(find_policy("hopper/paper"))


@pytest.fixture(scope="session")
def go2() -> PolicyArtifact:
    return load_policy(find_policy("go2/walk"))


@pytest.fixture
def verdict(tmp_path) -> Callable[..., Verdict]:
    """Write a recording and replay it."""
    numbers = itertools.count()

    def judge(
        messages: Sequence[Message], *policies: PolicyArtifact, **settings: object
    ) -> Verdict:
        path = write_bag(Path(tmp_path, f"bag{next(numbers)}"), messages)
        return replay(path, policies, **settings)

    return judge
