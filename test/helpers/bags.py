"""Bags of the policy node's topics, made to measure; written by rosbags or by sqlite3 itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.latency.bag import open_bag

TYPES = get_typestore(Stores.ROS2_JAZZY)
JOINT_STATE = "sensor_msgs/msg/JointState"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
STAGES = ("age", "queue", "quantise", "infer", "publish", "total")
WALL = 1_795_500_000 * 10**9  # ns, November 2026
PERIOD = 8_000_000  # ns


class Message(NamedTuple):
    """What one entry of a bag is made of."""

    topic: str
    kind: str
    log: int
    data: bytes


def joint_state(
    stamp: int, names: Sequence[str] = (), values: Sequence[float] = (), frame: str = ""
) -> bytes:
    """Return a serialized JointState; ``stamp`` in ns."""
    kinds = TYPES.types
    time = kinds["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    message = kinds[JOINT_STATE](
        header=kinds["std_msgs/msg/Header"](stamp=time, frame_id=frame),
        name=list(names),
        position=np.array(values, np.float64),
        velocity=np.empty(0),
        effort=np.empty(0),
    )
    return bytes(TYPES.serialize_cdr(message, JOINT_STATE))


def report(values: dict[str, str], name: str = "policy_node: policy", hardware: str = "") -> bytes:
    """Return a serialized status of the policy node."""
    kinds = TYPES.types
    status = kinds["diagnostic_msgs/msg/DiagnosticStatus"](
        level=0,
        name=name,
        message="active",
        hardware_id=hardware,
        values=[
            kinds["diagnostic_msgs/msg/KeyValue"](key=key, value=value)
            for key, value in values.items()
        ],
    )
    time = kinds["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
    message = kinds[DIAGNOSTICS](
        header=kinds["std_msgs/msg/Header"](stamp=time, frame_id=""), status=[status]
    )
    return bytes(TYPES.serialize_cdr(message, DIAGNOSTICS))


def answers(
    latencies: Sequence[float],
    backend: str = "integer",
    *,
    start: int = WALL,
    stamp: int = PERIOD,
    prefix: str = "",
) -> list[Message]:
    """Return observations, actions and timing of answers that took ``latencies`` µs.

    A quarter each is age (half of it queue) and infer, the rest publishing.
    """
    found = []
    for index, latency in enumerate(latencies):
        stamped, now = stamp + index * PERIOD, start + index * PERIOD
        stages = [latency / 4, latency / 8, 0.0, latency / 4, latency / 2, latency * 3 / 4]
        after = now + round(latency * 1000)
        for topic, time, data in (
            ("observation", now, joint_state(stamped, ["x"], [1.0])),
            ("action_stamped", after, joint_state(stamped, ["u"], [0.5])),
            ("timing", after + 1000, joint_state(stamped, STAGES, stages, backend)),
        ):
            found.append(Message(f"{prefix}/{topic}", JOINT_STATE, time, data))
    return found


def reported(log: int = WALL, **values: str) -> Message:
    """Return a status message."""
    facts = {"backend": "integer", "function_hash": "ab" * 32, "period_ms": "8", **values}
    return Message("/diagnostics", DIAGNOSTICS, log, report(facts))


def write_bag(
    path: Path,
    messages: Sequence[Message],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    version: int = 9,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a bag by rosbags."""
    writer = Writer(path, version=version, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=TYPES)
            for topic, kind in dict.fromkeys((each.topic, each.kind) for each in messages)
        }
        for each in messages:
            writer.write(connections[each.topic], each.log, each.data)
    return path


def write_humble(path: Path, messages: Sequence[Message]) -> Path:
    """Write a bag as rosbag2 of Humble does: sqlite3, metadata of version 5."""
    path.mkdir()
    topics = list(dict.fromkeys((each.topic, each.kind) for each in messages))
    with sqlite3.connect(path / f"{path.name}_0.db3") as file:
        file.executescript(
            """
            CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
            CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL,
              metadata TEXT NOT NULL);
            CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
              serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
            CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
              timestamp INTEGER NOT NULL, data BLOB NOT NULL);
            CREATE INDEX timestamp_idx ON messages (timestamp ASC);
            INSERT INTO schema VALUES (3, 'humble');
            """
        )
        for index, (topic, kind) in enumerate(topics):
            file.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", (index + 1, topic, kind))
        for each in messages:
            place = topics.index((each.topic, each.kind)) + 1
            row = (place, each.log, each.data)
            file.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", row)
    file.close()
    times = [each.log for each in messages]
    span = {
        "starting_time": {"nanoseconds_since_epoch": min(times)},
        "duration": {"nanoseconds": max(times) - min(times)},
        "message_count": len(messages),
    }
    name = f"{path.name}_0.db3"
    information = {
        "version": 5,
        "storage_identifier": "sqlite3",
        **span,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic,
                    "type": kind,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": "",
                },
                "message_count": sum(each.topic == topic for each in messages),
            }
            for topic, kind in topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [name],
        "files": [{"path": name, **span}],
    }
    text = json.dumps({"rosbag2_bagfile_information": information})  # JSON is YAML
    (path / "metadata.yaml").write_text(text)
    return path


def topics_of(path) -> dict[str, int]:
    """Return how many messages of each topic are read from a bag."""
    counts: dict[str, int] = {}
    for batch in open_bag(path).batches(lambda *_: True):
        counts[batch.topic] = counts.get(batch.topic, 0) + len(batch.log)
    return counts
