"""What a file says must not break the one line of an error, nor steer a terminal."""

from __future__ import annotations

from qpolicy_ros.policy import PolicyError


def test_a_newline_in_a_field_or_value_is_escaped():
    error = PolicyError.at("a.safetensors", "na\nme", "is \x1b[2J \ud800", "remove it")
    assert str(error) == r"a.safetensors: na\nme: is \x1b[2J \ud800; remove it"


def test_a_long_value_is_cut():
    error = PolicyError.at("", "task", "x" * 10_000, "shorten it")
    assert str(error) == f"task: {'x' * 300}...; shorten it"


def test_other_alphabets_stay():
    assert str(PolicyError.at("", "task", "'löpare' is unknown", "choose")).startswith("task: 'löp")
