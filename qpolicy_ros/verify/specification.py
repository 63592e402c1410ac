"""What a generated tree must compute, in Verilog, written from the policy and nothing else.

A tree adds ``|w| v`` over its inputs, where ``v`` is the unsigned input code ``u`` or, for a
negative weight, ``2^planes - 1 - u``. With ``u = q + offset`` that is ``W q + K``, ``K`` a constant
of the neuron: see ``constant``. A threshold ``T`` of ``W q`` is therefore ``T + K`` of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qpolicy_fpga.manifest import LayerEntry
from qpolicy_ros.policy import IntegerNetwork
from qpolicy_ros.policy.model import Int64
from qpolicy_ros.verify.layer_text import TreeText

_BUS_BITS = 256


@dataclass(frozen=True, eq=False)
class LayerSpecification:
    """One layer of the policy, with what depends on how many bit planes a step takes.

    Attributes:
        weights: int64 ``(m, n)``; thresholds: int64 ``(m, 2^bits - 1)``, of ``W q``.
        planes: bit planes of a code, padded to whole steps.
        code_bits, signed: of the input codes.
        out_bits, signed_out: of the output codes.
        chunks, chunk: in how many chunks the input codes come, 1 = all at once;
            codes of a chunk.
    """

    weights: Int64
    thresholds: Int64
    planes: int
    code_bits: int
    signed: bool
    out_bits: int
    signed_out: bool
    chunks: int
    chunk: int

    def rows(self, neuron: int) -> Int64:
        """Weights of a neuron chunk by chunk, int64 ``(chunks, chunk)``; 0 without input."""
        rows: Int64 = np.zeros((self.chunks, self.chunk), np.int64)
        rows.flat[: self.weights.shape[1]] = self.weights[neuron]
        return rows

    @property
    def constant(self) -> Int64:
        """``K`` of every neuron, int64 ``(m,)``."""
        full = (1 << self.planes) - 1
        offset = 1 << (self.code_bits - 1) if self.signed else 0
        negative = np.where(self.weights < 0, -self.weights, 0).sum(axis=1)
        constant: Int64 = full * negative + offset * self.weights.sum(axis=1)
        return constant

    @property
    def highest(self) -> Int64:
        """Largest sum of every neuron, int64 ``(m,)``; the smallest is 0."""
        highest: Int64 = np.abs(self.weights).sum(axis=1) * ((1 << self.planes) - 1)
        return highest


def specify(network: IntegerNetwork, index: int, form: LayerEntry) -> LayerSpecification:
    """Return what layer ``index`` must compute in ``form``, its entry in the manifest."""
    last = index == len(network.weights) - 1
    bits = network.input_bits if index == 0 else network.core_bits
    inputs = network.weights[index].shape[1]
    planes_a_step, chunks = form.planes, form.parts
    # Chunks are phases of the layer before, or beats of the bus.
    chunk = -(-inputs // chunks) if index else min(inputs, _BUS_BITS // bits)
    return LayerSpecification(
        weights=network.weights[index].astype(np.int64),
        thresholds=network.thresholds[index].astype(np.int64),
        planes=-(-bits // planes_a_step) * planes_a_step,
        code_bits=bits,
        signed=index == 0,
        out_bits=network.output_bits if last else network.core_bits,
        signed_out=last,
        chunks=chunks,
        chunk=chunk if chunks > 1 else inputs,
    )


def tail_miter(
    layer: LayerSpecification,
    neurons: Mapping[int, int],
    tree: TreeText,
    phase_bits: int,
    *,
    reachable: bool = False,
) -> str:
    """``ok``: the code counts the thresholds of the phase's neuron, for every sum ``h``.

    Args:
        layer: what to compute.
        neurons: of the tree, by phase; a phase without one may give anything.
        tree: whose tail it is.
        phase_bits: bits of the phase, 0 where the tree serves one neuron.
        reachable: whether sums above the neuron's largest may give anything.
    """
    if not phase_bits:
        port = f"module miter(input [{tree.total - 1}:0] h, output ok);\n"
        highest = int(layer.highest[neurons[0]]) if reachable else None
        return port + _instance(tree, layer, "") + _counts(layer, neurons[0], tree.total, highest)
    width = tree.total
    bounds = {
        phase: np.clip(layer.thresholds[n] + layer.constant[n], 0, 1 << width)
        for phase, n in neurons.items()
    }
    lines = [
        f"module miter(input [{width - 1}:0] h, input [{phase_bits - 1}:0] phase, output ok);",
        _instance(tree, layer, ".tail_phase_next(phase), "),
        _count(layer),
        "reg there;",
        _case("there", phase_bits, dict.fromkeys(neurons, 1), 1),
    ]
    claims = []
    for k in range(1, layer.thresholds.shape[1] + 1):
        row = {phase: int(bound[k - 1]) for phase, bound in bounds.items()}
        lines += [
            f"reg [{width}:0] bound{k};",
            _case(f"bound{k}", phase_bits, row, width + 1),
        ]
        claims.append(f"((count >= {layer.out_bits}'d{k}) == ({{1'b0, h}} >= bound{k}))")
    lines += [f"assign ok = ~there | ({' & '.join(claims)});", "endmodule", ""]
    return "\n".join(lines)


def neuron_miter(layer: LayerSpecification, neuron: int, tree: str) -> str:
    """``ok``: the code is the neuron's, for all input codes (bit planes ``c``)."""
    inputs = layer.weights.shape[1]
    width = max(1, int(layer.highest[neuron]).bit_length())
    terms = []
    for place, weight in enumerate(layer.weights[neuron]):
        if weight:
            planes = ", ".join(f"c[{p * inputs + place}]" for p in reversed(range(layer.planes)))
            invert = "~" if weight < 0 else ""
            terms.append(f"{width}'d{abs(weight)} * {{{invert}{{{planes}}}}}")
    return (
        f"module miter(input [{inputs * layer.planes - 1}:0] c, output ok);\n"
        f"wire [{layer.out_bits - 1}:0] code;\n"
        f"{tree} dut(.c(c), .code(code));\n"
        f"wire [{width - 1}:0] h = {' + '.join(terms) or '0'};\n"
        f"{_counts(layer, neuron, width)}"
    )


def _instance(tree: TreeText, layer: LayerSpecification, phase: str) -> str:
    return (
        f"wire [{layer.out_bits - 1}:0] code;\n"
        f"{tree.name} dut({phase}.{tree.source}(h), .code(code));\n"
    )


def _case(name: str, phase_bits: int, values: Mapping[int, int], bits: int) -> str:
    """Lines: register ``name`` holds the phase's value, 0 in a phase without one."""
    cases = [f"{phase_bits}'d{at}: {name} = {bits}'d{value};" for at, value in values.items()]
    return "\n".join(["always @* case (phase)", *cases, f"default: {name} = 0;", "endcase"])


def _count(layer: LayerSpecification) -> str:
    """Line: how many thresholds the code stands for; signed codes start at the lowest one."""
    flip = 1 << (layer.out_bits - 1) if layer.signed_out else 0
    return f"wire [{layer.out_bits - 1}:0] count = code ^ {layer.out_bits}'d{flip};\n"


def _counts(layer: LayerSpecification, neuron: int, width: int, highest: int | None = None) -> str:
    """Lines: the k-th threshold is reached exactly if the count is at least k, for every k.

    Nothing is claimed of sums above ``highest``.
    """
    bounds = layer.thresholds[neuron] + layer.constant[neuron]
    claims = []
    for k, bound in enumerate(bounds.tolist(), start=1):
        reached = f"(h >= {width}'d{bound})" if 0 < bound < 1 << width else f"1'b{int(bound <= 0)}"
        claims.append(f"((count >= {layer.out_bits}'d{k}) == {reached})")
    above = "" if highest is None else f"(h > {width}'d{highest}) | "
    return f"{_count(layer)}assign ok = {above}({' & '.join(claims)});\nendmodule\n"


def step_miter(tree: str, step: str, width: int, total: int, held: int, planes: int) -> str:
    """``ok``: the accumulator shifts by ``planes`` and adds, or starts anew."""
    kept = total - planes
    shifted = f"{{before[{kept - 1}:0], {planes}'d0}}" if planes else "before"
    return (
        f"module miter(input [{width - 1}:0] s, input [{held - 1}:0] before, input first, "
        "output ok);\n"
        f"wire [{total - 1}:0] next;\n"
        f"{tree} dut(.{step}(s), .held(before), .first(first), .next(next));\n"
        f"wire [{total - 1}:0] shifted = {shifted};\n"
        f"assign ok = next == ((first ? {total}'d0 : shifted) + s);\n"
        "endmodule\n"
    )


def planes_miter(
    layer: LayerSpecification,
    top: str,
    planes_a_step: int,
    step: int,
    select: tuple[list[str], int],
    shown: str,
) -> str:
    """``ok``: step ``step`` shows the trees its bit planes of the codes, the sign bit inverted.

    Args:
        layer: what to compute.
        top: the layer's module.
        planes_a_step: planes of a step.
        step: its number.
        select: wires that choose, and bits of each.
        shown: the wire that trees see.
    """
    inputs = layer.chunk
    first = layer.planes - (step + 1) * planes_a_step
    wanted = []
    for plane in range(first, first + planes_a_step):
        for place in range(inputs):
            sign = "~" if layer.signed and plane == layer.code_bits - 1 else ""
            bit = f"{sign}codes[{place * layer.code_bits + plane}]"
            wanted.append(bit if plane < layer.code_bits else "1'b0")
    wires, bits = select
    chosen = "".join(f".{wire}({bits}'d{step}), " for wire in wires)
    size = inputs * planes_a_step
    return (
        f"module miter(input [{inputs * layer.code_bits - 1}:0] codes, output ok);\n"
        f"wire [{size - 1}:0] seen;\n"
        f"{top} dut({chosen}.codes(codes), .{shown}(seen));\n"
        f"assign ok = seen == {{{', '.join(reversed(wanted))}}};\n"
        "endmodule\n"
    )
