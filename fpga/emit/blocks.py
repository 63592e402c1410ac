"""Small pieces of Verilog that modules with a handshake are made of, as lists of lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def vector(bits: int) -> str:
    """Return the range of a vector: ``[7:0]`` for eight bits."""
    return f"[{bits - 1}:0]"


def port(
    direction: str, name: str, bits: int = 0, *, kind: str = "wire", signed: bool = False
) -> str:
    """Return a port's declaration; without ``bits`` it is a single one, no vector."""
    sign = " signed" if signed else ""
    size = f" {vector(bits)}" if bits else ""
    return f"{direction:<6} {kind:<4}{sign}{size} {name}"


def stream_ports(words: int, answers: int, *, valid: str = "wire") -> list[str]:
    """Return clock, reset, and the two handshakes of a module that takes words and gives answers.

    Args:
        words: bits of ``s_data``.
        answers: bits of ``m_data``.
        valid: ``reg`` where ``m_valid`` is a register of the module itself.
    """
    return [
        port("input", "clk"),
        port("input", "rst"),
        port("input", "s_data", words),
        port("input", "s_valid"),
        port("output", "s_ready"),
        port("output", "m_data", answers),
        port("output", "m_valid", kind=valid),
        port("input", "m_ready"),
    ]


def module(name: str, ports: Sequence[str], body: Sequence[str]) -> list[str]:
    """Lines of a whole module, and an empty one after it."""
    declared = [f"    {each}," for each in ports[:-1]] + [f"    {ports[-1]}"]
    return [f"module {name} (", *declared, ");", *body, "endmodule", ""]


def registers(*names: str, bits: int = 0, signed: bool = False) -> str:
    """The line that declares registers of one size."""
    sign = " signed" if signed else ""
    size = f" {vector(bits)}" if bits else ""
    return f"    reg{sign}{size} {', '.join(names)};"


def clocked(target: str, reset: str, when: str, value: str) -> list[str]:
    """Lines of a register that is ``reset`` by ``rst`` and takes ``value`` in a cycle ``when``."""
    return [
        "    always @(posedge clk) begin",
        f"        if (rst) {target} <= {reset};",
        f"        else if ({when}) {target} <= {value};",
        "    end",
    ]


def counter(name: str, bits: int, when: str, last: str) -> list[str]:
    """Lines of a register that counts cycles ``when``, and begins anew after ``last``."""
    return [
        registers(name, bits=bits),
        "    always @(posedge clk) begin",
        f"        if (rst) {name} <= {bits}'d0;",
        f"        else if ({when})",
        f"            {name} <= {last} ? {bits}'d0 : {name} + {bits}'d1;",
        "    end",
    ]


def choice(when: str, select: str, cases: Mapping[str, str], otherwise: str) -> list[str]:
    """Lines that, in a clock cycle ``when``, do one of ``cases`` by what ``select`` is."""
    return [
        f"    always @(posedge clk) if ({when})",
        f"        case ({select})",
        *(f"            {value}: {action};" for value, action in cases.items()),
        f"            default: {otherwise};",
        "        endcase",
    ]
