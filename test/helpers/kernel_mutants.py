"""Single faults planted into the C kernel: part 2 of `qpolicy verify` and the engines of part 4.

Each runs in a process of its own: it may crash or hang.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from mutants import Mutant

import qpolicy_ros.policy

KERNEL_FAULTS = (
    ("_kernel_layers.h", "(values[i] - mean[i]) * gain[i]", "(values[i] + mean[i]) * gain[i]"),
    ("_kernel_layers.h", "scaled > low ? scaled : low", "scaled >= 0 ? scaled : low"),
    ("_kernel_layers.h", "scaled < high ? scaled : high", "scaled < high ? scaled : low"),
    ("_kernel_layers.h", "magic = 12582912.0f", "magic = 6291456.0f"),
    ("_kernel_layers.h", "(rounded - low)", "(rounded - high)"),
    ("_kernel_layers.h", "sums[lane] >= row[lane]", "sums[lane] > row[lane]"),
    ("_kernel_layers.h", "row[count[lane] + step - 1] ? step", "row[count[lane] + step] ? step"),
    ("_kernel_layers.h", "narrow[lane] + code * weights", "narrow[lane] - code * weights"),
    ("_kernel_layers.h", "sums[lane] += narrow[lane]", "sums[lane] = narrow[lane]"),
    ("_kernel_layers.h", "_mm256_cmpgt_epi32(limit, sums)", "_mm256_cmpgt_epi32(sums, limit)"),
    ("_kernel_layers.h", "_mm256_set1_epi32(levels));", "_mm256_set1_epi32(levels - 1));"),
    ("_kernel_layers.h", "row + 16 * from[lane]", "row + 15 * from[lane]"),
    ("_kernel_layers.h", "16 * (from[lane] + 1) -", "16 * from[lane] -"),
    (
        "_kernel_layers.h",
        "_mm256_maddubs_epi16(four, weight)",
        "_mm256_maddubs_epi16(weight, four)",
    ),
    ("_kernel_layers.h", "_mm256_slli_epi32(tops[i], 7)", "_mm256_slli_epi32(tops[i], 6)"),
    ("_kernel_layers.h", "_mm512_cmpge_epi32_mask(sums", "_mm512_cmpgt_epi32_mask(sums"),
    ("_kernel_pack.h", "level % 16 == 15", "level % 16 == 14"),
    ("_kernel_pack.h", "-= offset * *weights", "+= offset * *weights"),
    ("_kernel_pack.h", "* group + i % group", "* group + (i + 1) % group"),
    ("_kernel_pack.h", "thresholds += levels", "thresholds += levels - 1"),
    ("_kernel_build.h", "32767 / sum", "131068 / sum"),
    ("_kernel.c", "i == kernel->layers ? kernel->output_min : 0", "0"),
)
_CHECK = """
import importlib.machinery, importlib.util, sys
name = "qpolicy_ros.policy._kernel"
import numpy as np
loader = importlib.machinery.ExtensionFileLoader(name, sys.argv[1])
module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
loader.exec_module(module)
sys.modules[name] = module
sys.path.insert(0, sys.argv[2])
from policy_builders import random_network, random_observations
from qpolicy_ros.verify.neurons import engines
from qpolicy_ros.verify.probe_networks import threshold_probe, weight_probe
def check(network, observations):
    codes = dict(engines(network))
    wanted = codes.pop("numpy")(observations)
    for other in codes.values():
        for ours, theirs in zip(other(observations), wanted):
            if (ours != theirs).any():
                sys.exit(3)
for *bits, extreme in ((6, 2, 8, False), (8, 3, 8, True), (8, 8, 8, False), (8, 8, 8, True)):
    network = random_network(3, 37, (40, 18), 3, *bits, extreme=extreme)
    check(network, random_observations(1, 500, 37))
    rows = network.thresholds[0]
    check(*threshold_probe(rows, bits[1], np.arange(rows.min() - 2, rows.max() + 3)[:4000]))
    check(*weight_probe(network.weights[1], signed=False))
    check(*weight_probe(network.weights[0], signed=True))
"""


def kernel_mutants(folder, faults=KERNEL_FAULTS):
    """Faults in the C kernel's source, each compiled as an extension of its own."""
    source = Path(qpolicy_ros.policy.__file__).parent
    helpers = str(Path(__file__).parent)
    include = sysconfig.get_paths()["include"]
    for index, (file, old, new) in enumerate(faults):
        mutant = folder / f"kernel{index}"
        mutant.mkdir(parents=True)
        for path in source.glob("_kernel*.[ch]"):
            shutil.copy(path, mutant)
        text = (mutant / file).read_text()
        assert old in text, (file, old)
        (mutant / file).write_text(text.replace(old, new, 1))
        library = mutant / "_kernel.so"
        command = ["gcc", "-O0", "-w", "-shared", "-fPIC", "-ffp-contract=off", f"-I{include}"]
        subprocess.run([*command, str(mutant / "_kernel.c"), "-o", str(library)], check=True)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _CHECK, str(library), helpers],
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
            # Anything but a clean end: a difference (3), a crash, an error of an assertion.
            found = done.returncode != 0
        except subprocess.TimeoutExpired:
            found = True
        yield Mutant("c kernel", f"{file}: {old} -> {new}", found)
