"""Time `qpolicy latency` on a million messages and take its largest memory.

``python -m qpolicy_ros.bench.latency_reader [MESSAGES]`` writes docs/benchmarks/latency.json. The
bag has the sizes and the topics of a real one. The peer reads it message by message through
rosbags.
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
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.bench.report import conditions
from qpolicy_ros.common.files import scratch_folder, write_atomically
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter
from qpolicy_ros.nodes.serving.timing import STAGES

ROOT = Path(__file__).resolve().parents[2]
KIND = "sensor_msgs/msg/JointState"
TOPICS = {"/observation": 11, "/action_stamped": 3, "/timing": len(STAGES), "/round_trip": 1}
PERIOD = 2_000_000  # ns
START = 1_795_500_000 * 10**9


def main(messages: int = 1_000_000) -> None:
    """Write the bag, time both, print and keep the figures."""
    types = get_typestore(Stores.ROS2_JAZZY)
    with scratch_folder() as folder:
        bag = folder / "bag.mcap"
        write(bag, messages, types)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "qpolicy_ros.cli.main", "latency", str(bag), "--json"]
        child = subprocess.Popen([*command, "--out", str(folder)], stdout=subprocess.DEVNULL)
        with contextlib.suppress(PermissionError):
            # On a shared machine the time would be that of other programs.
            os.sched_setscheduler(child.pid, os.SCHED_FIFO, os.sched_param(1))
        scheduler = {os.SCHED_FIFO: "SCHED_FIFO"}.get(os.sched_getscheduler(child.pid), "other")
        if child.wait():
            raise SystemExit("qpolicy latency failed")
        seconds = time.perf_counter() - begun
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        memory = used.ru_maxrss / 1024
        begun = time.perf_counter()
        begun_cpu = time.process_time()
        with Reader(bag) as reader:
            for connection, _, data in reader.messages():
                types.deserialize_cdr(data, connection.msgtype)
        peer, peer_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        size = bag.stat().st_size / 2**20
    row = {
        "bench": "latency",
        "messages": messages,
        "bag_mib": round(size, 1),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "scheduler": scheduler,
        "largest_memory_mib": round(memory),
        "peer": "rosbags, every message deserialized, nothing computed",
        "peer_seconds": round(peer, 2),
        "peer_cpu_seconds": round(peer_cpu, 2),
        "conditions": conditions(),
    }
    text = json.dumps([row], indent=1)
    write_atomically(ROOT / "docs" / "benchmarks" / "latency.json", f"{text}\n".encode())
    print(text)  # noqa: T201  a command of its own


def write(path: Path, messages: int, types: object) -> None:
    """Write a bag of real sizes, with two backends that take turns."""
    definition, _ = types.generate_msgdef(KIND, ros_version=2)  # type: ignore[attr-defined]
    writer = McapWriter(path, "bench")
    channels = {topic: writer.add_channel(topic, KIND, definition, "") for topic in TOPICS}
    values = np.random.default_rng(0).lognormal(4.0, 0.4, (messages, 1))
    for index in range(messages // len(TOPICS)):
        backend = ("integer", "fp32")[index // 5000 % 2]
        for place, (topic, count) in enumerate(TOPICS.items()):
            log = START + index * PERIOD + place * 50_000
            numbers = np.repeat(values[index], count).tobytes()
            names = STAGES if topic == "/timing" else [f"value{i}" for i in range(count)]
            frame = backend if topic == "/timing" else ""
            data = serialize(index * PERIOD + PERIOD, frame, names, numbers)
            writer.write(channels[topic], log, log - 20_000, index, data)
        if writer.pending > 2**20:
            writer.flush()
    writer.close()


def serialize(stamp: int, frame: str, names: object, numbers: bytes) -> bytes:
    """Return a JointState, as rclpy sends it."""
    data = bytearray(b"\x00\x01\x00\x00" + struct.pack("<iI", *divmod(stamp, 10**9)))
    strings = [frame, *names]  # type: ignore[misc]
    for index, text in enumerate(strings):
        if index == 1:
            pad(data, 4)
            data += struct.pack("<I", len(strings) - 1)
        pad(data, 4)
        content = text.encode() + b"\x00"
        data += struct.pack("<I", len(content)) + content
    pad(data, 4)
    data += struct.pack("<I", len(numbers) // 8)
    pad(data, 8)
    return bytes(data + numbers + struct.pack("<II", 0, 0))


def pad(data: bytearray, to: int) -> None:
    """Fill up to a multiple of ``to`` bytes behind the encapsulation."""
    data += bytes(-(len(data) - 4) % to)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*map(int, sys.argv[1:]))
