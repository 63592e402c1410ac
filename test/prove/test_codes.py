"""Boxes of observations as boxes of input codes."""

from __future__ import annotations

import dataclasses

import numpy as np
from policy_builders import random_network

from qpolicy_ros.policy.numpy_engine import NumpyEngine
from qpolicy_ros.prove.codes import code_box, whole_box


def codes_of(network, observations):
    return NumpyEngine(network).codes_batch(np.atleast_2d(observations))[0]


def test_every_code_has_an_observation_in_the_box():
    network = random_network(1, input_bits=4)
    box = code_box(network, *whole_box(network))
    grid = np.random.default_rng(0).integers(box.low, box.high + 1, (500, 4))
    assert box.reachable(grid).all()
    assert (codes_of(network, box.observations(grid, network)) == grid).all()


def test_the_ends_of_a_code_are_where_the_next_begins():
    network = random_network(2, input_bits=3)
    box = code_box(network, *whole_box(network))
    for code in range(-3, 4):
        first = box.first[:, code + 4]
        assert (codes_of(network, first)[0] == code).all()
        below = np.nextafter(first, np.float32(-np.inf))
        assert (codes_of(network, below)[0] == code - 1).all()


def test_a_narrow_box_keeps_its_ends():
    network = random_network(3, input_bits=8)
    low, high = np.full(4, -0.5, np.float32), np.full(4, 0.25, np.float32)
    box = code_box(network, low, high)
    grid = np.random.default_rng(0).integers(box.low, box.high + 1, (500, 4))
    found = box.observations(grid, network)
    assert ((found >= low) & (found <= high)).all()
    assert (codes_of(network, found) == grid).all()
    assert (box.low == codes_of(network, low)[0]).all()
    assert (box.high == codes_of(network, high)[0]).all()


def test_codes_that_no_float_gives_are_known():
    network = random_network(4, input_bits=8)
    # Around 1e8 neighbouring float32 values are 8 apart, the codes 1.
    network = dataclasses.replace(
        network, mean=np.full(4, 1e8, np.float32), gain=np.ones(4, np.float32)
    )
    box = code_box(network, *whole_box(network))
    assert box.gaps.any()
    assert not box.reachable(np.full((1, 4), 1))[0]
    assert box.reachable(np.full((1, 4), 8))[0]
