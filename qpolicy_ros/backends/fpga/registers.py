"""The register map of the AXI4-Lite wrapper: the one place where it is written down.

The Verilog header ``fpga/wrappers/rtl/qpolicy_registers.vh`` and ``docs/fpga/register-map.md`` are
generated from this table (``python -m qpolicy_fpga.wrappers.register_files``).
"""

from __future__ import annotations

from typing import NamedTuple

MAGIC_VALUE = 0x51504F4C  # "QPOL"
VERSION_VALUE = 0x00010001  # major << 16 | minor: a driver takes any minor of its major
POISON = 0xDEADBEEF  # data of a read that the timeout block answered in the core's place
INPUT_END = 0x1000  # the wrapper takes 4 KiB of address space


class Bit(NamedTuple):
    """A field of a register, bits ``high`` down to ``low``."""

    name: str
    high: int
    low: int
    meaning: str


class Register(NamedTuple):
    """A 32-bit register at byte address ``offset``; ``access`` is ro, rw, wo or w1c."""

    name: str
    offset: int
    access: str
    meaning: str
    bits: tuple[Bit, ...] = ()


def _flag(name: str, position: int, meaning: str) -> Bit:
    return Bit(name, position, position, meaning)


REGISTERS = (
    Register("MAGIC", 0x000, "ro", f'`0x{MAGIC_VALUE:08X}`, "QPOL"'),
    Register("VERSION", 0x004, "ro", "of this map: major in 31:16, minor in 15:0"),
    Register("HASH0", 0x008, "ro", "function hash, its first 8 hexadecimal digits"),
    Register("HASH1", 0x00C, "ro", "function hash, digits 9 to 16"),
    Register("HASH2", 0x010, "ro", "function hash, digits 17 to 24"),
    Register("HASH3", 0x014, "ro", "function hash, digits 25 to 32"),
    Register(
        "COUNTS",
        0x018,
        "ro",
        "numbers of codes",
        (Bit("N", 15, 0, "input codes"), Bit("M", 31, 16, "output codes")),
    ),
    Register(
        "BITS",
        0x01C,
        "ro",
        "widths of codes",
        (Bit("B_IN", 7, 0, "bits an input code"), Bit("B_OUT", 15, 8, "bits an output code")),
    ),
    Register(
        "BEAT",
        0x020,
        "ro",
        "how an observation is cut into beats",
        (
            Bit("CODES_PER_BEAT", 15, 0, "input codes a beat"),
            Bit("BEATS", 31, 16, "beats an observation"),
        ),
    ),
    Register(
        "CONTROL",
        0x024,
        "wo",
        "commands; write 1",
        (
            _flag("START", 0, "run one inference on the words at INPUT; refused while busy"),
            _flag("RESET", 1, "stop and reset the core; DONE is cleared, ERROR stays"),
            _flag("FORGET", 2, "clear what the supervisor has counted"),
        ),
    ),
    Register(
        "STATUS",
        0x028,
        "ro",
        "state",
        (
            _flag("IDLE", 0, "not busy: INPUT may be written, START is taken"),
            _flag("BUSY", 1, "an inference is under way"),
            _flag("DONE", 2, "OUTPUT and CYCLES are valid; cleared by START and by RESET"),
            _flag("ERROR", 3, "a bit of ERROR is set"),
        ),
    ),
    Register(
        "ERROR",
        0x02C,
        "w1c",
        "what has been refused since it was cleared; write 1 to clear",
        (
            _flag("ADDRESS", 0, "write outside the map, to a read-only word or unaligned"),
            _flag("STROBE", 1, "write of less than a whole word"),
            _flag("BUSY", 2, "write to INPUT, or START, while busy"),
            _flag("RANGE", 3, "a bit set in INPUT where no code lies"),
            _flag("READ_ADDRESS", 4, "read outside the map, of a write-only word or unaligned"),
        ),
    ),
    Register("CYCLES", 0x030, "ro", "clock cycles of the last inference: first beat to output"),
    Register("INFERENCES", 0x034, "ro", "inferences completed since reset, modulo 2^32"),
    Register(
        "IRQ_ENABLE",
        0x038,
        "rw",
        "which bits of IRQ_STATUS raise the interrupt",
        (_flag("DONE", 0, "inference done"), _flag("ERROR", 1, "access refused")),
    ),
    Register(
        "IRQ_STATUS",
        0x03C,
        "w1c",
        "pending interrupts; write 1 to clear",
        (_flag("DONE", 0, "inference done"), _flag("ERROR", 1, "access refused")),
    ),
    Register("RANGES", 0x040, "ro", "which ranges the supervisor holds, 0 where there is none"),
    Register("UNSEEN", 0x044, "ro", "observations with a code that was never seen"),
    Register("UNSEEN_VALUE", 0x048, "rw", "which value the next two are about, from 0 on"),
    Register("UNSEEN_COUNT", 0x04C, "ro", "observations in which its code was never seen"),
    Register(
        "UNSEEN_FLAGS", 0x050, "ro", "sticky, of 32 values from a multiple of 32 on, lowest first"
    ),
    Register("OUTPUT", 0x080, "ro", "output codes, packed; up to 0x3FC"),
    Register("INPUT", 0x400, "wo", "input codes, packed beat by beat; up to 0xFFC"),
)

OFFSET = {register.name: register.offset for register in REGISTERS}
FLAG = {
    (register.name, bit.name): 1 << bit.low
    for register in REGISTERS
    for bit in register.bits
    if bit.high == bit.low
}
ERRORS = next(register for register in REGISTERS if register.name == "ERROR").bits
STATUS_MASK = 0xF  # the other bits of STATUS read as 0


def words_per_beat(codes_per_beat: int, b_in: int) -> int:
    """Return how many words a beat takes; 8 where there is more than one beat."""
    return -(-codes_per_beat * b_in // 32)


def check_sizes(n: int, b_in: int, codes_per_beat: int, m: int, b_out: int) -> str:
    """Return why a core of these sizes does not fit into the map, empty if it does."""
    beats = -(-n // codes_per_beat)
    room = (INPUT_END - OFFSET["INPUT"]) // 4
    need = beats * words_per_beat(codes_per_beat, b_in)
    if need > room:
        return f"{n} input codes of {b_in} bits need {need} words, the register map has {room}"
    room = (OFFSET["INPUT"] - OFFSET["OUTPUT"]) // 4
    need = -(-m * b_out // 32)
    if need > room:
        return f"{m} output codes of {b_out} bits need {need} words, the register map has {room}"
    return ""
