"""A rosbag2 folder that can be read at any time while it is being written, even after a kill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros import __version__
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter

#: The newest layout of ``metadata.yaml`` that Humble reads too.
_VERSION = 8

_CHUNK = 1 << 20  # bytes
_FLUSH = 1.0  # s
_REWRITE = 1e6  # bytes of summary a second, at most


class BagFolder:
    """Writes messages into ``<path>/<name>_0.mcap`` beside ``<path>/metadata.yaml``.

    Args:
        path: folder to make; must not exist.

    Raises:
        OSError: the folder exists or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self._path = path
        self._name = f"{path.resolve().name}_0.mcap"
        self._writer = McapWriter(path / self._name, f"qpolicy_ros {__version__}")
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._topics: list[tuple[int, str, str, str]] = []
        self._flushed = time.monotonic()
        self._describe()

    @property
    def count(self) -> int:
        """Messages so far."""
        return sum(self._writer.counts.values())

    def add_topic(self, name: str, kind: str, offered: Sequence[QoSProfile]) -> int:
        """Declare a topic and return its number; ``offered`` is what its publishers offer."""
        definition, _ = self._types.generate_msgdef(kind, ros_version=2)
        profiles = qos_yaml(offered)
        number = self._writer.add_channel(name, kind, definition, profiles)
        self._topics.append((number, name, kind, profiles))
        return number

    def write(self, topic: int, log: int, publish: int, sequence: int, data: bytes) -> None:
        """Take one message, see :meth:`McapWriter.write`; OSError if a flush fails."""
        self._writer.write(topic, log, publish, sequence, data)
        if self._writer.pending > _CHUNK:
            self.flush()

    def flush_if_due(self) -> None:
        """Flush if the last time is a second ago, or longer where the summary has grown large."""
        wait = max(_FLUSH, self._writer.tail / _REWRITE)
        if self._writer.pending and time.monotonic() - self._flushed >= wait:
            self.flush()

    def flush(self) -> None:
        """Put everything on the disk; OSError if that fails."""
        self._flushed = time.monotonic()
        self._writer.flush()
        self._describe()

    def close(self) -> None:
        """Finish the bag; OSError if that fails."""
        self._writer.close()
        self._describe()

    def _describe(self) -> None:
        """Write ``metadata.yaml``."""
        writer = self._writer
        start, end = (writer.start, writer.end) if writer.start <= writer.end else (0, 0)
        span = [
            f"starting_time: {{nanoseconds_since_epoch: {start}}}",
            f"duration: {{nanoseconds: {end - start}}}",
            f"message_count: {self.count}",
        ]
        lines = [
            f"version: {_VERSION}",
            "storage_identifier: mcap",
            *span,
            "topics_with_message_count:" + ("" if self._topics else " []"),
        ]
        digest = self._types.hash_rihs01
        for number, name, kind, profiles in self._topics:
            lines += [
                "  - topic_metadata:",
                f"      name: {json.dumps(name)}",
                f"      type: {kind}",
                "      serialization_format: cdr",
                f"      offered_qos_profiles: {json.dumps(profiles)}",
                f"      type_description_hash: {digest(kind)}",
                f"    message_count: {writer.counts[number]}",
            ]
        lines += [
            'compression_format: ""',
            'compression_mode: ""',
            "relative_file_paths:",
            f"  - {json.dumps(self._name)}",
            "files:",
            f"  - path: {json.dumps(self._name)}",
            *(f"    {line}" for line in span),
            "custom_data: {}",
            f"ros_distro: {json.dumps(os.environ.get('ROS_DISTRO', 'unknown'))}",
        ]
        text = "rosbag2_bagfile_information:\n" + "".join(f"  {line}\n" for line in lines)
        # By renaming, but never synced: a kill does not lose what the kernel has, and waiting for
        # the disk once a second would lose messages.
        new = self._path / ".metadata.yaml"
        new.write_text(text, encoding="utf-8")
        new.replace(self._path / "metadata.yaml")


def qos_yaml(profiles: Sequence[QoSProfile]) -> str:
    """Return profiles as rosbag2 of Humble to Kilted reads them, with the middleware's numbers."""
    lines = []
    for profile in profiles:
        bare = str(profile.avoid_ros_namespace_conventions).lower()
        lines += [
            f"- history: {int(profile.history)}",
            f"  depth: {profile.depth}",
            f"  reliability: {int(profile.reliability)}",
            f"  durability: {int(profile.durability)}",
            f"  deadline: {_span(profile.deadline)}",
            f"  lifespan: {_span(profile.lifespan)}",
            f"  liveliness: {int(profile.liveliness)}",
            f"  liveliness_lease_duration: {_span(profile.liveliness_lease_duration)}",
            f"  avoid_ros_namespace_conventions: {bare}",
        ]
    return "\n".join(lines)


def _span(duration: Duration) -> str:
    seconds, nanoseconds = divmod(duration.nanoseconds, 1_000_000_000)
    return f"{{sec: {seconds}, nsec: {nanoseconds}}}"
