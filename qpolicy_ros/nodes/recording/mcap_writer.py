"""An MCAP file that is complete on the disk after every flush.

Libraries write the summary, without which readers refuse the file, when it is closed: a recorder
that is killed leaves nothing to read. Here each flush writes the new messages over the old
summary, and a new summary behind them. The format is that of https://mcap.dev/spec.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

MAGIC = b"\x89MCAP0\r\n"

_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_MESSAGE_INDEX, _CHUNK_INDEX, _STATISTICS, _SUMMARY_OFFSET, _DATA_END = 0x07, 0x08, 0x0B, 0x0E, 0x0F
_NEVER = 2**63 - 1


class McapWriter:
    """Writes messages of ROS 2; nothing is on the disk before :meth:`flush`.

    Args:
        path: file to make; must not exist.
        library: name of the writing program, for the file's header.

    Attributes:
        counts: messages written, by channel.
        start, end: smallest and largest log time, ns; ``start`` > ``end`` without messages.
        pending: bytes that wait for the next flush.

    Raises:
        OSError: the file cannot be made or written.
    """

    def __init__(self, path: Path, library: str) -> None:
        self._file = path.open("xb", buffering=0)
        self._schemas: dict[str, int] = {}
        self._records: list[bytes] = []  # schemas and channels, for the summary
        self._chunks: list[bytes] = []  # chunk indexes, for the summary
        self._chunk = bytearray()
        self._index: dict[int, bytearray] = {}
        self._chunk_start, self._chunk_end = _NEVER, 0
        self.counts: dict[int, int] = {}
        self.start, self.end = _NEVER, 0
        head = MAGIC + _record(_HEADER, _string("ros2") + _string(library))
        self._end = len(head)  # of what is kept; the summary follows
        self._tail = b""
        self._put(0, head)
        self.flush()

    @property
    def pending(self) -> int:
        """Bytes that wait for the next flush."""
        return len(self._chunk)

    @property
    def tail(self) -> int:
        """Size of the summary, which each flush writes again, bytes."""
        return len(self._tail)

    def add_channel(self, topic: str, kind: str, definition: str, qos: str) -> int:
        """Declare a topic and return its channel's number.

        Args:
            topic: its full name.
            kind: type of its messages, as ``sensor_msgs/msg/JointState``.
            definition: the type's text and that of the types it uses (``ros2msg``).
            qos: offered profiles, YAML.
        """
        if kind not in self._schemas:
            number = self._schemas[kind] = len(self._schemas) + 1
            content = _string(kind) + _string("ros2msg") + _string(definition)
            self._declare(_record(_SCHEMA, struct.pack("<H", number) + content))
        channel = len(self.counts) + 1
        self.counts[channel] = 0
        facts = _string("offered_qos_profiles") + _string(qos)
        content = _string(topic) + _string("cdr") + struct.pack("<I", len(facts)) + facts
        head = struct.pack("<HH", channel, self._schemas[kind])
        self._declare(_record(_CHANNEL, head + content))
        return channel

    def write(self, channel: int, log: int, publish: int, sequence: int, data: bytes) -> None:
        """Keep one message for the next flush.

        Args:
            channel: from :meth:`add_channel`.
            log: when it arrived, ns.
            publish: when it was sent, ns.
            sequence: the publisher's number of the message, 0 = unknown.
            data: serialized message (CDR).
        """
        offset = len(self._chunk)
        size = 22 + len(data)
        self._chunk += struct.pack("<BQHIQQ", _MESSAGE, size, channel, sequence, log, publish)
        self._chunk += data
        self._index.setdefault(channel, bytearray()).extend(struct.pack("<QQ", log, offset))
        self._chunk_start, self._chunk_end = min(self._chunk_start, log), max(self._chunk_end, log)
        self.counts[channel] += 1

    def flush(self) -> None:
        """Write the pending messages; afterwards the file is complete again.

        Raises:
            OSError: it cannot be written (disk full); what was on the disk stays readable.
        """
        chunk, index, end = b"", b"", self._end
        if self._chunk:
            content = bytes(self._chunk)
            head = struct.pack("<QQQI", *self._times(), len(content), crc32(content))
            chunk = _record(_CHUNK, head + _string("") + struct.pack("<Q", len(content)) + content)
            offsets = b""
            for channel, entries in self._index.items():
                offsets += struct.pack("<HQ", channel, end + len(chunk) + len(index))
                sized = struct.pack("<HI", channel, len(entries)) + entries
                index += _record(_MESSAGE_INDEX, sized)
            place = struct.pack("<QQQQI", *self._times(), end, len(chunk), len(offsets)) + offsets
            place += struct.pack("<Q", len(index)) + _string("")
            place += struct.pack("<QQ", len(content), len(content))
            self._chunks.append(_record(_CHUNK_INDEX, place))
        start, last = min(self.start, self._chunk_start), max(self.end, self._chunk_end)
        tail = self._summary(end + len(chunk) + len(index), start, last)
        try:
            self._put(end, chunk + index + tail)
        except OSError:
            if chunk:
                self._chunks.pop()
            self._file.truncate(end)
            self._put(end, self._tail)
            raise
        self._end, self._tail, self.start, self.end = end + len(chunk + index), tail, start, last
        self._chunk.clear()
        self._index.clear()
        self._chunk_start, self._chunk_end = _NEVER, 0

    def close(self) -> None:
        """Flush and close; OSError as for :meth:`flush`, the file is closed all the same."""
        try:
            self.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _declare(self, record: bytes) -> None:
        self._records.append(record)
        self._chunk += record

    def _times(self) -> tuple[int, int]:
        """Times of the chunk's messages; zeros if it only declares."""
        return (self._chunk_start, self._chunk_end) if self._index else (0, 0)

    def _put(self, offset: int, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            offset, view = offset + written, view[written:]

    def _summary(self, offset: int, start: int, end: int) -> bytes:
        """Return what follows the messages, from ``offset`` to the end of the file."""
        data_end = _record(_DATA_END, struct.pack("<I", 0))
        counts = b"".join(struct.pack("<HQ", *item) for item in self.counts.items())
        found = sum(self.counts.values())
        sizes = (found, len(self._schemas), len(self.counts), 0, 0, len(self._chunks))
        times = (start, end) if found else (0, 0)
        statistics = struct.pack("<QHIIIIQQI", *sizes, *times, len(counts)) + counts
        groups = (
            (_SCHEMA, _of(_SCHEMA, self._records)),
            (_CHANNEL, _of(_CHANNEL, self._records)),
            (_CHUNK_INDEX, b"".join(self._chunks)),
            (_STATISTICS, _record(_STATISTICS, statistics)),
        )
        summary_start = place = offset + len(data_end)
        summary, offsets = b"", b""
        for operation, group in groups:
            if group:
                where = struct.pack("<BQQ", operation, place, len(group))
                offsets += _record(_SUMMARY_OFFSET, where)
            summary += group
            place += len(group)
        # The checksum covers the footer's own offsets too.
        opening = struct.pack("<BQQQ", _FOOTER, 20, summary_start, place)
        checked = summary + offsets + opening
        return data_end + checked + struct.pack("<I", crc32(checked)) + MAGIC


def _record(operation: int, content: bytes) -> bytes:
    return struct.pack("<BQ", operation, len(content)) + content


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<I", len(content)) + content


def _of(operation: int, records: Iterable[bytes]) -> bytes:
    return b"".join(record for record in records if record[0] == operation)
