"""How deciding grows with width and bits: the same question of random networks."""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.policy.bounds import accumulator_bounds
from qpolicy_ros.policy.model import IntegerNetwork
from qpolicy_ros.prove.branch import OPEN
from qpolicy_ros.prove.codes import code_box, whole_box
from qpolicy_ros.prove.decide import decide
from qpolicy_ros.prove.question import single

WIDTHS, BITS, ROUNDS, SECONDS = (16, 32, 64, 128, 256), (2, 3, 4), 3, 10.0
_INPUTS, _INPUT_BITS, _OUTPUT_BITS = 17, 8, 8
_MOVED = 48  # output codes, of 256


def random_network(width: int, bits: int, seed: int) -> IntegerNetwork:
    """17 inputs, two hidden layers and one action; thresholds where random codes' sums lie."""
    rng = np.random.default_rng([width, bits, seed])
    limit = (1 << (bits - 1)) - 1
    shapes = [(width, _INPUTS), (width, width), (1, width)]
    weights = [rng.integers(-limit, limit + 1, shape).astype(np.int8) for shape in shapes]
    half = 1 << (_INPUT_BITS - 1)
    codes = np.clip(np.rint(rng.standard_normal((4096, _INPUTS)) * half / 3), -half, half - 1)
    thresholds = []
    low, high = -half, half - 1
    for index, weight in enumerate(weights):
        levels = (1 << (_OUTPUT_BITS if index == 2 else bits)) - 1
        sums = codes @ weight.T.astype(np.float64)
        # Half of a ReLU's inputs are below 0: the lower half of the sums gives code 0.
        start = 0.0 if index == 2 else 0.5
        wanted = start + (1 - start) * np.arange(1, levels + 1) / (levels + 1)
        rows = np.rint(np.quantile(sums, wanted, axis=0)).T
        least, most = accumulator_bounds(weight, low, high)
        thresholds.append(np.clip(rows, least[:, None], most[:, None] + 1).astype(np.int32))
        codes = (sums[:, :, None] >= thresholds[-1][None]).sum(axis=2).astype(np.float64)
        low, high = 0, (1 << bits) - 1
    return IntegerNetwork(
        mean=np.zeros(_INPUTS, np.float32),
        gain=np.full(_INPUTS, 32.0, np.float32),
        input_bits=_INPUT_BITS,
        core_bits=bits,
        output_bits=_OUTPUT_BITS,
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        table=np.linspace(-1, 1, 1 << _OUTPUT_BITS, dtype=np.float32)[None],
    )


def measure_growth(folder: Path) -> list[dict[str, Any]]:
    """Ask whether the action can rise by 48 of 256 codes within one code of noise.

    Networks that ``growth.json`` has already are not asked again.
    """
    path = make_folder(folder) / "growth.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    rows = {(row["width"], row["bits"], row["seed"]): row for row in kept}
    # Round by round: a run that is cut short has something of every width.
    for seed, width, bits in itertools.product(range(ROUNDS), WIDTHS, BITS):
        if (width, bits, seed) not in rows:
            rows[width, bits, seed] = _row(width, bits, seed)
            sys.stdout.write(f"{rows[width, bits, seed]}\n")
            sys.stdout.flush()
            ordered = [rows[key] for key in sorted(rows)]
            write_atomically(path, (json.dumps(ordered, indent=1) + "\n").encode())
    return [rows[key] for key in sorted(rows)]


def _row(width: int, bits: int, seed: int) -> dict[str, Any]:
    network = random_network(width, bits, seed)
    whole = code_box(network, *whole_box(network))
    rng = np.random.default_rng([seed, 1])
    centre = np.clip(np.rint(rng.standard_normal(_INPUTS) * 40), -100, 100).astype(np.int64)
    box = replace(whole, low=centre - 1, high=centre + 1)
    row = network.weights[-1][0].astype(np.int64)[None]
    here = single(network, box, row, np.zeros((1, 1), np.int64), "").sums(centre[None])[0, 0]
    count = int((here >= network.thresholds[-1][0]).sum())
    wanted = min(count + _MOVED, (1 << _OUTPUT_BITS) - 1)
    bound = np.array([[int(network.thresholds[-1][0, wanted - 1])]], np.int64)
    started = time.process_time()
    decision = decide(single(network, box, row, bound, "rises"), SECONDS)
    return {
        "width": width,
        "bits": bits,
        "seed": seed,
        "decided": decision.answer != OPEN,
        "answer": decision.answer,
        "by": decision.by,
        "seconds": round(time.process_time() - started, 3),
    }
