"""Many random observations of a box, through the vectorised engine or the simulated core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import PolicyArtifact, make_engine
from qpolicy_ros.policy.model import Float32, Int64
from qpolicy_ros.prove.claims import Asked
from qpolicy_ros.prove.codes import CodeBox
from qpolicy_ros.prove.replay import observations_of, replay

_CHUNK = 20_480  # a multiple of the lanes
_PART, _CLOCK_MHZ = "xc7a15t", 100.0


def random_refuter(
    asked: list[Asked],
    box: CodeBox,
    artifact: PolicyArtifact,
    count: int,
    *,
    lanes: bool,
    say: Callable[[str], None],
) -> dict[str, Any] | None:
    """Ask ``count`` random observations of each question; the first that breaks the claim, or None.

    Args:
        asked: questions of a claim.
        box: of the observations.
        artifact: the policy.
        count: observations a question, pairs where a claim compares two.
        lanes: whether the generated core computes them, 512 copies of it simulated at once.
        say: gets a line now and then.

    Raises:
        PolicyError, BackendError: the core cannot be generated or simulated.
    """
    with scratch_folder() as scratch:
        compute = _core(artifact, Path(scratch)) if lanes else _engine(artifact, box)
        for index, each in enumerate(asked):
            rng = np.random.default_rng([index, 20261128])
            done = 0
            while done < count:
                size = min(_CHUNK, count - done)
                found = _chunk(each, box, rng, size, compute)
                if found is not None:
                    observations = observations_of(each, found, box, artifact)
                    if observations is not None:
                        return replay(each, observations, artifact)
                done += size
                if done % (50 * _CHUNK) == 0:
                    say(f"{done:,} of {count:,} random observations: {each.question.text}")
    return None


def _chunk(
    asked: Asked,
    box: CodeBox,
    rng: np.random.Generator,
    size: int,
    compute: Callable[[Int64], Float32],
) -> Int64 | None:
    """A random input whose actions break the claim, if there is one among ``size``."""
    question = asked.question
    inputs = rng.integers(question.low, question.high + 1, (size, len(question.low)))
    inputs, good = question.project(inputs)
    inputs = inputs[good]
    if not len(inputs):
        return None
    count = len(box.low)
    first = inputs[:, :count]
    actions = compute(first)
    other = actions
    if question.pair is not None:
        other = compute(question.pair.second(first, inputs[:, count:]))
    broken = asked.bad(actions, other)
    return inputs[int(np.argmax(broken))] if broken.any() else None


def _engine(artifact: PolicyArtifact, box: CodeBox) -> Callable[[Int64], Float32]:
    network = artifact.network
    assert network is not None
    engine = make_engine(network)
    return lambda codes: engine.act_batch(box.observations(codes, network))


def _core(artifact: PolicyArtifact, folder: Path) -> Callable[[Int64], Float32]:
    """The generated core in lanes, from input codes to actions."""
    from qpolicy_fpga import generate  # noqa: PLC0415  the generator, only where it is asked for
    from qpolicy_fpga.manifest import read_manifest  # noqa: PLC0415
    from qpolicy_fpga.simulate.lanes import LaneSimulation  # noqa: PLC0415

    network = artifact.network
    assert network is not None
    generate(artifact, _PART, _CLOCK_MHZ, "latency", folder)
    simulation = LaneSimulation(folder, read_manifest(folder))
    columns = np.arange(network.table.shape[0])

    def compute(codes: Int64) -> Float32:
        given = simulation.run(codes).codes
        return np.asarray(network.table[columns, given - network.output_min])

    return compute
