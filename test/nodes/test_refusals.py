"""Bad observations over DDS: refused by name, the safe action sent, the node goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ros_processes import PATIENCE

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import load_policy

SAFE = [0.0, 0.0, 0.0]


@pytest.fixture
def artifact(policies):
    return load_policy(policies["hopper"])


@pytest.fixture
def good(artifact):
    return artifact.golden.observations[1].tolist()


@pytest.fixture
def names(artifact):
    return [channel.name for channel in artifact.contract.observation]


@pytest.fixture
def serving(serve, watcher, good):
    node = serve()
    watcher.wait_for_policy(good)
    return node


def test_each_bad_observation_gets_the_safe_action_and_a_reason(serving, watcher, good, names):
    cases = {
        "non_finite": ([1e300, *good[1:]], names),  # infinite as a float32
        "wrong_length": (good[:-1], []),
        "missing": (good[:-1], names[:-1]),
        "extra": ([*good, 1.0], [*names, "velocity:tail"]),
        "misnamed": (good, [*names[:-1], "velocity:tail"]),
    }
    for stamp, (reason, (values, given)) in enumerate(cases.items(), start=1):
        assert list(watcher.ask(values, given, stamp).position) == SAFE, reason
    report = watcher.diagnostics()
    assert all(int(report[f"refused.{reason}"]) >= 1 for reason in cases)
    assert report["last_reason"].startswith("misnamed: observation: 'velocity:tail' given")
    assert serving.process.poll() is None
    assert "RuntimeWarning" not in serving.output


@pytest.mark.usefixtures("serving")
def test_a_good_observation_after_a_bad_one_is_answered(watcher, good, artifact):
    watcher.ask([math.inf, *good[1:]], stamp=1)
    action = create_backend("integer", artifact).act(np.array(good, np.float32))
    assert list(watcher.ask(good, stamp=2).position) == action.tolist()


@pytest.mark.usefixtures("serving")
def test_names_in_another_order_give_the_same_action(watcher, good, names):
    plain = watcher.ask(good, stamp=1)
    mixed = watcher.ask(good[::-1], names[::-1], stamp=2)
    assert plain.position == mixed.position
    assert list(mixed.name) == ["thigh_joint", "leg_joint", "foot_joint"]


@pytest.mark.usefixtures("serving")
def test_both_action_topics_carry_the_same_values(watcher, good):
    stamped = watcher.ask(good)
    watcher.until(lambda: watcher.messages["action"])
    assert watcher.messages["action"][-1].data == stamped.position


@pytest.mark.usefixtures("serving")
def test_timing_has_the_stages_in_microseconds(watcher, good):
    watcher.ask(good, stamp=5)
    # One of the handshake may still be under way.
    timing = watcher.messages["timing"]
    watcher.until(lambda: timing and timing[-1].header.stamp.sec == 5)
    message = timing[-1]
    stages = dict(zip(message.name, message.position, strict=True))
    assert list(stages) == ["age", "queue", "quantise", "infer", "publish", "total", "elapsed"]
    assert all(0 < stages[name] < PATIENCE * 1e6 for name in ("age", "infer", "publish", "total"))
    assert stages["quantise"] >= 0
    assert stages["total"] >= stages["quantise"] + stages["infer"] + stages["publish"]
