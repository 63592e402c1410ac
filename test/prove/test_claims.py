"""Verdicts of claims against every observation of small policies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from policy_builders import make_contract, random_artifact

from qpolicy_ros.policy import make_engine
from qpolicy_ros.prove.property import parse_property
from qpolicy_ros.prove.run import Prover

pytest.importorskip("ortools")
pytest.importorskip("highspy")
SECONDS = 6.0
INPUTS = 3


def policy(seed):
    return random_artifact(
        seed, INPUTS, (5, 5), 2, contract=make_contract(INPUTS, 2), input_bits=3, core_bits=2
    )


def prover(artifact, **content):
    return Prover(artifact, parse_property(content, artifact), SECONDS)


def every_code(artifact, box):
    """All codes of the box, and the actions for them."""
    ranges = [range(a, b + 1) for a, b in zip(box.low, box.high, strict=True)]
    codes = np.array(list(itertools.product(*ranges)))
    observations = box.observations(codes, artifact.network)
    return codes, make_engine(artifact.network).act_batch(observations).astype(np.float64)


@pytest.mark.parametrize("seed", range(6))
def test_bounds_and_signs(seed):
    artifact = policy(seed)
    box = {"value_0": [-1.0, 1.0], 1: [-0.5, 0.5]}
    for claim in (
        {"action": "motor_0", "low": -0.6, "high": 0.6},
        {"action": 1, "never": "negative"},
        {"low": -0.99},
    ):
        asked = prover(artifact, box=box, claim=claim)
        _, actions = every_code(artifact, asked.box)
        wanted = actions[:, list(parse_property({"claim": claim}, artifact).actions)]
        holds = wanted.min() >= (0.0 if "never" in claim else claim["low"])
        holds = holds and wanted.max() <= claim.get("high", 1.0)
        assert asked.run().verdict == ("proved" if holds else "refuted")


@pytest.mark.parametrize("seed", range(4))
def test_the_range_is_that_of_every_observation(seed):
    artifact = policy(seed)
    asked = prover(artifact, box={0: [0.0, 2.0]}, claim={"range": True})
    _, actions = every_code(artifact, asked.box)
    result = asked.run()
    assert result.verdict == "proved"
    for index, name in enumerate(("motor_0", "motor_1")):
        assert result.reached[name]["lowest"] == actions[:, index].min()
        assert result.reached[name]["highest"] == actions[:, index].max()


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_change_is_that_of_every_pair(seed):
    artifact = policy(seed)
    box = {0: [-0.5, 0.5], 1: [-0.5, 0.5], 2: [-0.5, 0.5]}
    asked = prover(artifact, box=box, claim={"action": 0, "change": "largest", "within": 1})
    codes, actions = every_code(artifact, asked.box)
    near = np.abs(codes[:, None] - codes[None]).max(axis=2) <= 1
    change = np.abs(actions[:, None, 0] - actions[None, :, 0])[near].max()
    result = asked.run()
    assert result.verdict == "proved"
    assert result.reached["motor_0"] == {"largest_change": change, "exact": True}
    less = prover(artifact, box=box, claim={"action": 0, "change": change * 0.99, "within": 1})
    assert less.run().verdict == ("refuted" if change else "proved")


@pytest.mark.parametrize("seed", range(6))
def test_monotone_in_a_value(seed):
    artifact = policy(seed)
    box = {0: [-0.6, 0.6], 1: [-0.6, 0.6], 2: [-0.6, 0.6]}
    for way, sign in (("rising", 1), ("falling", -1)):
        claim = {"action": 0, "monotone": way, "in": "value_1"}
        asked = prover(artifact, box=box, claim=claim)
        codes, actions = every_code(artifact, asked.box)
        of = {tuple(code): action for code, action in zip(codes, actions[:, 0], strict=True)}
        steps = [
            sign * (of[(a, b + 1, c)] - action)
            for (a, b, c), action in of.items()
            if (a, b + 1, c) in of
        ]
        holds = all(step >= 0 for step in steps)
        assert asked.run().verdict == ("proved" if holds else "refuted")


@pytest.mark.parametrize("seed", range(4))
def test_the_radius_is_the_largest_that_holds(seed):
    artifact = policy(seed)
    around = artifact.golden.observations[0].tolist()
    claim = {"robust": 0.5, "radius": "largest", "around": around}
    asked = prover(artifact, claim=claim)
    codes, actions = every_code(artifact, asked.box)
    centre = make_engine(artifact.network).codes_batch([around])[0][0]
    moved = np.abs(actions - make_engine(artifact.network).act(around)).max(axis=1) > 0.5
    far = np.abs(codes - centre).max(axis=1)
    radius = int(far[moved].min()) - 1 if moved.any() else 7
    result = asked.run()
    assert result.reached["radius"] == [radius]
    assert result.verdict == "proved"
    if radius < 7:
        more = prover(artifact, claim={**claim, "radius": radius + 1}).run()
        assert more.verdict == "refuted"
        assert more.counterexample["observation"] == around


@pytest.mark.parametrize("way", ["even", "odd"])
def test_a_mirrored_observation_is_the_same_values_with_another_sign(way):
    artifact = policy(1)
    claim = {"action": 0, "symmetric": way, "in": "value_2", "within": 0.001}
    result = prover(artifact, claim=claim).run()
    assert result.verdict == "refuted"
    first, second = (result.counterexample[key] for key in ("observation", "second_observation"))
    assert second == [first[0], first[1], -first[2]]
    sign = 1 if way == "even" else -1
    actions = [result.counterexample[key][0] for key in ("action", "second_action")]
    assert abs(actions[1] - sign * actions[0]) > 0.001


def test_a_symmetric_policy_is_proved():
    # Two actions from mirrored rows: swapping the first two values swaps them.
    import dataclasses  # noqa: PLC0415

    artifact = policy(2)
    network = artifact.network
    weights = [np.array([[1, -2, 1], [-2, 1, 1]], np.int8), np.array([[1, 0], [0, 1]], np.int8)]
    thresholds = [
        np.tile(np.array([-1, 0, 2], np.int32), (2, 1)),
        np.tile(np.sort(np.arange(31) % 4).astype(np.int32), (2, 1)),
    ]
    network = dataclasses.replace(
        network,
        mean=np.zeros(3, np.float32),
        gain=np.ones(3, np.float32),
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        table=np.tile(network.table[0], (2, 1)),
    )
    from qpolicy_ros.policy import make_artifact  # noqa: PLC0415

    symmetric = make_artifact(
        artifact.contract, artifact.baseline, network, {}, artifact.golden.observations
    )
    swap = {"value_0": "value_1", "value_1": "value_0"}
    claim = {"action": 0, "symmetric": "even", "in": swap, "as": 1}
    assert prover(symmetric, claim=claim).run().verdict == "proved"


def test_without_time_it_stays_open():
    artifact = policy(3)
    wanted = parse_property({"claim": {"action": 0, "change": "largest", "within": 1}}, artifact)
    result = Prover(artifact, wanted, 0.0).run()
    assert result.verdict == "open"
    assert not result.reached["motor_0"]["exact"]
