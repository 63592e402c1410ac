"""The supervisor in fabric counts what the software's counts, through each driver."""

from __future__ import annotations

import json

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_fpga import generate
from qpolicy_fpga.driver.wrapped import open_wrapped
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.wrappers.tops import Sizes, write_wrapper
from qpolicy_ros.backends import BackendError, create_backend
from qpolicy_ros.backends.fpga.device import Unseen
from qpolicy_ros.backends.fpga.watch import FabricWatch
from qpolicy_ros.cli.main import main as qpolicy
from qpolicy_ros.nodes.serving.server import PolicyServer
from qpolicy_ros.policy import PolicyError, load_policy, make_engine, save_policy
from qpolicy_ros.policy.seen import SeenCodes, Supervisor, ranges_id, save_seen, seen_codes

SHAPES = {
    "one beat": {"inputs": 11, "hidden": (8,), "outputs": 3, "input_bits": 8},
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
    """The first 50 are calm; the others leave them in no value, in a few or in many."""
    rng = np.random.default_rng(3)
    network = artifact.network
    spread = rng.uniform(0, 1, (300, 1)) ** 4
    spread[:50] = 0.1
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
    core = [folder / name for name in manifest.files if name.endswith(".v")]
    wrapped = open_wrapped("uart", manifest, core, tmp_path / "wrapper")
    device, engine = wrapped._device, make_engine(artifact.network)
    names = [channel.name for channel in artifact.contract.observation]
    codes = engine.codes_batch(observations[:80])[0]
    wrapped.infer(codes)
    wanted = software[79]
    for at, name in enumerate(names):
        found = device.unseen(at)
        count = wanted.get(f"fpga.unseen.{name}", 0)
        assert (found.observations, found.count) == (wanted["fpga.unseen"], count)
        assert found.flags >> at % 32 & 1 == (count > 0)
    device.forget()
    assert device.unseen(0)[1:] == (0, 0, 0)
    wrapped.close()


@pytest.mark.slow
def test_diagnostics_have_both_counts(artifact, folder, seen, observations, tmp_path):
    """The node's and the accelerator's, from when the node was configured."""
    save_policy(artifact, tmp_path / "p.safetensors")
    policy = load_policy(tmp_path / "p.safetensors")
    save_seen(seen, policy, tmp_path / "p.seen.json")
    options = {"fpga": {"transport": "rtlsim", "bitstream": str(folder)}}
    server = PolicyServer(policy, "fpga", options=options)
    server.supervise("count")
    for observation in observations[:80]:
        server.act(observation)
    while server.ready["fpga"]._watch._rest is not None or not server.watched()["fpga.unseen"]:
        pass
    told = server.watched()
    counted = {name: count for name, count in told.items() if not name.startswith("fpga.")}
    assert counted["unseen"] > 0
    assert told == counted | {f"fpga.{name}": count for name, count in counted.items()}
    server.supervise("off")  # begins anew
    assert server.watched() == {"fpga.unseen": 0}
    server.close()


@pytest.mark.slow
def test_ranges_of_another_file_are_said(artifact, folder, seen, tmp_path):
    save_policy(artifact, tmp_path / "p.safetensors")
    policy = load_policy(tmp_path / "p.safetensors")
    other = SeenCodes(seen.low, seen.high + (seen.high < 0), 1, "another")
    save_seen(other, policy, tmp_path / "p.seen.json")
    options = {"fpga": {"transport": "rtlsim", "bitstream": str(folder)}}
    server = PolicyServer(policy, "fpga", options=options)
    server.supervise("count")
    assert ("fpga.ranges" in server.watched()) == (ranges_id(other) != ranges_id(seen))
    server.close()


class Counting:
    """A device whose supervisor has counted ``counts``, and how often it was asked."""

    name, unseen_reads = "counting", 4

    def __init__(self, counts):
        self.counts, self.asked, self.silent = counts, 0, False

    def unseen(self, value):
        if self.silent:
            raise BackendError("fpga: no answer")
        self.asked += 1
        first = value - value % 32
        flags = sum((n > 0) << at for at, n in enumerate(self.counts[first : first + 32]))
        return Unseen(7, sum(self.counts), flags, self.counts[value])

    def forget(self):
        self.counts = [0] * len(self.counts)


def test_a_report_asks_a_slow_line_for_a_few_counts():
    device = Counting([0] * 70)
    watch = FabricWatch(device, [f"v{at}" for at in range(70)])
    device.counts = [1] * 70
    device.asked = 0
    reports = 0
    while len(watch.facts()) < 71:
        reports += 1
        assert device.asked <= 5 * reports
    device.asked = 0
    assert watch.facts() == watch.facts()
    assert device.asked == 2  # nothing new: one question a report


def test_a_line_that_falls_silent_is_said_in_place_of_the_counts():
    device = Counting([0] * 3)
    watch = FabricWatch(device, ["a", "b", "c"])
    device.counts = [0, 2, 0]
    assert watch.facts() == {"fpga.unseen": 2, "fpga.unseen.b": 2}
    device.silent = True
    assert watch.facts() == {"fpga.unseen": "not known: fpga: no answer"}


def test_a_core_without_a_supervisor_has_nothing_to_say():
    device = Counting([0])
    device.unseen = lambda _: Unseen(0, 0, 0, 0)
    device.forget = None
    watch = FabricWatch(device, ["a"])
    watch.forget()
    assert watch.facts() == {}


def test_the_core_is_the_same_with_and_without(artifact, folder, tmp_path):
    manifest = generate(artifact, "xc7a35t", 100.0, "latency", tmp_path)
    assert set(read_manifest(folder).files) - set(manifest.files) == {"qpolicy_supervisor.v"}
    for name in manifest.files:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_wrapper_that_cannot_tell_is_refused(folder, tmp_path):
    with pytest.raises(PolicyError, match=r"axi_stream has no registers .* axi_lite or uart"):
        write_wrapper("axi_stream", Sizes.of(read_manifest(folder)), tmp_path)


def test_the_command_takes_the_ranges(tmp_path, capsys):
    artifact = random_artifact(1)
    save_policy(artifact, tmp_path / "p.safetensors")
    codes = np.array([[-1, 0, 0, 2], [3, 0, 0, 2]], np.int32)
    save_seen(seen_codes(codes, "a test"), artifact, tmp_path / "p.seen.json")
    given = ["fpga", "generate", str(tmp_path / "p.safetensors"), "--out", str(tmp_path / "f")]
    assert qpolicy([*given, "--supervise", str(tmp_path / "p.seen.json")]) == 0
    assert "watched   codes that 2 observations had (a test)" in capsys.readouterr().out
    watched = read_manifest(tmp_path / "f").ranges
    assert watched == f"{ranges_id(seen_codes(codes, '')):08x}"
    # Without it the supervisor's file goes.
    assert qpolicy(given) == 0
    assert not (tmp_path / "f" / "qpolicy_supervisor.v").exists()


def test_ranges_of_another_policy_are_refused(tmp_path, capsys):
    for seed in (1, 2):
        save_policy(random_artifact(seed), tmp_path / f"{seed}.safetensors")
    codes = np.zeros((1, 4), np.int32)
    save_seen(seen_codes(codes, "a test"), random_artifact(2), tmp_path / "2.seen.json")
    given = ["fpga", "generate", str(tmp_path / "1.safetensors"), "--out", str(tmp_path / "f")]
    assert qpolicy([*given, "--supervise", str(tmp_path / "2.seen.json")]) == 2
    assert "is another policy's; make it with `qpolicy seen`" in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("ranges", ["00000000", "1g345678", 5, None])
def test_a_manifest_whose_ranges_are_none_is_refused(folder, tmp_path, ranges):
    manifest = read_manifest(folder).as_json()
    manifest["supervisor"]["ranges"] = ranges
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PolicyError, match=r"supervisor\.ranges: .* is not one of a generated core"):
        read_manifest(tmp_path)
