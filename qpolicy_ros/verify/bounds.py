"""Part 1: no sum can overflow, in any engine or in the hardware, by interval arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qpolicy_fpga.manifest import LayerEntry
from qpolicy_ros.policy import IntegerNetwork
from qpolicy_ros.policy.bounds import network_bounds, partial_sum_bound
from qpolicy_ros.verify.layer_text import LayerText
from qpolicy_ros.verify.result import Check, Section
from qpolicy_ros.verify.specification import specify

_INT16, _INT32, _FLOAT64 = (1 << 15) - 1, (1 << 31) - 1, 1 << 53
# Products added into an int16 before they are widened, by instruction set of the C kernel; AVX-512
# sums in int32 throughout.
_PRODUCTS = {"plain": 1, "avx2": 2}


def check_bounds(
    network: IntegerNetwork, layers: Sequence[LayerText], forms: Sequence[LayerEntry]
) -> Section:
    """Bounds of every accumulator against what each implementation holds it in."""
    checks = []
    for index, (low, high) in enumerate(network_bounds(network)):
        rows = network.thresholds[index].astype(np.int64)
        outside = (rows < low[:, None]) | (rows > high[:, None] + 1)
        falling = np.diff(rows, axis=1) < 0
        wrong = int(outside.sum() + falling.sum())
        detail = f"accumulators {int(low.min())} to {int(high.max())}"
        name = f"layer {index}: thresholds ascend within acc_min ... acc_max + 1"
        checks.append(Check(name, rows.size, wrong, detail))
        checks.append(_engines(network, index, int(high.max()) + 1))
    for index, (text, form) in enumerate(zip(layers, forms, strict=True)):
        if form.tail == "lookup":  # takes no sums
            continue
        spec = specify(network, index, form)
        full, step = (1 << spec.planes) - 1, (1 << form.planes) - 1
        trees = len(text.trees)
        wrong = 0
        for place, tree in enumerate(text.trees):
            highest = int(spec.highest[place::trees].max(initial=0))
            most = highest // full
            if spec.chunks > 1:
                most = int(np.abs(spec.rows(place)).sum(axis=1).max())
            narrow = tree.width < (most * step).bit_length()
            narrow |= tree.total < max(highest.bit_length(), tree.width)
            shifted = form.planes if spec.chunks == 1 else 0
            narrow |= bool(tree.held) and tree.held < tree.total - shifted
            wrong += narrow
        widths = sorted({tree.total for tree in text.trees})
        detail = f"sums of {widths[0]} to {widths[-1]} bits" if widths else "no trees"
        checks.append(Check(f"layer {index}: RTL sums hold the largest one", trees, wrong, detail))
    return Section("bounds", tuple(checks))


def _engines(network: IntegerNetwork, index: int, highest: int) -> Check:
    """Every partial sum of the software engines, in any order of summing."""
    weight = network.weights[index]
    in_low, in_high = network.layer_input_range(index)
    partial = partial_sum_bound(weight, in_low, in_high)
    # The C kernel adds 2^(bits-1) to signed codes and takes it back from the start value.
    code = in_high - in_low
    largest = int(np.abs(weight.astype(np.int64)).max())
    rows = np.abs(weight.astype(np.int64)).sum(axis=1)
    kernel = int(rows.max()) * (code + max(0, -in_low))
    bad = [
        partial + 1 > _FLOAT64,  # NumPy carries it in float32 below 2^24, else in float64
        max(kernel, highest) > _INT32,  # C kernel, C header
    ]
    for products in _PRODUCTS.values():
        group = products * code * largest
        run = _INT16 // group if group else 1
        # Where not even one group fits, the kernel splits codes at bit 7: 2 * 127 * 128.
        worst = run * group if run else products * 127 * largest
        bad.append(worst > _INT16)
    name = f"layer {index}: no overflow in NumPy (float), C kernel (int16, int32), C header (int32)"
    detail = f"partial sums up to {partial}, in the kernel up to {kernel}"
    return Check(name, len(bad), sum(bad), detail)
