"""The C header puts observations together bit for bit as ``Assembler`` does."""

from __future__ import annotations

import dataclasses
import math
import shutil

import numpy as np
import pytest
from policy_builders import random_artifact
from robot_contracts import robot_contract

from qpolicy_ros.interchange.outgoing import CompiledHeader, c_header
from qpolicy_ros.policy import ActionChannel, Assembler, Channel, Gait, ObservationError

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler")
TICKS = 1000


def walking_contract():
    """Gaits of every kind, histories, constants, outputs, names that C would stumble over."""
    gaits = (
        Gait("left", 1.5, 0.3, stand_below=0.2, stand_phase=math.pi),
        Gait("right", 1.25, -math.pi, stand_below=0.1, top_speed=1.5, top_frequency=1.75),
        Gait("free", 0.7),
    )
    sources = [
        *(f"gait.{part}:{gait.name}" for gait in gaits for part in ("cos", "sin", "fraction")),
        "previous_output:hip", 'previous_action:"kn\\ee?', "constant:-0.1",
        "imu.angular_velocity:x", "history.3:12", "history.7:9", "history.1:0",
        "wrench/foot.force:z",
    ]  # fmt: skip
    channels = [
        Channel(str(i), source, scale=0.1 * (i + 1), offset=0.03 * i)
        for i, source in enumerate(sources)
    ]
    channels[12] = dataclasses.replace(channels[12], low=-0.5, high=0.75)
    return dataclasses.replace(
        robot_contract(),
        observation=tuple(channels),
        action=(
            ActionChannel("hip", -1.0, 1.0, 0.0, scale=0.3, offset=0.1, kp=20.0),
            ActionChannel('"kn\\ee?', -1.0, 1.0, 0.25, scale=-0.07, kind="velocity"),
        ),
        gaits=gaits,
        time_limits=(),
    )


@pytest.mark.parametrize("make", [robot_contract, walking_contract], ids=lambda make: make.__name__)
def test_a_thousand_ticks_are_equal(make):
    artifact = random_artifact(contract=make())
    assembler, rng = Assembler(artifact.contract), np.random.default_rng(0)
    raw = rng.normal(0, 0.5, (TICKS, len(assembler.sources)))
    raw[::50] *= 1e-3  # the robot stands
    answered = rng.normal(0, 2, (TICKS, 2)).astype(np.float32)
    sent = np.clip(answered, -1, 1)
    expected = []
    for values, action, computed in zip(raw, sent, answered, strict=True):
        expected.append(assembler.observation(values))
        assembler.acted(action, computed)
    ours = CompiledHeader(artifact).assemble(raw, sent, answered)
    assert np.array_equal(ours, np.array(expected))


def test_a_value_that_is_not_finite_is_refused():
    artifact = random_artifact(contract=robot_contract())
    raw = np.zeros((2, len(Assembler(artifact.contract).sources)))
    raw[1, 3] = np.nan
    with pytest.raises(ObservationError, match="tick 1"):
        CompiledHeader(artifact).assemble(raw, np.zeros((2, 2)), np.zeros((2, 2)))


def test_names_and_units_are_in_it():
    text = c_header(random_artifact(contract=walking_contract()), "p")
    assert '"imu.angular_velocity:x", "wrench/foot.force:z"' in text
    assert '"rad", "rad/s"' in text
    assert '"\\042kn\\134ee\\077"' in text


def test_a_feature_vector_s_policy_has_none():
    assert "_assemble" not in c_header(random_artifact(), "p").replace("p_assemble from raw", "")
