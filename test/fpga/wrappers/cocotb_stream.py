"""Bus tests of the AXI4-Stream wrapper by cocotbext-axi."""

from __future__ import annotations

import itertools
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

N, B_IN, PER_BEAT, BEATS, M, B_OUT = (
    int(os.environ[name]) for name in ("N", "B_IN", "CODES_PER_BEAT", "BEATS", "M", "B_OUT")
)
BEAT_BYTES = -(-PER_BEAT * B_IN // 8)
OUT_BYTES = -(-M * B_OUT // 8)
# In beats; an observation of one beat can only be too long.
WRONG_LENGTHS = [1, BEATS - 1, BEATS + 1, 3 * BEATS] if BEATS > 1 else [2, 3]


async def start(dut, *, pause=0):
    cocotb.start_soon(Clock(dut.aclk, 10, unit="ns").start())
    dut.mute.value = 0
    dut.aresetn.value = 0
    options = {"clock": dut.aclk, "reset": dut.aresetn, "reset_active_level": False}
    source = AxiStreamSource(
        AxiStreamBus.from_prefix(dut, "s_axis"), byte_lanes=BEAT_BYTES, **options
    )
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), byte_lanes=OUT_BYTES, **options)
    if pause:
        draw = random.Random(pause)
        for end in (source, sink):
            end.set_pause_generator(draw.random() < 0.5 for _ in itertools.count())
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 4)
    return source, sink


def pack(codes):
    data = b""
    for beat in range(BEATS):
        bits = 0
        for i, code in enumerate(codes[beat * PER_BEAT : (beat + 1) * PER_BEAT]):
            bits |= (code & ((1 << B_IN) - 1)) << (i * B_IN)
        data += bits.to_bytes(BEAT_BYTES, "little")
    return data


def expected(codes):
    mask = (1 << B_OUT) - 1
    bits = sum(((sum(codes) + j) & mask) << (j * B_OUT) for j in range(M))
    return bits.to_bytes(OUT_BYTES, "little")


def random_codes(draw):
    return [draw.randrange(-(1 << (B_IN - 1)), 1 << (B_IN - 1)) for _ in range(N)]


async def receive(sink):
    return bytes((await with_timeout(sink.recv(), 100, "us")).tdata)


@cocotb.test()
async def observations_back_to_back(dut):
    source, sink = await start(dut)
    draw = random.Random(1)
    observations = [random_codes(draw) for _ in range(20)]
    for codes in observations:
        await source.send(AxiStreamFrame(pack(codes)))
    assert [await receive(sink) for _ in observations] == [expected(c) for c in observations]
    assert dut.malformed.value == 0


@cocotb.test()
async def random_pauses_on_both_sides(dut):
    source, sink = await start(dut, pause=2)
    draw = random.Random(3)
    observations = [random_codes(draw) for _ in range(20)]
    for codes in observations:
        await source.send(AxiStreamFrame(pack(codes)))
    assert [await receive(sink) for _ in observations] == [expected(c) for c in observations]


@cocotb.test()
async def malformed_frames_are_counted_and_the_next_one_is_answered(dut):
    source, sink = await start(dut)
    draw = random.Random(4)
    for count, beats in enumerate(WRONG_LENGTHS, start=1):
        codes = random_codes(draw)
        await source.send(AxiStreamFrame((pack(codes) * 3)[: beats * BEAT_BYTES]))
        await source.send(AxiStreamFrame(pack(codes)))
        assert await receive(sink) == expected(codes)
        assert dut.malformed.value == count
    await ClockCycles(dut.aclk, 100)
    assert sink.empty()


@cocotb.test()
async def a_good_frame_before_a_malformed_one_keeps_its_answer(dut):
    source, sink = await start(dut)
    codes = random_codes(random.Random(5))
    await source.send(AxiStreamFrame(pack(codes)))
    await source.send(AxiStreamFrame((pack(codes) * 3)[: WRONG_LENGTHS[0] * BEAT_BYTES]))
    assert await receive(sink) == expected(codes)
    await ClockCycles(dut.aclk, 100)
    assert sink.empty()
