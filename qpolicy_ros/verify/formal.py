"""Part 3 and the hardware's side of part 2: every generated neuron, for all inputs.

A neuron is a tree of adders, where bit planes are added in turn an accumulator, and a tail that
counts thresholds. Each piece is proven for all of its inputs, so their composition is too:

- ``planes``: the trees see the bit planes of the codes (SAT);
- ``dot``: the tree's sum is ``sum |w| v`` (rewriting, see ``algebra``; block RAM read back);
- ``step``: the accumulator shifts and adds (SAT);
- ``tail``: the code counts the thresholds, for every sum (SAT; behind a multiplication, for every
  sum that can be reached);
- ``whole``: from input bits to the code in one proof (SAT), where it ends within its time;
- ``lookup``: the same for a neuron that is a truth table, which has no pieces.

Registers are looked through. When they take what, and the control around them, is left to
simulation (part 4).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from qpolicy_fpga.manifest import Manifest
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import IntegerNetwork, PolicyError
from qpolicy_ros.verify.algebra import tree_sum, wanted_stored_sum, wanted_sum
from qpolicy_ros.verify.layer_text import LayerText, TreeText, read_layer
from qpolicy_ros.verify.result import Check
from qpolicy_ros.verify.specification import (
    LayerSpecification,
    neuron_miter,
    planes_miter,
    specify,
    step_miter,
    tail_miter,
)

Progress = Callable[[int], object]
SAT_SECONDS = 60  # for a tail, a step or bit planes; they end in milliseconds
WHOLE_SECONDS = 10  # for a whole neuron
SHARED_MODULES = ("qpolicy_lut.v", "qpolicy_copy.v")
WHOLE_BITS = 32  # input bits up to which a whole neuron is tried: 36 took minutes


class Proof(NamedTuple):
    """What one proof is about.

    Attributes:
        kind: ``planes``, ``step``, ``tail``, ``whole`` or ``lookup``.
        layer: its index.
        place: of the tree, neuron or step in it.
        neurons: how many neurons the proof is about.
        label: told apart by, where several sources are proven at once.
    """

    kind: str
    layer: int
    place: int
    neurons: int
    label: str = ""

    def __str__(self) -> str:
        return f"{self.kind} of layer {self.layer}, place {self.place}"


Outcomes = dict[Proof, str]  # "proved", "refuted" or "unfinished"


class FormalLayer:
    """The proofs of one layer.

    Args:
        network: the policy.
        folder: what ``generate`` wrote.
        manifest: its manifest.
        index: of the layer.
    """

    def __init__(
        self, network: IntegerNetwork, folder: Path, manifest: Manifest, index: int
    ) -> None:
        self.index = index
        self.form = manifest.layers[index]
        self.text: LayerText = read_layer(folder, index, self.form)
        self.spec: LayerSpecification = specify(network, index, self.form)
        self._folder = folder
        fold = self.form.fold
        self._phase_bits = (fold - 1).bit_length()
        self._steps = self.spec.planes // self.form.planes
        self._neurons = len(self.spec.weights)

    @property
    def lookup(self) -> bool:
        """Whether its neurons are truth tables of the input codes, without a sum."""
        return self.form.tail == "lookup"

    def neurons_of(self, place: int) -> dict[int, int]:
        """Neuron by phase of tree ``place``: in phase f, tree t serves neuron ``f trees + t``."""
        fold, trees = self.form.fold, len(self.text.trees)
        served = {phase: phase * trees + place for phase in range(fold)}
        return {phase: neuron for phase, neuron in served.items() if neuron < self._neurons}

    def dots(self) -> Check:
        """Prove every dot product by rewriting, and compare the weights in block RAM."""
        wrong: list[str] = []
        compared = 0
        for place, tree in enumerate(self.text.trees):
            stored = self.form.weights == "ram"
            results = self._stored(place, tree) if stored else self._fixed(place, tree)
            compared += len(results)
            wrong += [name for name, good in results.items() if not good]
        name = f"layer {self.index}: dot products equal their weight rows (rewriting)"
        return Check(name, compared, len(wrong), ", ".join(wrong[:4]))

    def _fixed(self, place: int, tree: TreeText) -> dict[str, bool]:
        """One proof a neuron: the weights are in the tables."""
        results = {}
        planes = self.form.planes
        phases = ["phase_next", *re.findall(r"wire \[\d+:0\] (own_phase\d+);", tree.text)]
        for phase, neuron in self.neurons_of(place).items():
            # Where codes come in chunks, a phase is a chunk; its weights may be looked up ahead.
            chunked = self.spec.chunks > 1
            rows = (
                enumerate(self.spec.rows(neuron))
                if chunked
                else [(phase, self.spec.weights[neuron])]
            )
            bits = (self.spec.chunks - 1).bit_length() if chunked else self._phase_bits
            good = True
            for at, weights in rows:
                constants = {f"{n}[{b}]": at >> b & 1 for n in phases for b in range(bits)}
                row = weights.tolist()
                wanted = wanted_sum([abs(w) for w in row], [w < 0 for w in row], planes, tree.width)
                good &= tree_sum(tree, constants) == wanted
            results[f"neuron {neuron}"] = good
        return results

    def _stored(self, place: int, tree: TreeText) -> dict[str, bool]:
        """One proof a tree for all weights, and the stored weights of each of its neurons."""
        inputs = self.spec.weights.shape[1]
        size = int(abs(self.spec.weights).max()).bit_length() + 1
        neurons = self.neurons_of(place)
        used = [0] * inputs
        for neuron in neurons.values():
            for at, weight in enumerate(self.spec.weights[neuron].tolist()):
                used[at] |= abs(weight)
        unused = {
            f"w[{at * size + digit}]": 0
            for at in range(inputs)
            for digit in range(size - 1)
            if not used[at] >> digit & 1
        }
        wanted = wanted_stored_sum(used, size, self.form.planes, tree.width)
        results = {tree.name: tree_sum(tree, unused) == wanted}
        trees = len(self.text.trees)
        bits = -(-trees * inputs * size // self._steps)
        for phase, neuron in neurons.items():
            words = [self.text.words.get(phase * self._steps + p, -1) for p in range(self._steps)]
            whole = sum(word << (bits * p) for p, word in enumerate(words))
            row = whole >> (place * inputs * size) & ((1 << inputs * size) - 1)
            expected = 0
            for at, weight in enumerate(self.spec.weights[neuron].tolist()):
                digits = (int(weight < 0) << (size - 1)) | abs(weight)
                expected |= digits << (at * size)
            results[f"neuron {neuron}"] = min(words) >= 0 and row == expected
        return results

    def jobs(self, scratch: Path, *, whole: bool) -> list[dict[str, Any]]:
        """Groups for the worker; ``whole`` adds the whole neurons that are small enough."""
        shared = [str(self._folder / name) for name in SHARED_MODULES]
        groups: list[dict[str, Any]] = []
        for place, tree in enumerate(self.text.trees):
            file = scratch / f"{tree.name}.v"
            file.write_text(tree.text, encoding="utf-8")
            common = {"files": [*shared, str(file)], "top": tree.name, "timeout": SAT_SECONDS}
            if self.lookup:
                text = neuron_miter(self.spec, place, tree.name)
                one = [(Proof("lookup", self.index, place, 1), text)]
                groups.append({**common, "free": [], "shown": [], "miters": one})
                continue
            neurons = self.neurons_of(place)
            reachable = self.form.tail == "scale"
            tail = tail_miter(self.spec, neurons, tree, self._phase_bits, reachable=reachable)
            one = [(Proof("tail", self.index, place, len(neurons)), tail)]
            groups.append(
                {
                    **common,
                    "files": [*shared, str(self._without_sum(scratch, tree))],
                    "free": sorted({tree.source, *(["held"] if self.spec.chunks > 1 else [])}),
                    "shown": [],
                    "miters": one,
                }
            )
            if tree.held:
                planes = self.form.planes if self.spec.chunks == 1 else 0
                text = step_miter(tree.name, tree.step, tree.width, tree.total, tree.held, planes)
                one = [(Proof("step", self.index, place, len(neurons)), text)]
                groups.append(
                    {**common, "free": [tree.step, "held"], "shown": ["next"], "miters": one}
                )
            if whole and self.can_be_whole(place):
                text = neuron_miter(self.spec, place, tree.name)
                one = [(Proof("whole", self.index, place, 1), text)]
                groups.append(
                    {**common, "free": [], "shown": [], "miters": one, "timeout": WHOLE_SECONDS}
                )
        return [*groups, self._plane_job(shared, scratch)]

    def _without_sum(self, scratch: Path, tree: TreeText) -> Path:
        """The tree with an undriven sum: Yosys cannot make an input of a wire that is constant."""
        kept = [line for line in tree.text.splitlines() if not line.startswith("    assign sum[")]
        file = scratch / f"{tree.name}_tail.v"
        file.write_text("\n".join(kept) + "\n", encoding="utf-8")
        return file

    def can_be_whole(self, neuron: int) -> bool:
        """Whether a neuron has a tree of its own and few enough input bits."""
        bits = int((self.spec.weights[neuron] != 0).sum()) * self.spec.planes
        alone = self.form.fold == 1 and self.spec.chunks == 1
        return alone and self._steps == 1 and bits <= WHOLE_BITS

    def _plane_job(self, shared: list[str], scratch: Path) -> dict[str, Any]:
        """The layer's module without trees and weights: codes in, what each tree sees out."""
        name = self.text.name
        whole = self.text.modules[name]
        kept = [
            line
            for line in whole.splitlines()
            if not re.match(r"\s+qpolicy_layer\d+_(tree\d+|weights) ", line)
        ]
        file = scratch / f"{name}.v"
        file.write_text("\n".join(kept) + "\n", encoding="utf-8")
        selects = choices(whole) if self._steps > 1 else []
        bits = (self._steps - 1).bit_length()
        seen = copies_seen(whole)
        miters = [
            (
                Proof("planes", self.index, step * len(seen) + at, 1),
                planes_miter(self.spec, name, self.form.planes, step, (selects, bits), codes),
            )
            for step in range(self._steps)
            for at, codes in enumerate(seen)
        ]
        return {
            "files": [*shared, str(file)],
            "top": name,
            "timeout": SAT_SECONDS,
            "free": selects,
            "shown": seen,
            "miters": miters,
        }


def choices(layer: str) -> list[str]:
    """Wires of a layer's text that choose bit planes; all hold the step."""
    return sorted(set(re.findall(r"\bchoice\d+\b", layer)))


def copies_seen(layer: str) -> list[str]:
    """Wires of a layer's text that trees get their codes from."""
    return sorted(set(re.findall(r"_tree\d+ tree\d+ \(.*\.c\((\w+)\)", layer)))


def prove(groups: list[dict[str, Any]], progress: Progress) -> Outcomes:
    """Run the worker over groups of proofs; the outcome of each.

    Raises:
        PolicyError: Yosys is missing (says how to install it) or refuses a source.
    """
    if importlib.util.find_spec("pyosys") is None:
        remedy = "install it with `pip install 'qpolicy_ros[fpga]'`"
        raise PolicyError.at("", "pyosys", "is not installed", remedy)
    outcomes: Outcomes = {}
    with scratch_folder() as folder:
        jobs, results, log = (Path(folder, name) for name in ("jobs", "results", "log"))
        results.touch()
        jobs.write_text(json.dumps(groups), encoding="utf-8")
        command = [sys.executable, "-m", "qpolicy_ros.verify.yosys_worker", str(jobs), str(results)]
        with log.open("w") as stream:
            worker = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        try:
            done = 0
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(0.2)
                lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
                complete = [line for line in lines if line.endswith("\n")]
                progress(len(complete) - done)
                done = len(complete)
                if worker.returncode is not None:
                    break
        finally:
            worker.kill()
            worker.wait()
        outcomes |= {Proof(*fields): outcome for fields, outcome in map(json.loads, complete)}
        wanted = [proof for group in groups for proof, _ in group["miters"]]
        missing = [proof for proof in wanted if proof not in outcomes]
        if missing:
            text = log.read_text(encoding="utf-8", errors="replace")
            errors = [line for line in text.splitlines() if "ERROR" in line or "Error" in line]
            reason = errors[0] if errors else f"status {worker.returncode}"
            raise PolicyError.at("", "yosys", f"{missing[0]}: {reason}", "report it")
    return outcomes


def summarise(kind: str, what: str, outcomes: Outcomes) -> Check | None:
    """The check of all proofs of one kind; an unfinished one counts as wrong. None without any."""
    chosen = {proof: outcome for proof, outcome in outcomes.items() if proof.kind == kind}
    wrong = {proof: outcome for proof, outcome in chosen.items() if outcome != "proved"}
    if not chosen:
        return None
    compared, failed = (sum(proof.neurons for proof in proofs) for proofs in (chosen, wrong))
    first = "; ".join(f"{proof}: {outcome}" for proof, outcome in list(wrong.items())[:4])
    return Check(f"{what} (SAT, {len(chosen)} proofs)", compared, failed, first)
