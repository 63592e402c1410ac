"""What is fuzzed: each target takes bytes, may refuse them with a named error, nothing else."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sqlite3
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import claims
import foreign
import numpy as np
import results
from policy_builders import random_artifact

from qpolicy_ros.backends import BackendError
from qpolicy_ros.backends.fpga import uart
from qpolicy_ros.backends.fpga.frames import CRC_BYTES, HEAD_BYTES, Decoder, Frame, encode
from qpolicy_ros.backends.fpga.packing import Packer, Shape
from qpolicy_ros.cli import info
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import load_policy, make_engine, save_policy

MAX_PAYLOAD = 64
MAX_TEXT = 2000
SHAPE = Shape(n=2, m=2, b_in=4, b_out=4, codes_per_beat=2, beats=1)


class Target(NamedTuple):
    """One reader of bytes.

    Attributes:
        run: raises only where something is wrong with the reader.
        seeds: inputs to start from.
        kind: how to mutate; see ``mutate``.
        largest: input, bytes: some times the largest seed. What a longer one would only repeat
            costs the executions that a short one could have had.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    kind: str
    largest: int


def scratch_file(suffix: str = ".safetensors") -> Path:
    """A file of this process's own in memory, where there is such a folder."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="qpolicy-fuzz-", dir=folder)) / f"input{suffix}"


def from_file(
    read: Callable[[Path], object], suffix: str = ".safetensors"
) -> Callable[[bytes], None]:
    """A target that reads a file; the refusal must be one short line that names it."""
    paths: list[Path] = []

    def run(data: bytes) -> None:
        if not paths:
            paths.append(scratch_file(suffix))
        paths[0].write_bytes(data)
        try:
            read(paths[0])
        except InputError as error:
            text = str(error)
            assert text.startswith(str(paths[0].parent)), text
            assert text.isprintable(), text
            assert len(text) < MAX_TEXT, text

    return run


def policy_seeds() -> list[bytes]:
    """Policy files of two kilobytes: one with an integer network, one without."""
    path = scratch_file()
    bits = {"input_bits": 2, "core_bits": 2, "output_bits": 2}
    artifacts = [random_artifact(0, 2, (2,), 2, **bits)]
    artifacts.append(random_artifact(0, 2, (2,), 2, integer=False))
    contents = []
    for artifact in artifacts:
        save_policy(artifact, path)
        contents.append(path.read_bytes())
    return contents


def read_policy(path: Path) -> None:
    """Load, print and run; what was accepted must serve."""
    artifact = load_policy(path)
    facts = info.describe(artifact, path.stat().st_size)
    json.dumps(facts, allow_nan=False)
    info.report(facts, artifact).encode()
    if artifact.network is not None:
        observation = artifact.golden.observations[0]
        action = make_engine(artifact.network).act(observation)
        assert np.isfinite(action).all()


def qat_seeds() -> list[bytes]:
    """A trained module of three layers."""
    from qpolicy_training.quant.qat_file import QatPolicy, save_qat  # noqa: PLC0415
    from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor  # noqa: PLC0415

    actor = QuantActor(ActorSpec(2, 2, (2,), 2, 2, 2)).eval()
    for scaling in actor.scalings():
        scaling.counter = scaling.collect_stats_steps + 1
    vector = np.ones(2, np.float32)
    path = scratch_file()
    save_qat(QatPolicy("toy", actor, vector, vector, vector[None], {"seed": 0}), path)
    return [path.read_bytes()]


def read_qat(path: Path) -> None:
    """Load, then run once."""
    import torch  # noqa: PLC0415

    from qpolicy_training.quant import qat_file  # noqa: PLC0415

    # Building a module takes nearly all of the time and is no part of reading.
    qat_file.QuantActor = _built  # type: ignore[misc, assignment]
    qat = qat_file.load_qat(path)
    with torch.no_grad(), contextlib.suppress(MemoryError):
        qat.actor(torch.zeros(1, qat.actor.spec.observations))


def checkpoint_seeds() -> list[bytes]:
    """A checkpoint of a distillation after its first round."""
    import torch  # noqa: PLC0415

    from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor  # noqa: PLC0415
    from qpolicy_training.recipes.distill import adam_state  # noqa: PLC0415
    from qpolicy_training.runs.state import module_state, save_state  # noqa: PLC0415

    actor = QuantActor(ActorSpec(2, 2, (2,), 2, 2, 2))
    adam = torch.optim.Adam(actor.parameters())
    for parameter in actor.parameters():
        parameter.grad = torch.ones_like(parameter)
    adam.step()
    path = scratch_file()
    tensors = {**module_state("actor", actor), **adam_state("adam", adam)}
    meta = {"done": 1, "candidates": {}, "curve": [[1, 2.0, 3.0]], "resumes": [], "seconds": 0.0}
    save_state(path, {**tensors, "observations": torch.zeros(3, 2)}, meta)
    return [path.read_bytes()]


class _NoRun:
    """As much of a run as a resumed distillation asks for."""

    log = types.SimpleNamespace(seconds=0.0, earlier_cpu=0.0, saved_cpu=0.0)

    def rewind(self, curve: object, candidates: object) -> None:
        from qpolicy_training.runs.folder import Run  # noqa: PLC0415

        Run.rewind(self, curve, candidates)  # type: ignore[arg-type]

    def candidate_path(self, step: int) -> Path:
        return self.folder / f"candidate_{step:09d}.safetensors"


@functools.lru_cache(64)
def _built(spec: object) -> Any:
    from qpolicy_training.quant.quant_actor import QuantActor  # noqa: PLC0415

    return QuantActor(spec)  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> None:
    """Resume a distillation of one round from it."""
    from qpolicy_training.quant.quant_actor import ActorSpec  # noqa: PLC0415
    from qpolicy_training.recipes import distill  # noqa: PLC0415

    run = _NoRun()
    run.folder = path.parent  # type: ignore[attr-defined]
    rounds = [distill.Round(ActorSpec(2, 2, (2,), 2, 2, 2), True, 1, True)]
    distill.QuantActor = _built  # type: ignore[misc, assignment]
    distill._load(path, rounds, run)  # type: ignore[arg-type]


def manifest_seeds() -> list[bytes]:
    """The manifest of a generated core."""
    from qpolicy_fpga import generate  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        artifact = random_artifact(0, 2, (2,), 2)
        manifest = generate(artifact, "xc7a15t", 100.0, "latency", Path(folder), with_io=True)
    fields = {**manifest.as_json(), "pareto": manifest.as_json()["pareto"][:2]}
    whole = json.dumps(fields).encode()
    del fields["io"]
    return [json.dumps(fields).encode(), whole]


def read_manifest(path: Path) -> None:
    """Read, then report and lay out what it describes; no name in it may leave its folder."""
    from qpolicy_fpga import manifest as reader  # noqa: PLC0415
    from qpolicy_fpga.report import report  # noqa: PLC0415
    from qpolicy_fpga.report.picture import draw  # noqa: PLC0415
    from qpolicy_fpga.wrappers.tops import Sizes, top  # noqa: PLC0415

    path.replace(path.with_name(reader.MANIFEST))
    manifest = reader.read_manifest(path.parent)
    assert all((path.parent / name).parent == path.parent for name in manifest.files)
    report.synthesise = _no_yosys  # type: ignore[assignment]
    if manifest.io:
        report.end_to_end(path.parent, manifest)
    facts = dict.fromkeys(("lut", "ff", "bram36", "depth_ns"), 1.0)
    draw(manifest, facts).encode()
    top("uart", Sizes.of(manifest))


def _no_yosys(files: list[Path], name: str) -> SimpleNamespace:
    """Stands for a synthesis: what would go into its script must be plain names."""
    assert name.isidentifier(), name
    assert all(re.fullmatch("[A-Za-z0-9_.-]+", file.name) for file in files), files
    assert len({file.parent for file in files}) <= 1, files
    cells = {"lut": 1, "carry4": 1, "ff": 1, "bram36": 0.0, "dsp": 0}
    return SimpleNamespace(**cells, depth_ns=1.0, path="")


def bag_seeds() -> list[bytes]:
    """Recordings of six answers, plain and in a compressed chunk."""
    from bags import answers, reported, write_bag  # noqa: PLC0415
    from rosbags.rosbag2 import CompressionMode  # noqa: PLC0415

    contents = []
    for mode in (CompressionMode.NONE, CompressionMode.STORAGE):
        folder = scratch_file().parent / "bag"
        messages = [*answers([100.0] * 3), reported(backend="integer")]
        write_bag(folder, messages, compression=mode)
        contents += [path.read_bytes() for path in folder.glob("*.mcap")]
    return contents


def db3_seeds() -> list[bytes]:
    """The same recording in sqlite3, with small pages, with and without an index."""
    from bags import answers, reported, write_humble  # noqa: PLC0415

    contents = []
    for script in ("", "DROP INDEX timestamp_idx;"):
        folder = scratch_file().parent / "bag"
        write_humble(folder, [*answers([100.0] * 3), reported(backend="integer")])
        (path,) = folder.glob("*.db3")
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.executescript(f"{script} PRAGMA page_size = 512; VACUUM;")
        contents.append(path.read_bytes())
    return contents


def read_bag(path: Path) -> None:
    """Open and put together, as `qpolicy latency` does before it computes."""
    from qpolicy_ros.latency.bag import open_bag  # noqa: PLC0415
    from qpolicy_ros.latency.trace import read_trace  # noqa: PLC0415

    read_trace(open_bag(path))


def robot_seeds() -> list[bytes]:
    """A small robot: YAML is read slowly."""
    text = (
        "name: a\nmodel: {file: a.xml}\nbase: b\nperiod: 0.02\nheight: 0.3\n"
        "joints:\n  j: {default: 0.1, scale: 0.5}\n"
        "observation:\n- {source: 'joint_states.position:*', offset: default, scale: 2}\n"
        "option: {timestep: 0.002}\n"
    )
    return [text.encode()]


def read_robot(path: Path) -> None:
    """Read a description and make the contract of its policies.

    YAML itself is PyYAML's: its parser in C has the same results in a tenth of the time.
    """
    import yaml  # noqa: PLC0415

    from qpolicy_ros.sim.description import read_description  # noqa: PLC0415

    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc]
    read_description(path).contract()


def frame_seeds() -> list[bytes]:
    """Replies to the first two requests of a driver, whole, damaged and refused."""
    answer = b"\0" + (3).to_bytes(4, "little") + b"\x21"
    frames = [encode(Frame(0x82, sequence, answer)) for sequence in (1, 2)]
    refusal = encode(Frame(0x82, 1, b"\1"))
    return [frames[0], b"\xa5\x82\1\xff\xff" + frames[0], refusal + frames[1], frames[0][:-1]]


def read_frames(data: bytes) -> None:
    """Whatever cuts the stream, frames are those that were sent, and the next whole one is found.

    The first byte says how the rest is cut.
    """
    step, data = 1 + (data[0] if data else 0), data[1:]
    decoder = Decoder(MAX_PAYLOAD)
    most = HEAD_BYTES + MAX_PAYLOAD + CRC_BYTES
    for start in range(0, len(data), step):
        for frame in decoder.feed(data[start : start + step]):
            assert encode(frame) in data
        assert len(decoder._buffer) < most
        assert 1 <= decoder.missing <= most
    last = Frame(0x82, 9, b"whole")
    # A false start may hold a frame back until what it claims has come.
    assert last in decoder.feed(bytes(most) + encode(last) + bytes(most))


class _Port:
    """A serial port that says what the fuzzer says."""

    baudrate = 10**12

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.in_waiting = 0

    def read(self, count: int) -> bytes:
        said, self._data = self._data[:count], self._data[count:]
        return said

    def write(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        pass


def read_reply(data: bytes) -> None:
    """The driver answers with codes that a whole frame carried, or with a named error."""
    uart._ANSWER_LIMIT = 0.0
    packer = Packer(SHAPE, 8)
    device = uart.UartDevice(_Port(data), SHAPE, "fuzz")
    try:
        codes = device.infer(np.zeros(SHAPE.n, np.int32))
    except BackendError as error:
        assert str(error).isprintable()  # noqa: PT017  fuzzed, not under pytest
        return
    start = data.find(b"\xa5")
    size = HEAD_BYTES + 5 + packer.output_bytes + CRC_BYTES
    sent = []
    while start >= 0:
        frame = data[start : start + size]
        head = len(frame) == size and frame[1] == 0x82 and frame[2] in (1, 2)
        if head and encode(Frame(0x82, frame[2], frame[5:-2])) == frame:
            sent.append(packer.unpack(np.frombuffer(frame[10:-2], np.uint8)).tolist())
        start = data.find(b"\xa5", start + 1)
    assert codes.tolist() in sent


TARGETS = {
    "policy": Target(from_file(read_policy), policy_seeds, "safetensors", 6000),
    "qat": Target(from_file(read_qat), qat_seeds, "safetensors", 6000),
    "checkpoint": Target(from_file(read_checkpoint), checkpoint_seeds, "safetensors", 8000),
    "bag": Target(from_file(read_bag, ".mcap"), bag_seeds, "bytes", 6000),
    "bag_db3": Target(from_file(read_bag, ".db3"), db3_seeds, "bytes", 12_000),
    "robot": Target(from_file(read_robot, ".yaml"), robot_seeds, "bytes", 600),
    "manifest": Target(from_file(read_manifest), manifest_seeds, "json", 4000),
    "certificate": Target(
        from_file(results.read_certificate), results.certificate_seeds, "certificate", 3000
    ),
    "ledger": Target(from_file(results.read_sweep), results.ledger_seeds, "lines", 2000),
    "curve": Target(from_file(results.read_curve), results.curve_seeds, "bytes", 200),
    "hardware": Target(from_file(results.read_hardware), results.hardware_seeds, "json", 1000),
    "property": Target(from_file(claims.read_claim, ".yaml"), claims.property_seeds, "bytes", 600),
    "seen": Target(from_file(claims.read_seen, ".json"), claims.seen_seeds, "json", 1000),
    "onnx": Target(from_file(foreign.read_network, ".onnx"), foreign.onnx_seeds, "bytes", 4000),
    "contract": Target(
        from_file(foreign.read_any_contract, ".yaml"), foreign.contract_seeds, "bytes", 1000
    ),
    "pickle": Target(from_file(foreign.read_inert, ".pkl"), foreign.pickle_seeds, "bytes", 2000),
    "zip": Target(from_file(foreign.read_network, ".zip"), foreign.zip_seeds, "bytes", 16_000),
    "frames": Target(read_frames, frame_seeds, "bytes", 200),
    "reply": Target(read_reply, frame_seeds, "bytes", 100),
}
