"""The supervisor by itself: beats, interrupted observations, orders to forget, planted faults."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qpolicy_fpga.emit.supervisor import emit_supervisor
from qpolicy_ros.policy.seen import SeenCodes

pytestmark = pytest.mark.skipif(shutil.which("iverilog") is None, reason="no iverilog")
BENCH = Path(__file__).with_name("bench_supervisor.v")
BEAT, PAUSE, STOP, FORGET, REPORT = range(5)
SHAPES = {  # values, bits of a code, codes a beat
    "one beat": (11, 8, 11),
    "two beats": (40, 4, 32),
    "many beats, a short one last": (100, 2, 9),
    "full beats": (64, 3, 32),
    "one value": (1, 2, 1),
}
FAULTS = (
    ("code < low", "code <= low"),
    ("code < low", "code > low"),
    ("code > high", "code >= high"),
    ("code < low || code > high", "code < low && code > high"),
    ("wire signed [B_IN-1:0] code", "wire [B_IN-1:0] code"),
    ("waiting[found_beat] <= found", "waiting[0] <= found"),
    ("any <= !found_last && (any ||", "any <= !found_last && (1'b0 &&"),
    ("any <= 1'b0;", ""),
    ("if (any || found", "if (found"),
    ("old_flags | (", "old_flags ^ ("),
    ("clears ? 32'd0 : old_count", "old_count"),
    ("clears ? 32'd0 : old_flags", "old_flags"),
    ("at_beat <= at_beat + 1'b1", "at_beat <= at_beat"),
    ("observations <= 32'd0", "observations <= observations"),
    ("clearing && !under_way && !taken", "clearing && !taken"),
    ("under_way <= 1'b0;", ""),
    ("!(found_valid && found_last)", "1'b1"),
    ("state == IDLE && !(", "!("),
)


def seen_codes(n, bits, seed=1):
    """Ranges of all sizes, the whole of what a code can be among them."""
    rng = np.random.default_rng(seed)
    half = 1 << (bits - 1)
    ends = np.sort(rng.integers(-half, half, (2, n)), axis=0).astype(np.int32)
    ends[:, :: max(2, n // 3)] = [[-half], [half - 1]]
    return SeenCodes(ends[0], ends[1], 50, "random ones")


def play(shape, seen, steps=400, seed=2):
    """Words for the bench, and what it must print; the software counts beside."""
    n, bits, codes = shape
    rng = np.random.default_rng(seed)
    beats, half = -(-n // codes), 1 << (bits - 1)
    counts, flags, observations = np.zeros(n, int), np.zeros(n, int), 0
    words, lines = [], []
    for _ in range(steps):
        row = rng.integers(seen.low, seen.high + 1)
        wild = rng.random(n) < rng.choice([0.0, 0.02, 1.0], p=[0.5, 0.3, 0.2])
        row = np.where(wild, rng.integers(-half, half, n), row)
        padded = np.concatenate([row, rng.integers(-half, half, beats * codes - n)])
        # Some observations are broken off: they do not count.
        whole = rng.random() < 0.9
        sent = beats if whole else int(rng.integers(0, beats))
        forget_at = int(rng.integers(0, beats)) if rng.random() < 0.1 else -1
        for beat in range(sent):
            if beat == forget_at:
                words.append((FORGET, 0))
            packed = padded[beat * codes : (beat + 1) * codes] & ((1 << bits) - 1)
            words.append((BEAT, sum(int(code) << (bits * i) for i, code in enumerate(packed))))
            # Now and then long enough for a whole clearing.
            words += [(PAUSE, 0)] * int(2 * n if rng.random() < 0.05 else rng.integers(0, 2))
        if not whole:
            words.append((STOP, 0))
        else:
            out = (row < seen.low) | (row > seen.high)
            counts, flags = counts + out, flags | out
            observations += bool(out.any())
        if 0 <= forget_at < sent:
            # An order to forget waits for the end of an observation; before the first beat not.
            after = forget_at > 0
            gone = np.ones(n, bool)
            counts = np.where(gone, 0, counts) if after else (out * whole).astype(int)
            flags = np.zeros(n, int) if after else (out * whole).astype(int)
            observations = 0 if after else int(whole and out.any())
        if rng.random() < 0.3:
            words += [(PAUSE, 0), (REPORT, 0)]
            pairs = " ".join(f"{count} {flag}" for count, flag in zip(counts, flags, strict=True))
            lines.append(f"{observations} {pairs}")
    return words, lines


def simulate(text, shape, words, folder):
    """What the bench prints with the supervisor ``text``, up to where it hangs."""
    n, bits, codes = shape
    width = codes * bits
    folder.mkdir(exist_ok=True)
    (folder / "supervisor.v").write_text(text)
    digits = -(-(width + 3) // 4)
    rows = "\n".join(f"{kind << width | data:0{digits}x}" for kind, data in words)
    (folder / "words.hex").write_text(rows + "\n")
    beats = -(-n // codes)
    values = {"N": n, "WIDTH": width, "BEATS": beats, "WORDS": len(words)}
    values["BEAT_W"] = max(1, (beats - 1).bit_length())
    given = [f"-Pbench_supervisor.{name}={value}" for name, value in values.items()]
    command = ["iverilog", "-g2005", "-o", "bench", *given, "supervisor.v", str(BENCH)]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    done = subprocess.run(
        ["vvp", "bench"], cwd=folder, capture_output=True, text=True, timeout=300, check=True
    )
    return [line for line in done.stdout.splitlines() if not line.startswith("bench")]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_counts_what_the_software_counts(shape, tmp_path):
    seen = seen_codes(*shape[:2])
    words, lines = play(shape, seen)
    found = simulate(emit_supervisor(seen, shape[1], shape[2]), shape, words, tmp_path)
    assert found == lines
    assert len(lines) > 50


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0]} to {fault[1]}")
def test_a_planted_fault_is_found(fault, tmp_path):
    shape = SHAPES["many beats, a short one last"]
    seen = seen_codes(*shape[:2])
    words, lines = play(shape, seen)
    text = emit_supervisor(seen, shape[1], shape[2])
    assert fault[0] in text
    assert simulate(text.replace(*fault, 1), shape, words, tmp_path) != lines
