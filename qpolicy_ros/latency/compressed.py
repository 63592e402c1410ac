"""Unpacks what rosbag2 has compressed, files or single messages; no more than is said here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rosbags.rosbag2.errors import ReaderError

from qpolicy_ros.latency.mcap import Batch

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError, ZstdFile
else:
    from backports.zstd import ZstdDecompressor, ZstdError, ZstdFile

MODES = ("none", "file", "message")
FORMAT = "zstd"  # the one that rosbag2 has
_MOST_FILE_BYTES = 16 << 30
_MOST_MESSAGE_BYTES = 64 << 20  # a camera's largest images take some megabytes
_HELD_BYTES = 64 << 20  # of messages in a batch
_PIECE = 1 << 20


def unpack_file(packed: Path, target: Path) -> None:
    """Write what ``packed`` holds to ``target``.

    Raises:
        ReaderError: it is damaged or too large; how large shows only in unpacking, for its header
            speaks of its first part alone.
        OSError: it cannot be read, or there is no room.
    """
    left = _MOST_FILE_BYTES
    try:
        with ZstdFile(packed, "rb") as source, target.open("wb") as file:
            while piece := source.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    text = f"{packed.name} unpacks to more than {_MOST_FILE_BYTES} bytes"
                    raise ReaderError(f"{text}; unpack it by `zstd -d`, give the file")
                file.write(piece)
    except (ZstdError, EOFError) as error:
        raise ReaderError(f"{packed.name} cannot be unpacked: {error}") from error


def unpack_messages(batch: Batch) -> Iterator[Batch]:
    """Yield a batch's messages unpacked, in batches that fit into memory.

    Raises:
        ReaderError: one is damaged or too large; those before it have been yielded.
    """
    done, held = Batch.of(batch.topic, batch.kind), 0
    trouble = None
    for index, data in enumerate(batch.payloads):
        try:
            payload = unpack_message(data)
        except ReaderError as error:
            trouble = error
            break
        done.payloads.append(payload)
        done.log.append(batch.log[index])
        done.publish.extend(batch.publish[index : index + 1])
        done.places.append(batch.places[index])
        held += len(payload)
        if held >= _HELD_BYTES:
            yield done
            done, held = Batch.of(batch.topic, batch.kind), 0
    if done.log:
        yield done
    if trouble is not None:
        raise trouble


def unpack_message(data: bytes) -> bytes:
    """Return one message; no more memory is taken than a message may have.

    Raises:
        ReaderError: it is damaged or too large.
    """
    unpacker = ZstdDecompressor()
    try:
        payload = unpacker.decompress(data, max_length=_MOST_MESSAGE_BYTES + 1)
    except ZstdError as error:
        raise ReaderError(f"a message cannot be unpacked: {error}") from error
    if len(payload) > _MOST_MESSAGE_BYTES:
        raise ReaderError(f"a message unpacks to more than {_MOST_MESSAGE_BYTES} bytes")
    if not unpacker.eof:
        raise ReaderError("a message cannot be unpacked: it is cut")
    return payload
