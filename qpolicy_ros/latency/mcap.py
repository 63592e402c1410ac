"""Scans an MCAP file from its beginning, as far as it goes.

rosbags reads MCAP too, but refuses a file without its end, which a killed recorder or a full disk
leaves, and does not hand out the time of sending. The format is that of https://mcap.dev/spec.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lz4.frame import LZ4FrameDecompressor
from rosbags.rosbag2.errors import ReaderError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor
else:
    from backports.zstd import ZstdDecompressor

MAGIC = b"\x89MCAP0\r\n"

_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_READ = (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK)
_HEAD = struct.Struct("<BQ")
_TIMES = struct.Struct("<HIQQ")
BATCH = 20_000  # messages, of every storage
LATEST = 2**63 - 1  # ns, of a message's time
_MOST_BYTES = 1 << 30  # of one chunk; rosbag2 writes some megabytes


class Batch(NamedTuple):
    """Messages of one topic, in the order of the file.

    Attributes:
        topic: its full name.
        kind: type of its messages, as ``sensor_msgs/msg/JointState``.
        log: times of arrival, ns.
        publish: times of sending, ns; empty where the storage has none.
        payloads: serialized messages (CDR).
        places: numbers of the messages in the file, of all topics.
    """

    topic: str
    kind: str
    log: list[int]
    publish: list[int]
    payloads: list[bytes]
    places: list[int]

    @classmethod
    def of(cls, topic: str, kind: str) -> Batch:
        """Return an empty one."""
        return cls(topic, kind, [], [], [], [])


Wanted = Callable[[str, str], bool]


@dataclass
class Scan:
    """Reads one file.

    Attributes:
        path: the file.
        wanted: whether to keep the messages of a topic and type.
        topics: types of all topics found so far, by name.
        count: messages of all topics found so far.
        problem: why reading ended before the file's end, empty if it did not.
    """

    path: Path
    wanted: Wanted
    topics: dict[str, str] = field(default_factory=dict)
    count: int = 0
    problem: str = ""
    _schemas: dict[int, str] = field(default_factory=dict)
    _channels: dict[int, tuple[str, str]] = field(default_factory=dict)
    _batches: dict[int, Batch] = field(default_factory=dict)

    def batches(self) -> Iterator[Batch]:
        """Yield the wanted messages in batches; OSError if the file cannot be read."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(len(MAGIC)) != MAGIC:
                self.problem = "is empty" if not size else "does not begin as MCAP does"
                return
            yield from self._records(file, size)
        yield from self._flush()

    def _records(self, file: BinaryIO, size: int) -> Iterator[Batch]:
        while True:
            start = file.tell()
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                self.problem = f"ends without its end mark after {size} bytes"
                return
            operation, length = _HEAD.unpack(head)
            if operation in (_DATA_END, _FOOTER):
                return
            left = size - file.tell()
            if length > left:
                self.problem = (
                    f"ends inside the record at byte {start}: {length - left} are missing"
                )
                if operation == _CHUNK:
                    self._chunk(file.read(left), whole=False)
                return
            if operation in _READ:
                content = file.read(length)
                chunk = operation == _CHUNK
                sound = self._chunk(content, whole=True) if chunk else self._content(head + content)
                if not sound:
                    self.problem = f"is damaged at byte {start}: {self.problem or 'cut record'}"
                    return
            else:
                file.seek(length, os.SEEK_CUR)
            if any(len(batch.log) >= BATCH for batch in self._batches.values()):
                yield from self._flush()

    def _flush(self) -> Iterator[Batch]:
        yield from self._batches.values()
        self._batches = {}

    def _chunk(self, record: bytes, *, whole: bool) -> bool:
        """Read a chunk's records, those that are there; return whether it is sound."""
        try:
            _, _, unpacked, checksum = struct.unpack_from("<QQQI", record)
            compression, offset = _text(record, 28)
            (length,) = struct.unpack_from("<Q", record, offset)
            content = record[offset + 8 : offset + 8 + length]
            if whole:
                content = unpack(content, compression, unpacked, checksum)
            elif compression:
                return False
        except ReaderError as error:
            self.problem = str(error).rstrip(".")
            return False
        except Exception as error:  # noqa: BLE001  each decompressor has errors of its own
            self.problem = f"a chunk cannot be unpacked ({error})"
            return False
        return self._content(content)

    def _content(self, content: bytes) -> bool:
        """Read consecutive records; return whether they are sound up to the content's end."""
        try:
            return self._walk(content)
        except (struct.error, UnicodeDecodeError):
            return False

    def _walk(self, content: bytes) -> bool:
        place, end = 0, len(content)
        unpack_head, unpack_times = _HEAD.unpack_from, _TIMES.unpack_from
        while place + 9 <= end:
            operation, length = unpack_head(content, place)
            start = place + 9
            place = start + length
            if place > end:
                return False
            if operation == _MESSAGE:
                if length < 22:
                    return False
                channel, _, log, publish = unpack_times(content, start)
                if log > LATEST or publish > LATEST:
                    self.problem = "a time is beyond the year 2262"
                    return False
                self.count += 1
                batch = self._batches.get(channel)
                if batch is None:
                    batch = self._open(channel)
                    if batch is None:
                        continue
                batch.log.append(log)
                batch.publish.append(publish)
                batch.payloads.append(content[start + 22 : place])
                batch.places.append(self.count)
            elif operation == _SCHEMA:
                (number,) = struct.unpack_from("<H", content, start)
                self._schemas[number] = _text(content, start + 2)[0]
            elif operation == _CHANNEL:
                number, schema = struct.unpack_from("<HH", content, start)
                topic, _ = _text(content, start + 4)
                kind = self._schemas.get(schema, "")
                self._channels[number] = (topic, kind)
                self.topics[topic] = kind
        return place == end

    def _open(self, channel: int) -> Batch | None:
        """Return a batch for ``channel``, None if nobody wants its messages."""
        topic, kind = self._channels.get(channel, ("", ""))
        if not self.wanted(topic, kind):
            return None
        batch = self._batches[channel] = Batch.of(topic, kind)
        return batch


def unpack(data: bytes, compression: str, size: int, checksum: int) -> bytes:
    """Return a chunk's content; no more memory is taken than ``size``, which is bounded.

    Raises:
        ReaderError: too large, of another size, of an unknown compression, or damaged.
    """
    if size > _MOST_BYTES:
        raise ReaderError(f"a chunk of {size} bytes, at most {_MOST_BYTES} are read")
    if compression == "lz4":
        data = LZ4FrameDecompressor().decompress(data, max_length=size + 1)
    elif compression == "zstd":
        data = ZstdDecompressor().decompress(data, max_length=size + 1)
    elif compression:
        raise ReaderError(f"a chunk has the unknown compression {compression!r:.40}")
    if len(data) != size:
        raise ReaderError(f"a chunk does not unpack to the {size} bytes that it names")
    if checksum and zlib.crc32(data) != checksum:
        raise ReaderError("a chunk's checksum is wrong")
    return data


def _text(content: bytes, offset: int) -> tuple[str, int]:
    """Return the string at ``offset`` and the offset behind it."""
    (length,) = struct.unpack_from("<I", content, offset)
    end = offset + 4 + length
    if end > len(content):
        raise struct.error
    return content[offset + 4 : end].decode(), end
