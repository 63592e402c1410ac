"""A policy as one C99 header: integers only, no dependency, bit for bit the engines' codes.

What it computes begins at input codes and ends at output codes: both are integers. The two float
steps of the contract (input codes from an observation, actions from a table) are in the header
too, behind the macro ``QPOLICY_FLOAT``, for machines that have float32.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from qpolicy_ros.interchange.outgoing.c_assemble import c_assemble
from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact, PolicyError
from qpolicy_ros.policy.bounds import network_bounds

_COLUMNS = 96


def symbol_prefix(artifact: PolicyArtifact, name: str = "") -> str:
    """Return what every symbol of the header starts with: ``name``, or ``qpolicy_<task>``.

    Raises:
        PolicyError: ``name`` is no C identifier.
    """
    if not name:
        return "qpolicy_" + re.sub(r"\W", "_", artifact.contract.task.lower(), flags=re.ASCII)
    if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is None:
        remedy = "give a letter, then letters, digits and underscores"
        raise PolicyError.at("", "symbol", f"{name!r} is not a C identifier", remedy)
    return name


def c_header(artifact: PolicyArtifact, name: str = "", *, packed: bool = False) -> str:
    """Return the header's text.

    Args:
        artifact: a policy with an integer network.
        name: prefix of every symbol; empty for ``qpolicy_<task>``.
        packed: weights take the network's bits each, not a byte: less memory, more work.

    Raises:
        PolicyError: the policy has no integer network, or ``name`` is no C identifier.
    """
    network = artifact.network
    if network is None:
        wrong, remedy = "there is no integer network", "quantise the policy first"
        raise PolicyError.at(artifact.path, "integer", wrong, remedy)
    prefix = symbol_prefix(artifact, name)
    low, high = network.input_range
    values = {
        "p": prefix,
        "P": prefix.upper(),
        "task": artifact.contract.task,
        "hash": artifact.function_hash,
        "id": artifact.function_hash[:8],
        "n": network.weights[0].shape[1],
        "m": network.weights[-1].shape[0],
        "low": low,
        "high": high,
        "output_low": network.output_min,
        "output_high": -network.output_min - 1,
        "codes": 1 << network.output_bits,
        "width": max(network.hidden, default=1),
        "accumulator": _accumulator(network),
        "threshold": _integer_type(network),
        "constants": "\n".join(_layers(network, prefix, packed=packed)),
        "calls": "\n".join(_calls(network, prefix, packed=packed)),
        "stored": "uint8_t" if packed else "int8_t",
        "weight": f"{prefix}_weight(weights, i)" if packed else "weights[i]",
        "dot": f"static inline int32_t {prefix}_dot",
        "unpack": _unpack(network, prefix) if packed else "",
        "mean": _floats(network.mean),
        "gain": _floats(network.gain),
        "table": _floats(network.table.reshape(-1)),
        "assemble": c_assemble(artifact.contract, prefix),
    }
    return re.sub(r"@(\w+?)@", lambda match: str(values[match[1]]), _TEMPLATE)


def _accumulator(network: IntegerNetwork) -> int:
    """Largest magnitude of an accumulator of any neuron."""
    return max(int(np.abs(np.stack(pair)).max()) for pair in network_bounds(network))


def _integer_type(network: IntegerNetwork) -> str:
    """The smallest type that holds every threshold."""
    low = min(int(rows.min()) for rows in network.thresholds)
    high = max(int(rows.max()) for rows in network.thresholds)
    for bits in (8, 16):
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return f"int{bits}_t"
    return "int32_t"


def _unpack(network: IntegerNetwork, prefix: str) -> str:
    bits = network.core_bits
    return re.sub(
        r"@(\w+?)@",
        lambda match: {"p": prefix, "bits": str(bits), "mask": str((1 << bits) - 1),
                       "sign": str(1 << (bits - 1))}[match[1]],
        _UNPACK,
    )  # fmt: skip


def _row_bytes(inputs: int, bits: int) -> int:
    return -(-inputs * bits // 8)


def _packed(weight: Any, bits: int) -> list[int]:
    """Rows of weights, ``bits`` each from the lowest bit on; a byte of 0 ends them."""
    codes = weight.astype(np.int64) & ((1 << bits) - 1)
    each = (codes[:, :, None] >> np.arange(bits)) & 1
    rows = np.packbits(each.reshape(len(weight), -1).astype(np.uint8), axis=1, bitorder="little")
    return [*rows.reshape(-1).tolist(), 0]


def _layers(network: IntegerNetwork, prefix: str, *, packed: bool) -> list[str]:
    lines, bits = [], network.core_bits
    for index, (weight, rows) in enumerate(zip(network.weights, network.thresholds, strict=True)):
        outputs, inputs = weight.shape
        levels = rows.shape[1]
        kind = f"static const {prefix}_threshold"
        size, type_ = f"{outputs} * {inputs}", "int8_t"
        values: list[int] = weight.reshape(-1).tolist()
        if packed:
            size, type_ = f"{outputs} * {_row_bytes(inputs, bits)} + 1", "uint8_t"
            values = _packed(weight, bits)
        lines += [
            f"/* Layer {index}: {inputs} to {outputs}, {levels} thresholds a neuron. */",
            f"static const {type_} {prefix}_weights{index}[{size}] = {{",
            *_rows(map(str, values)),
            "};",
            f"{kind} {prefix}_thresholds{index}[{outputs} * {levels}] = {{",
            *_rows(str(int(value)) for value in rows.reshape(-1)),
            "};",
        ]
    return lines


def _calls(network: IntegerNetwork, prefix: str, *, packed: bool) -> list[str]:
    """One call a layer; two buffers take turns, the last layer's counts go to the caller."""
    lines, source = [], "input"
    for index, weight in enumerate(network.weights):
        outputs, inputs = weight.shape
        row = _row_bytes(inputs, network.core_bits) if packed else inputs
        levels = network.thresholds[index].shape[1]
        last = index == len(network.weights) - 1
        target = "output" if last else f"codes{index % 2}"
        kind = "signed" if index == 0 else "unsigned"
        value = f"(int8_t)(count - {-network.output_min})" if last else "(uint8_t)count"
        lines += [
            f"    for (i = 0; i < {outputs}; i++) {{",
            f"        const int32_t sum = {prefix}_dot_{kind}(",
            f"            {prefix}_weights{index} + (int32_t)i * {row}, {source}, {inputs});",
            f"        const int count = {prefix}_count(",
            f"            {prefix}_thresholds{index} + (int32_t)i * {levels}, {levels}, sum);",
            f"        {target}[i] = {value};",
            "    }",
        ]
        source = target
    return lines


def _floats(values: Any) -> str:
    """Float32 values with the nine digits that give each back exactly."""
    return "\n".join(_rows(f"{float(value):.9e}f" for value in values))


def _rows(words: Iterable[str]) -> list[str]:
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > _COLUMNS:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return [*lines, line]


_UNPACK = """\
/* Weight i of a row: @bits@ bits each, the lowest first; the byte behind the last one is there. */
static inline int @p@_weight(const uint8_t *row, int i) {
    const int32_t place = (int32_t)i * @bits@;
    const int code = ((row[place >> 3] | row[(place >> 3) + 1] << 8) >> (place & 7)) & @mask@;
    return code - ((code & @sign@) << 1);
}

"""

_TEMPLATE = """\
/* The integer policy of task @task@ for C99, generated by `qpolicy export --format c`.
 *
 * function hash @hash@
 *
 * @p@_infer takes @n@ input codes, each @low@ to @high@, and gives @m@ output codes, each
 * @output_low@ to @output_high@. Integers only, no library, no memory of its own but the stack:
 * two arrays of @width@ bytes. No accumulator exceeds @accumulator@ in magnitude. A code outside
 * its range is the caller's error and is not looked for.
 *
 * With QPOLICY_FLOAT defined before the header is included there is also @p@_act, from @n@ float
 * observation values to @m@ actions. It needs IEEE float32 without excess precision and without
 * -ffast-math: then codes and actions are bit for bit those of the other engines. For a robot's
 * policy QPOLICY_ASSEMBLE adds names and units, and @p@_assemble from raw values to observation.
 */
#ifdef @P@_H
#if @P@_FUNCTION_ID != 0x@id@
#error "two policies are called @p@ here: export one of them with another --symbol"
#endif
#else
#define @P@_H
#define @P@_FUNCTION_ID 0x@id@ /* of @P@_FUNCTION_HASH */

#include <stdint.h>

#define @P@_INPUTS @n@
#define @P@_OUTPUTS @m@
#define @P@_FUNCTION_HASH "@hash@"

typedef @threshold@ @p@_threshold;

@constants@

@unpack@@dot@_signed(const @stored@ *weights, const int8_t *codes, int size) {
    int32_t sum = 0;
    for (int i = 0; i < size; i++) sum += (int32_t)@weight@ * codes[i];
    return sum;
}

static inline int32_t @p@_dot_unsigned(const @stored@ *weights, const uint8_t *codes, int size) {
    int32_t sum = 0;
    for (int i = 0; i < size; i++) sum += (int32_t)@weight@ * codes[i];
    return sum;
}

/* How many of the ascending thresholds `sum` reaches; there are 2^bits - 1 of them. */
static inline int @p@_count(const @p@_threshold *thresholds, int levels, int32_t sum) {
    int count = 0;
    for (int step = (levels + 1) / 2; step > 0; step /= 2)
        if (sum >= thresholds[count + step - 1]) count += step;
    return count;
}

static inline void @p@_infer(const int8_t input[@n@], int8_t output[@m@]) {
    uint8_t codes0[@width@], codes1[@width@];
    int i;
@calls@
    (void)codes0;
    (void)codes1;
}

#ifdef QPOLICY_FLOAT
#include <float.h>

#ifdef __FAST_MATH__
#error "-ffast-math changes input codes; compile without it"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "float arithmetic has excess precision here; compile with -msse2 or without QPOLICY_FLOAT"
#endif

static const float @p@_mean[@n@] = {
@mean@
};
static const float @p@_gain[@n@] = {
@gain@
};
/* Actions by output code, lowest code first. */
static const float @p@_table[@m@ * @codes@] = {
@table@
};

/* Codes clip(rint((x - mean) * gain)), half to even. Returns -1, or the index of the first value
 * that is not finite; then the codes are not complete. */
static inline int @p@_quantise(const float observation[@n@], int8_t codes[@n@]) {
    for (int i = 0; i < @n@; i++) {
        if (!(observation[i] >= -FLT_MAX && observation[i] <= FLT_MAX)) return i;
        float scaled = observation[i] - @p@_mean[i];
        scaled = scaled * @p@_gain[i];
        if (scaled < @low@.0f) scaled = @low@.0f;
        if (scaled > @high@.0f) scaled = @high@.0f;
        int whole = (int)scaled; /* towards zero; the rest is exact */
        const float rest = scaled - (float)whole;
        if (rest > 0.5f || (rest == 0.5f && (whole & 1))) whole++;
        if (rest < -0.5f || (rest == -0.5f && (whole & 1))) whole--;
        codes[i] = (int8_t)whole;
    }
    return -1;
}

/* Action of an observation. Returns -1, or the index of a value that is not finite; then `action`
 * is left alone. */
static inline int @p@_act(const float observation[@n@], float action[@m@]) {
    int8_t input[@n@], output[@m@];
    const int bad = @p@_quantise(observation, input);
    if (bad >= 0) return bad;
    @p@_infer(input, output);
    for (int j = 0; j < @m@; j++) action[j] = @p@_table[j * @codes@ + (output[j] - (@output_low@))];
    return -1;
}
#endif /* QPOLICY_FLOAT */
@assemble@
#endif /* @P@_H */
"""
