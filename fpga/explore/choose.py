"""Choose a form for every layer: fewest cycles that fit, or fewest look-up tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

from qpolicy_fpga.emit.lookup import lookup_levels
from qpolicy_fpga.emit.timing import core_timing
from qpolicy_fpga.emit.verilog import CLOCK_TO_OUT, LUT_DELAY
from qpolicy_fpga.explore.cost import MARGIN, Cost, layer_cost
from qpolicy_fpga.plan.devices import PARTS, Part
from qpolicy_fpga.plan.form import LOGIC_SHARE, MAX_LOOKUP_BITS, Form, logic_budget
from qpolicy_fpga.plan.layer import bus_beats
from qpolicy_ros.policy import IntegerNetwork, PolicyError

FOLDS = (1, 2, 4, 8, 16, 32)
RAM_TREES = (1, 2, 3, 4, 5, 6)
# Neurons of a layer that takes its inputs in chunks: each has a tree of its own.
MAX_STREAM = 32
# Trees with more tables than any part has are not even sampled.
MAX_TERMS = 1 << 18
FITS = ("latency", "area")
MAX_CLOCK_MHZ = LOGIC_SHARE * 1000 / (CLOCK_TO_OUT + LUT_DELAY)


class FitError(PolicyError):
    """No form of the policy fits the part."""


@dataclass(frozen=True)
class Choice:
    """One form for each layer, and what they come to.

    Attributes:
        costs: one a layer.
        cycles: estimated latency of the core, exact but for padding between trees.
        lut, ff, carry4, bram36, dsp: estimated cells of the core.
    """

    costs: tuple[Cost, ...]
    cycles: int
    lut: float
    ff: float
    carry4: float
    bram36: float
    dsp: int

    @property
    def forms(self) -> tuple[Form, ...]:
        """Form of each layer."""
        return tuple(cost.form for cost in self.costs)

    def tables(self, part: Part) -> float:
        """Look-up tables of ``part``, which may have fewer inputs than those of the estimate."""
        folded = sum(cost.lut for cost in self.costs if cost.form.fold > 1 and not cost.form.ram)
        return folded * part.folded_cost + (self.lut - folded) * part.lut_cost

    def excess(self, part: Part) -> dict[str, float]:
        """By how much each resource of ``part`` is exceeded; empty if it fits."""
        allowed = 1 - MARGIN
        used = {
            "lut": self.tables(part),
            "ff": self.ff,
            "carry4": self.carry4,
            "bram36": self.bram36,
        }
        used["dsp"] = self.dsp
        limits = {
            "lut": part.lut * allowed,
            "ff": part.ff * allowed,
            "carry4": part.carry4 * allowed,
            "bram36": float(part.bram36),
            "dsp": float(part.dsp),
        }
        return {name: used[name] - limits[name] for name in used if used[name] > limits[name]}


def choose(
    network: IntegerNetwork, part: Part, clock_mhz: float, fit: str, max_latency: int | None
) -> tuple[Choice, list[Choice]]:
    """Return the choice for ``part`` and the Pareto front of cycles against look-up tables.

    Raises:
        PolicyError: ``fit`` or the clock is wrong.
        FitError: nothing fits: says by how much and what would do.
    """
    if fit not in FITS:
        raise PolicyError(f"fit: {fit!r} is not known; choose latency or area")
    if not clock_mhz > 0:
        raise PolicyError(f"clock_mhz: {clock_mhz} is not above 0; 100 is usual")
    most = MAX_CLOCK_MHZ / part.slowdown
    if clock_mhz > most:
        raise PolicyError(
            f"clock_mhz: {clock_mhz:g} is too fast for one look-up table between two registers "
            f"with its routing; ask for {most:.0f} at most"
        )
    clock_mhz *= part.slowdown
    options = [list(_undominated(_candidates(network, i, clock_mhz))) for i in _layers(network)]
    choices = [_total(network, costs) for costs in product(*options) if _follow(costs)]
    front = _front([choice for choice in choices if not choice.excess(part)])
    allowed = [c for c in front if max_latency is None or c.cycles <= max_latency]
    if not allowed:
        raise FitError(_refusal(choices, front, part, max_latency))
    best = min(allowed, key=(lambda c: c.cycles) if fit == "latency" else (lambda c: c.lut))
    return best, front


def _layers(network: IntegerNetwork) -> range:
    return range(len(network.weights))


def _candidates(network: IntegerNetwork, index: int, clock_mhz: float) -> Iterator[Cost]:
    """Costs of every form that makes sense for a layer."""
    neurons, inputs = network.weights[index].shape
    bits = network.input_bits if index == 0 else network.core_bits
    budget = logic_budget(clock_mhz)
    groups = sorted({-(-bits // steps) for steps in range(1, bits + 1)})
    for fold, planes in product(sorted(_folds(neurons)), groups):
        if fold > FOLDS[-1]:
            yield layer_cost(network, index, Form(fold, planes, ram=True), budget)
        elif -(-neurons // fold) * inputs * planes <= MAX_TERMS:
            yield layer_cost(network, index, Form(fold, planes), budget)
    read = int((network.weights[index] != 0).sum(axis=1).max()) * bits
    delay = CLOCK_TO_OUT + lookup_levels(read) * LUT_DELAY
    if read <= MAX_LOOKUP_BITS and delay <= budget:
        yield layer_cost(network, index, Form(1, bits, lookup=True), budget)
    if neurons <= MAX_STREAM:
        form = Form(1, bits, stream=True)
        for before in _folds_before(network, index):
            yield layer_cost(network, index, form, budget, before)


def _folds_before(network: IntegerNetwork, index: int) -> set[int]:
    """Folds of the layer before that hand on chunks; for the first layer, beats do."""
    if index == 0:
        return {1} if bus_beats(network)[0] > 1 else set()
    return _folds(network.weights[index - 1].shape[0]) - {1}


def _folds(neurons: int) -> set[int]:
    """Neurons that a tree serves, in every form of a layer that makes sense."""
    folds = {fold for fold in FOLDS if fold <= neurons} | {min(neurons, FOLDS[-1])}
    return folds | {fold for trees in RAM_TREES if (fold := -(-neurons // trees)) > FOLDS[-1]}


def _follow(costs: Sequence[Cost]) -> bool:
    """Whether each layer that takes chunks comes behind one that hands on as many."""
    return all(b.chunks in (1, a.form.fold) for a, b in pairwise(costs))


def _undominated(costs: Iterator[Cost]) -> Iterator[Cost]:
    """Drop what another form beats in cycles and cells at once.

    One that takes chunks goes with one form before it only, so it beats none but its like.
    """
    kept = list(costs)

    def beats(a: Cost, b: Cost) -> bool:
        first, second = ((c.latency, c.lut, c.bram36, c.dsp) for c in (a, b))
        fits = a.chunks in (1, b.chunks)
        return fits and first != second and all(x <= y for x, y in zip(first, second, strict=True))

    return (cost for cost in kept if not any(beats(other, cost) for other in kept))


def _total(network: IntegerNetwork, costs: Sequence[Cost]) -> Choice:
    """Add up layers, the input register and the waiting results."""
    inputs, bits = network.weights[0].shape[1], network.input_bits
    core = core_timing(inputs, bits, costs)
    captured = 0 if core.direct else inputs * bits
    result = network.weights[-1].shape[0] * network.output_bits
    return Choice(
        costs=tuple(costs),
        cycles=core.cycles,
        # one look-up table a bit keeps results as shift registers, one chooses what goes out
        lut=sum(cost.lut for cost in costs) + 2 * result + 20,
        ff=sum(cost.ff for cost in costs) + captured + result + core.credits,
        carry4=sum(cost.carry4 for cost in costs),
        bram36=sum(cost.bram36 for cost in costs),
        dsp=sum(cost.dsp for cost in costs),
    )


def _front(choices: Sequence[Choice]) -> list[Choice]:
    """Pareto front: ever more cycles, ever fewer look-up tables."""
    front: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.cycles, c.lut)):
        if not front or choice.lut < front[-1].lut:
            front.append(choice)
    return front


def _refusal(
    choices: Sequence[Choice], front: Sequence[Choice], part: Part, max_latency: int | None
) -> str:
    """Return by how much nothing fits, and what would do."""
    if front:
        fastest = front[0].cycles
        return (
            f"max_latency: {max_latency} cycles do not fit the {part.name}; the fastest form that "
            f"does takes {fastest}; allow that, or take a larger part"
        )
    quick = [c for c in choices if max_latency is None or c.cycles <= max_latency] or choices
    # Quantiser and action table may leave nothing of a small part.
    lut, bram36 = max(part.lut, 1), max(part.bram36, 1)
    nearest = min(quick, key=lambda c: max(c.tables(part) / lut, c.bram36 / bram36))
    over = ", ".join(f"{v:,.0f} {k} too many" for k, v in nearest.excess(part).items())
    whole = PARTS.get(part.name, part)

    def room(other: Part) -> Part:
        """What ``other`` has left where as much of it is taken as of ``part``."""
        return replace(
            other,
            lut=other.lut - (whole.lut - part.lut),
            bram36=other.bram36 - (whole.bram36 - part.bram36),
            dsp=other.dsp - (whole.dsp - part.dsp),
        )

    larger = [
        p.name
        for p in PARTS.values()
        if p.family == part.family and any(not c.excess(room(p)) for c in quick)
    ]
    remedy = (
        f"take the {larger[0]} or" if larger else "no supported part of its family holds it, take"
    )
    return f"part: the policy does not fit the {part.name}: {over}; {remedy} a narrower policy"
