"""The supervisor in fabric counts what the software's counts, through each driver."""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_fpga import generate
from qpolicy_fpga.driver.wrapped import open_wrapped
from qpolicy_fpga.manifest import read_manifest
from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import make_engine
from qpolicy_ros.policy.seen import Supervisor, ranges_id, seen_codes

SHAPES = {
    "one beat": {"inputs": 11, "hidden": (8,), "outputs": 3},
    # Two beats of 32 codes, the last one short; two words of flags.
    "many beats": {"inputs": 40, "hidden": (3,), "outputs": 5, "input_bits": 8, "core_bits": 2},
}
MORE = {
    "one value": {"inputs": 1, "hidden": (1,), "outputs": 1, "input_bits": 2, "core_bits": 2},
    "padding": {"inputs": 100, "hidden": (4,), "outputs": 2, "input_bits": 3},
}


@pytest.fixture(scope="module", params=[*SHAPES, *MORE])
def artifact(request, full):
    if request.param in MORE and not full:
        pytest.skip("further shapes: make test-full")
    return random_artifact(5, **{**SHAPES, **MORE}[request.param])


@pytest.fixture(scope="module")
def observations(artifact):
    """Half of them stay among 50 that were seen, half leave them in a few values or in many."""
    rng = np.random.default_rng(3)
    network = artifact.network
    spread = rng.uniform(0, 1, (300, 1)) ** 4
    codes = rng.standard_normal((300, network.mean.size)) * spread * (1 << network.input_bits)
    return (codes / network.gain + network.mean).astype(np.float32)


@pytest.fixture(scope="module")
def seen(artifact, observations):
    return seen_codes(make_engine(artifact.network).codes_batch(observations[:50])[0], "50 of them")


@pytest.fixture(scope="module")
def folder(artifact, seen, tmp_path_factory):
    out = tmp_path_factory.mktemp("supervised")
    generate(artifact, "xc7a35t", 100.0, "latency", out, seen=seen)
    return out


@pytest.fixture(scope="module")
def software(artifact, seen, observations):
    """Facts of the software's supervisor after each observation."""
    supervisor = Supervisor(artifact, seen, refuse=False)
    found = []
    for observation in observations:
        supervisor.look(observation)
        found.append({f"fpga.{name}": count for name, count in supervisor.facts().items()})
    assert len(found[-1]) > 1
    return found


def told(backend):
    """What the backend says when it has read everything."""
    before = None
    while before != (before := backend.facts()) or backend._watch._rest is not None:
        pass
    return before


@pytest.mark.slow
def test_the_registers_tell_the_softwares_counts(artifact, folder, seen, observations, software):
    backend = create_backend("fpga", artifact, {"transport": "rtlsim", "bitstream": str(folder)})
    assert backend.ranges == ranges_id(seen)
    assert told(backend) == {"fpga.unseen": 0}  # the golden vectors do not count
    for at, observation in enumerate(observations):
        backend.act(observation)
        if at % 7 == 0:
            assert told(backend) == software[at]
    assert told(backend) == software[-1]
    backend.forget()
    assert told(backend) == {"fpga.unseen": 0}
    backend.close()


@pytest.mark.slow
def test_the_serial_line_tells_the_same(artifact, folder, observations, software, tmp_path):
    manifest = read_manifest(folder)
    core = [folder / name for name in manifest["files"] if name.endswith(".v")]
    wrapped = open_wrapped("uart", manifest, core, tmp_path / "wrapper")
    device, engine = wrapped._device, make_engine(artifact.network)
    names = [channel.name for channel in artifact.contract.observation]
    codes = engine.codes_batch(observations[:60])[0]
    wrapped.infer(codes)
    wanted = software[59]
    for at, name in enumerate(names):
        found = device.unseen(at)
        count = wanted.get(f"fpga.unseen.{name}", 0)
        assert (found.observations, found.count) == (wanted["fpga.unseen"], count)
        assert found.flags >> at % 32 & 1 == (count > 0)
    device.forget()
    assert device.unseen(0)[1:] == (0, 0, 0)
    wrapped.close()
