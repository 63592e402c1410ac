"""Bus tests of the AXI4-Lite wrapper and the timeout block, by cocotbext-axi, not our driver.

The register addresses are written out: a wrong number in the table must fail here.
"""

from __future__ import annotations

import itertools
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

N, B_IN, PER_BEAT, BEATS, M, B_OUT, LATENCY = (
    int(os.environ[name])
    for name in ("N", "B_IN", "CODES_PER_BEAT", "BEATS", "M", "B_OUT", "LATENCY")
)
CONTROL, STATUS, ERROR, CYCLES, INFERENCES = 0x024, 0x028, 0x02C, 0x030, 0x034
IRQ_ENABLE, IRQ_STATUS, OUTPUT, INPUT = 0x038, 0x03C, 0x080, 0x400
WORDS = -(-PER_BEAT * B_IN // 32)
POISON = 0xDEADBEEF


async def start(dut, *, pause=0, prefix="s_axi"):
    """A master on the design with an error response, or on the one of the board (``q_axi``)."""
    cocotb.start_soon(Clock(dut.aclk, 10, unit="ns").start())
    dut.mute.value = 0
    dut.aresetn.value = 0
    bus = AxiLiteBus.from_prefix(dut, prefix)
    master = AxiLiteMaster(bus, dut.aclk, dut.aresetn, reset_active_level=False)
    if pause:
        draw = random.Random(pause)
        for channel in (
            master.write_if.aw_channel,
            master.write_if.w_channel,
            master.write_if.b_channel,
            master.read_if.ar_channel,
            master.read_if.r_channel,
        ):
            channel.set_pause_generator(draw.random() < 0.5 for _ in itertools.count())
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 4)
    return master


async def read(master, address):
    answer = await with_timeout(master.read(address, 4), 100, "us")
    return int.from_bytes(answer.data, "little"), answer.resp


async def write(master, address, value):
    data = value.to_bytes(4, "little")
    return (await with_timeout(master.write(address, data), 100, "us")).resp


def pack(codes):
    """Words of an observation, bit by bit as the document says."""
    words = []
    for beat in range(BEATS):
        bits = 0
        for i, code in enumerate(codes[beat * PER_BEAT : (beat + 1) * PER_BEAT]):
            bits |= (code & ((1 << B_IN) - 1)) << (i * B_IN)
        words += [bits >> (32 * word) & 0xFFFFFFFF for word in range(WORDS)]
    return words


def expected(codes):
    return [(sum(codes) + j) & ((1 << B_OUT) - 1) for j in range(M)]


async def infer(master, codes):
    for index, word in enumerate(pack(codes)):
        assert await write(master, INPUT + 4 * index, word) == AxiResp.OKAY
    assert await write(master, CONTROL, 1) == AxiResp.OKAY
    for _ in range(1000):
        status, _ = await read(master, STATUS)
        if status & 4:
            break
    assert status == 0b0101
    bits = 0
    for index in range(-(-M * B_OUT // 32)):
        bits |= (await read(master, OUTPUT + 4 * index))[0] << (32 * index)
    return [bits >> (j * B_OUT) & ((1 << B_OUT) - 1) for j in range(M)]


def random_codes(draw):
    return [draw.randrange(-(1 << (B_IN - 1)), 1 << (B_IN - 1)) for _ in range(N)]


@cocotb.test()
async def identity_is_readable(dut):
    master = await start(dut)
    words = [(await read(master, address))[0] for address in range(0, 0x24, 4)]
    assert words == [
        0x51504F4C,
        0x00010001,
        0x00112233,
        0x44556677,
        0x8899AABB,
        0xCCDDEEFF,
        M << 16 | N,
        B_OUT << 8 | B_IN,
        BEATS << 16 | PER_BEAT,
    ]


@cocotb.test()
async def random_observations_with_random_pauses(dut):
    master = await start(dut, pause=1)
    draw = random.Random(2)
    for count in range(1, 11):
        codes = random_codes(draw)
        assert await infer(master, codes) == expected(codes)
        assert (await read(master, INFERENCES))[0] == count


@cocotb.test()
async def cycles_are_counted_from_the_first_beat_to_the_output(dut):
    master = await start(dut)
    await infer(master, [0] * N)
    # The stand-in core answers LATENCY + 1 cycles after its last beat.
    assert (await read(master, CYCLES))[0] == BEATS - 1 + LATENCY + 1


@cocotb.test()
async def output_stays_until_the_next_inference_is_done(dut):
    master = await start(dut)
    codes = random_codes(random.Random(4))
    answer = await infer(master, codes)
    for index, word in enumerate(pack([1] * N)):
        await write(master, INPUT + 4 * index, word)
    assert (await read(master, STATUS))[0] == 0b0101
    value, _ = await read(master, OUTPUT)
    assert value & ((1 << B_OUT) - 1) == answer[0]


async def refused(master, address, value, error):
    assert await write(master, address, value) == AxiResp.SLVERR
    assert (await read(master, ERROR))[0] == error
    assert (await read(master, STATUS))[0] & 8
    assert await write(master, ERROR, error) == AxiResp.OKAY
    assert (await read(master, ERROR))[0] == 0


@cocotb.test()
async def writes_outside_the_map_are_refused(dut):
    master = await start(dut)
    for address in (0x000, STATUS, OUTPUT, 0x0FC, INPUT + 4 * WORDS * BEATS, 0xFFC):
        await refused(master, address, 0, 1)


@cocotb.test()
async def reads_outside_the_map_are_refused(dut):
    master = await start(dut)
    for address in (CONTROL, 0x060, OUTPUT + 4 * -(-M * B_OUT // 32), INPUT, 0xFFC):
        assert await read(master, address) == (0, AxiResp.SLVERR)
    assert (await read(master, ERROR))[0] == 16


@cocotb.test()
async def a_partial_write_is_refused(dut):
    master = await start(dut)
    answer = await master.write(INPUT, b"\x01")
    assert answer.resp == AxiResp.SLVERR
    assert (await read(master, ERROR))[0] == 2


@cocotb.test()
async def a_bit_where_no_code_lies_is_refused(dut):
    master = await start(dut)
    used = (N - (BEATS - 1) * PER_BEAT) * B_IN
    word = (BEATS - 1) * WORDS + used // 32
    await refused(master, INPUT + 4 * word, 1 << (used % 32), 8)


@cocotb.test()
async def input_and_start_while_busy_are_refused_and_change_nothing(dut):
    master = await start(dut)
    codes = random_codes(random.Random(5))
    for index, word in enumerate(pack(codes)):
        await write(master, INPUT + 4 * index, word)
    await write(master, CONTROL, 1)
    assert await write(master, INPUT, 0) == AxiResp.SLVERR
    assert await write(master, CONTROL, 1) == AxiResp.SLVERR
    assert (await read(master, ERROR))[0] == 4
    while not (await read(master, STATUS))[0] & 4:
        pass
    value, _ = await read(master, OUTPUT)
    assert value & ((1 << B_OUT) - 1) == expected(codes)[0]
    assert (await read(master, INFERENCES))[0] == 1


@cocotb.test()
async def reset_in_mid_flight_leaves_a_core_that_works(dut):
    master = await start(dut)
    draw = random.Random(6)
    await write(master, CONTROL, 1)
    assert await write(master, CONTROL, 2) == AxiResp.OKAY
    assert (await read(master, STATUS))[0] == 1
    codes = random_codes(draw)
    assert await infer(master, codes) == expected(codes)
    assert (await read(master, INFERENCES))[0] == 1


@cocotb.test()
async def the_interrupt_follows_its_enable_and_its_status(dut):
    master = await start(dut)
    await infer(master, [0] * N)
    assert dut.irq.value == 0
    assert await write(master, IRQ_ENABLE, 1) == AxiResp.OKAY
    assert (await read(master, IRQ_STATUS))[0] == 1
    assert dut.irq.value == 1
    await write(master, IRQ_STATUS, 1)
    assert dut.irq.value == 0
    await write(master, IRQ_ENABLE, 2)
    await write(master, 0xFFC, 0)
    assert dut.irq.value == 1


@cocotb.test()
async def an_unanswered_read_gets_an_error_response(dut):
    master = await start(dut)
    dut.mute.value = 1
    begin = cocotb.utils.get_sim_time("ns")
    assert await read(master, 0) == (POISON, AxiResp.SLVERR)
    assert 2000 <= cocotb.utils.get_sim_time("ns") - begin <= 2200
    assert dut.timed_out.value == 1


@cocotb.test()
async def further_reads_of_a_silent_slave_are_answered_at_once(dut):
    master = await start(dut)
    dut.mute.value = 1
    await read(master, 0)
    begin = cocotb.utils.get_sim_time("ns")
    assert await read(master, 4) == (POISON, AxiResp.SLVERR)
    assert cocotb.utils.get_sim_time("ns") - begin < 200


@cocotb.test()
async def an_unanswered_write_gets_an_error_response(dut):
    master = await start(dut)
    dut.mute.value = 1
    assert await write(master, IRQ_ENABLE, 3) == AxiResp.SLVERR


@cocotb.test()
async def a_slave_that_wakes_up_is_served_again_and_its_late_answer_is_lost(dut):
    master = await start(dut)
    dut.mute.value = 1
    await read(master, 0)
    await write(master, IRQ_ENABLE, 3)
    dut.mute.value = 0
    await ClockCycles(dut.aclk, 10)
    assert dut.timed_out.value == 0
    assert await read(master, 0x004) == (0x00010001, AxiResp.OKAY)
    assert await infer(master, [1] * N) == expected([1] * N)
    await RisingEdge(dut.aclk)


# As the board has it: no error response, which would end the process that reads.


@cocotb.test()
async def the_board_s_bus_computes_with_random_pauses(dut):
    master = await start(dut, pause=7, prefix="q_axi")
    draw = random.Random(8)
    for _ in range(5):
        codes = random_codes(draw)
        assert await infer(master, codes) == expected(codes)


@cocotb.test()
async def a_refused_write_is_answered_okay_and_the_registers_tell(dut):
    master = await start(dut, prefix="q_axi")
    for address, error in ((0x000, 1), (0xFFC, 1), (INPUT + 4 * WORDS * BEATS, 1)):
        assert await write(master, address, 0) == AxiResp.OKAY
        assert await read(master, ERROR) == (error, AxiResp.OKAY)
        assert (await read(master, STATUS))[0] & 8
        assert await write(master, ERROR, error) == AxiResp.OKAY
        assert (await read(master, ERROR))[0] == 0


@cocotb.test()
async def a_refused_read_is_answered_okay_and_the_registers_tell(dut):
    master = await start(dut, prefix="q_axi")
    assert await read(master, CONTROL) == (0, AxiResp.OKAY)
    assert (await read(master, ERROR))[0] == 16


@cocotb.test()
async def an_unanswered_read_is_answered_okay_with_poison(dut):
    master = await start(dut, prefix="q_axi")
    dut.mute.value = 1
    begin = cocotb.utils.get_sim_time("ns")
    assert await read(master, 0) == (POISON, AxiResp.OKAY)
    assert 2000 <= cocotb.utils.get_sim_time("ns") - begin <= 2200
    assert await read(master, 4) == (POISON, AxiResp.OKAY)
    assert dut.q_timed_out.value == 1


@cocotb.test()
async def a_lost_write_is_told_by_the_next_read_and_by_no_other(dut):
    master = await start(dut, prefix="q_axi")
    dut.mute.value = 1
    assert await write(master, IRQ_ENABLE, 3) == AxiResp.OKAY  # comes late
    assert await write(master, IRQ_ENABLE, 1) == AxiResp.OKAY  # is lost
    dut.mute.value = 0
    await ClockCycles(dut.aclk, 10)
    assert dut.q_timed_out.value == 0
    assert await read(master, STATUS) == (POISON, AxiResp.OKAY)
    assert await read(master, STATUS) == (1, AxiResp.OKAY)
    assert await read(master, IRQ_ENABLE) == (3, AxiResp.OKAY)
    codes = random_codes(random.Random(9))
    assert await infer(master, codes) == expected(codes)


@cocotb.test()
async def with_error_responses_a_lost_write_poisons_no_read(dut):
    master = await start(dut)
    dut.mute.value = 1
    assert await write(master, IRQ_ENABLE, 3) == AxiResp.SLVERR
    dut.mute.value = 0
    await ClockCycles(dut.aclk, 10)
    assert await read(master, STATUS) == (1, AxiResp.OKAY)
