"""Faults of a serial line, drawn from a seeded generator."""

from __future__ import annotations

import random

FAULTS = ("flip", "burst", "drop", "duplicate", "cut", "repeat", "noise")


def spoil(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Return ``data`` with one fault of ``kind``; an unknown kind changes nothing.

    ``flip`` one bit, ``burst`` up to 16 bits in a row (which a CRC-16 always notices), ``drop`` and
    ``duplicate`` one byte, ``cut`` the end, ``repeat`` the whole, ``noise`` before it.
    """
    if not data:
        return data
    at = rng.randrange(len(data))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == "burst":
        value = int.from_bytes(data, "little")
        value ^= rng.randrange(1, 1 << 16) << rng.randrange(8 * len(data))
        return (value & ((1 << 8 * len(data)) - 1)).to_bytes(len(data), "little")
    changed = {
        "drop": data[:at] + data[at + 1 :],
        "duplicate": data[: at + 1] + data[at:],
        "cut": data[:at],
        "repeat": data + data,
        "noise": rng.randbytes(rng.randrange(1, 12)) + data,
    }
    return changed.get(kind, data)
