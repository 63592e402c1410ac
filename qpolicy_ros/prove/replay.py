"""A counterexample as observations, and its answer from every engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from qpolicy_ros.policy import PolicyArtifact, engine_kinds, make_engine
from qpolicy_ros.policy.model import Float32, Int64
from qpolicy_ros.prove.claims import Asked
from qpolicy_ros.prove.codes import CodeBox


def observations_of(asked: Asked, witness: Int64, box: CodeBox, artifact: PolicyArtifact) -> Any:
    """The witness as one or two observations, float32 ``(1 or 2, n)``; None if it is none."""
    network, pair = artifact.network, asked.question.pair
    assert network is not None
    if pair is None:
        found = box.observations(witness[None], network)
        return found if asked.first is None else np.concatenate([asked.first[None], found])
    count = len(witness) // 2
    first = witness[:count]
    second = pair.second(first[None], witness[None, count:])[0]
    if not asked.mirrored:
        return box.observations(np.stack([first, second]), network)
    # x and its mirror image x2: the values of x for which both have their codes.
    channel = np.arange(count)
    least = box.first[channel, first - box.qmin].copy()
    most = box.last[channel, first - box.qmin].copy()
    for i in range(count):
        ends = box.first[i, second[i] - box.qmin], box.last[i, second[i] - box.qmin]
        source = int(pair.source[i])
        low, high = (-ends[1], -ends[0]) if pair.sign[i] < 0 else ends
        least[source], most[source] = max(least[source], low), min(most[source], high)
    if bool((least > most).any()):
        return None
    values = np.clip(box.observations(first[None], network)[0], least, most)
    image = (pair.sign * values[pair.source]).astype(np.float32)
    return np.stack([values, image])


def replay(asked: Asked, observations: Float32, artifact: PolicyArtifact) -> dict[str, Any]:
    """Ask every engine and return the counterexample as JSON-able values.

    Raises:
        AssertionError: an engine's answer keeps the claim, or two differ: a fault of ours.
    """
    network = artifact.network
    assert network is not None
    answers = {kind: make_engine(network, kind).act_batch(observations) for kind in engine_kinds()}
    actions = next(iter(answers.values()))
    for kind, other in answers.items():
        if not np.array_equal(other, actions):
            raise AssertionError(f"engine {kind} answers otherwise: please report this")
    if not asked.bad(actions[:1], actions[-1:])[0]:
        raise AssertionError("the counterexample keeps the claim: please report this")
    found: dict[str, Any] = {
        "observation": [float(value) for value in observations[0]],
        "action": [float(value) for value in actions[0]],
        "engines": list(answers),
    }
    if len(observations) > 1:
        found["second_observation"] = [float(value) for value in observations[1]]
        found["second_action"] = [float(value) for value in actions[1]]
    return found
