"""Time `qpolicy replay` on a million ticks.

``python -m qpolicy_ros.bench.replay_reader [TICKS]`` writes docs/benchmarks/replay.json. The bag
has what a recording of hopper/paper has: observation, command and timing of each tick, a status a
second.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.bench.latency_reader import KIND, ROOT, START, serialize
from qpolicy_ros.bench.report import conditions
from qpolicy_ros.common.files import scratch_folder, write_atomically
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter
from qpolicy_ros.nodes.serving.timing import STAGES
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy, make_engine

POLICY = "hopper/paper"
_DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
_TYPES = get_typestore(Stores.ROS2_JAZZY)


def main(ticks: int = 1_000_000) -> None:
    """Write the bag, replay it, print and keep the figures."""
    artifact = load_policy(find_policy(POLICY))
    with scratch_folder() as folder:
        bag = folder / "bag.mcap"
        write(bag, artifact, ticks)
        command = [sys.executable, "-m", "qpolicy_ros.cli.main", "replay", str(bag), "--json"]
        begun = time.perf_counter()
        child = subprocess.Popen([*command, "--policy", POLICY], stdout=subprocess.PIPE, text=True)
        with contextlib.suppress(PermissionError):
            # On a shared machine the time would be that of other programs.
            os.sched_setscheduler(child.pid, os.SCHED_FIFO, os.sched_param(1))
        scheduler = {os.SCHED_FIFO: "SCHED_FIFO"}.get(os.sched_getscheduler(child.pid), "other")
        said, _ = child.communicate()
        seconds = time.perf_counter() - begun
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads(said)
        if not found["equal"] or found["reproduced"] != ticks:
            raise SystemExit(f"not reproduced: {found['first_difference']}")
        size = bag.stat().st_size / 2**20
    row = {
        "bench": "replay",
        "policy": POLICY,
        "ticks": ticks,
        "reproduced": found["reproduced"],
        "bag_mib": round(size, 1),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "scheduler": scheduler,
        "largest_memory_mib": round(used.ru_maxrss / 1024),
        "conditions": conditions(),
    }
    text = json.dumps([row], indent=1)
    write_atomically(ROOT / "docs" / "benchmarks" / "replay.json", f"{text}\n".encode())
    print(text)  # noqa: T201  a command of its own


def write(path: Path, artifact: PolicyArtifact, ticks: int) -> None:
    """Write a recording of ``ticks`` answers to observations around the policy's golden ones."""
    assert artifact.network is not None
    contract = artifact.contract
    period = round(contract.period * 1e9)
    generator = np.random.default_rng(0)
    golden = artifact.golden.observations
    spread = golden.std(axis=0)
    engine = make_engine(artifact.network)
    writer = McapWriter(path, "bench")
    kinds = {"/observation": KIND, "/action_stamped": KIND, "/timing": KIND}
    channels = {}
    for topic, kind in {**kinds, "/diagnostics": _DIAGNOSTICS}.items():
        definition, _ = _TYPES.generate_msgdef(kind, ros_version=2)
        channels[topic] = writer.add_channel(topic, kind, definition, "")
    templates = [
        _Template([channel.name for channel in contract.observation], ""),
        _Template([action.name for action in contract.action], ""),
        _Template(list(STAGES), "integer"),
    ]
    status = _status(artifact)
    for start in range(0, ticks, 10_000):
        count = min(10_000, ticks - start)
        chosen = golden[generator.integers(0, len(golden), count)]
        noise = generator.normal(size=chosen.shape) * spread
        observations = (chosen + noise).astype(np.float32)
        actions = np.clip(engine.act_batch(observations), contract.low, contract.high)
        stages = np.tile([100.0, 50.0, 1.0, 5.0, 40.0, 60.0, period / 1000.0], (count, 1))
        rows = [each.astype(np.float64) for each in (observations, actions, stages)]
        for index in range(count):
            tick = start + index
            log = START + tick * period
            if not tick % 125:
                writer.write(channels["/diagnostics"], log, log, tick, status)
            for place, (topic, template) in enumerate(zip(kinds, templates, strict=True)):
                at = log + (place + 1) * 50_000
                data = template.message((tick + 1) * period, rows[place][index])
                writer.write(channels[topic], at, at - 20_000, tick, data)
        writer.flush()
    writer.close()


class _Template:
    """A JointState of fixed names, whose stamp and values are put in."""

    def __init__(self, names: list[str], frame: str) -> None:
        self._length = 8 * len(names)
        self._data = bytearray(serialize(0, frame, names, bytes(self._length)))
        self._values = len(self._data) - self._length - 8

    def message(self, stamp: int, values: np.ndarray) -> bytes:
        struct.pack_into("<iI", self._data, 4, *divmod(stamp, 10**9))
        self._data[self._values : self._values + self._length] = values.tobytes()
        return bytes(self._data)


def _status(artifact: PolicyArtifact) -> bytes:
    kinds = _TYPES.types
    values = {
        "backend": "integer",
        "mode": "policy",
        "function_hash": artifact.function_hash,
        "session": "bench",
        "parameter.rate_limit": "0.0",
        "parameter.lockstep": "True",
    }
    pair = kinds["diagnostic_msgs/msg/KeyValue"]
    status = kinds["diagnostic_msgs/msg/DiagnosticStatus"](
        level=0,
        name="policy_node: policy",
        message="active",
        hardware_id="/policy_node",
        values=[pair(key=key, value=value) for key, value in values.items()],
    )
    stamp = kinds["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
    header = kinds["std_msgs/msg/Header"](stamp=stamp, frame_id="")
    message = kinds[_DIAGNOSTICS](header=header, status=[status])
    return bytes(_TYPES.serialize_cdr(message, _DIAGNOSTICS))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*map(int, sys.argv[1:]))
