"""What is wrong with a property file is one line."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from policy_builders import random_artifact

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.prove.claims import recorded
from qpolicy_ros.prove.property import parse_property, read_property

BOUND = {"action": "motor_0", "low": -1, "high": 1}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"claim": {"action": "motr_0", "low": 0}}, "claim.action: 'motr_0' is no action"),
        ({"claim": {"action": "motr_0", "low": 0}}, "nearest: motor_0"),
        ({"claim": {"action": 2, "low": 0}}, "2 is no action: there are 2; give 0 to 1"),
        ({"claim": BOUND, "box": {"valu_1": [0, 1]}}, "nearest: value_1"),
        ({"claim": BOUND, "box": {"value_1": [1, 0]}}, "[1, 0] is empty"),
        ({"claim": BOUND, "box": {0: [0.1, 0.10000000001]}}, "no float32 value lies in it"),
        ({"claim": BOUND, "box": {0: [0, 1], "value_0": [0, 1]}}, "is the same value as 0"),
        ({"claim": BOUND, "box": {0: [0, float("nan")]}}, "is not [low, high]"),
        ({"claim": BOUND, "box": {0: [0, "x"]}}, "is not [low, high]"),
        ({"claim": BOUND, "box": {0: [0, 1]}, "condition": {0: [2, 3]}}, "nothing in common"),
        ({"claim": BOUND, "box": [1]}, "box: a list is no mapping"),
        ({"claim": {"action": 0}}, "claims nothing"),
        ({"claim": {"low": 0, "never": "negative"}}, "claims several things"),
        ({"claim": {"low": 1, "high": 0}}, "no action lies in [1, 0]"),
        ({"claim": {"never": "blue"}}, "give negative or positive"),
        ({"claim": {"change": 0.1}}, "claim.within: is missing"),
        ({"claim": {"change": -1, "within": 1}}, "is not a number of 0 or more"),
        ({"claim": {"change": 1, "within": {"value_9": 1}}}, "is no channel"),
        ({"claim": {"robust": 0.1, "radius": 1.5}}, "whole number from 0 to 255"),
        ({"claim": {"monotone": "up", "in": 0}}, "give rising or falling"),
        ({"claim": {"low": 0, "hihg": 1}}, "did you mean 'high'?"),
        ({"box": {}}, "property.claim: is missing"),
        ([], "property: a list is no mapping"),
    ],
)
def test_a_wrong_property_is_one_line(content, text):
    with pytest.raises(InputError) as error:
        parse_property(content, random_artifact(1), "p.yaml")
    assert text in str(error.value)
    assert str(error.value).startswith("p.yaml: ")
    assert "\n" not in str(error.value)


def test_the_box_holds_the_float32_values_between_its_limits():
    artifact = random_artifact(1)
    wanted = parse_property({"box": {0: [0.1, 0.2]}, "claim": BOUND}, artifact)
    assert float(wanted.low[0]) >= 0.1 > float(np.nextafter(wanted.low[0], np.float32(0)))
    assert float(wanted.high[0]) <= 0.2 < float(np.nextafter(wanted.high[0], np.float32(1)))
    assert (wanted.low[1:] == np.finfo(np.float32).min).all()


@pytest.mark.parametrize("text", ["a: [", "{a: &x [*x]}", "\t", "!!python/object:os.system {}"])
def test_what_is_no_yaml_is_named(tmp_path, text):
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"p\.yaml: "):
        read_property(file, random_artifact(1))


def test_an_fp32_policy_has_no_integers_to_prove(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"claim": BOUND}))
    with pytest.raises(InputError, match="holds an FP32 baseline alone"):
        read_property(file, random_artifact(1, integer=False))


@pytest.mark.parametrize(
    ("around", "count", "text"),
    [
        ([[1, 2]], 1, "shape (1, 2)"),
        ([[1, 2, 3, "x"]], 1, "holds no numbers"),
        ([[1, 2, 3, float("inf")]], 1, "not finite"),
        ("nowhere.npy", 1, "cannot be read"),
        ([[1, 2, 3, 4]], 2, "there are 1 observations"),
    ],
)
def test_wrong_observations_are_one_line(tmp_path, around, count, text):
    with pytest.raises(InputError) as error:
        recorded(around, count, random_artifact(1), str(tmp_path / "p.yaml"))
    assert text in str(error.value)
