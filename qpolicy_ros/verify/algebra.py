"""Dot products proven for all inputs, by rewriting a sum's polynomial from bits to inputs.

A tree is a network of counters: look-up tables whose outputs, weighted by powers of two, add up to
their weighted inputs. Written as a polynomial over the integers modulo ``2^width``, ``sum`` starts
as ``2^k`` times its bits. Replacing each look-up table's output by the multilinear polynomial of
its inputs, last one first, must end at the specification, ``sum |w| v`` over the input bits. Each
step is an identity over all inputs, so the end is one too; what a counter's outputs do not account
for stays behind and is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from qpolicy_ros.verify.layer_text import TreeText

Monomial = frozenset[str]
Polynomial = dict[Monomial, int]
Terms = tuple[tuple[Monomial, int], ...]
ONE: Monomial = frozenset()
_LARGEST = 200_000  # terms; a correct tree stays far below


@cache
def _multilinear(table: int, count: int) -> tuple[tuple[int, int], ...]:
    """The truth table as ``(set of inputs as bits, coefficient)``: its Moebius transform."""
    values = [table >> at & 1 for at in range(1 << count)]
    for place in range(count):
        for at in range(1 << count):
            if at >> place & 1:
                values[at] -= values[at ^ 1 << place]
    return tuple((at, value) for at, value in enumerate(values) if value)


def tree_sum(tree: TreeText, constants: Mapping[str, int]) -> Polynomial | None:
    """Return ``sum`` as a polynomial of the tree's inputs modulo ``2^width``; None if it explodes.

    Args:
        tree: as read back.
        constants: inputs that are fixed, by bit name: the phase, or weights from block RAM.
    """
    rewriting = _Rewriting(tree, constants)
    for low, *rows in tree.rows:
        for row in rows:
            for place, bit in enumerate(row):
                for variables, factor in rewriting.literal(bit):
                    rewriting.add(variables, factor << (low + place))
    for name in reversed(list(tree.luts)):  # a table looks at earlier ones only
        rewriting.replace(name)
        if len(rewriting.terms) > _LARGEST:
            return None
    return rewriting.terms


class _Rewriting:
    """The polynomial so far, and which of its terms each variable stands in."""

    def __init__(self, tree: TreeText, constants: Mapping[str, int]) -> None:
        self.terms: Polynomial = {}
        self._tree, self._constants = tree, constants
        self._modulus = 1 << tree.width
        self._users: dict[str, set[Monomial]] = {}
        self._literals: dict[str, Terms] = {}

    def add(self, variables: Monomial, factor: int) -> None:
        """Add one term."""
        before = self.terms.get(variables, 0)
        after = (before + factor) % self._modulus
        if after:
            self.terms[variables] = after
            if not before:
                for name in variables:
                    self._users.setdefault(name, set()).add(variables)
        elif before:
            del self.terms[variables]
            for name in variables:
                self._users[name].discard(variables)

    def literal(self, bit: str) -> Terms:
        """A bit as a polynomial: registers looked through, complements and constants resolved."""
        if bit not in self._literals:
            self._literals[bit] = self._resolve(bit)
        return self._literals[bit]

    def _resolve(self, bit: str) -> Terms:
        if bit.startswith("~"):
            flipped: Polynomial = {ONE: 1}
            for variables, factor in self.literal(bit[1:]):
                flipped[variables] = flipped.get(variables, 0) - factor
            return tuple((v, c) for v, c in flipped.items() if c)
        if bit.startswith("1'b"):
            return ((ONE, 1),) if bit.endswith("1") else ()
        if bit in self._tree.aliases:
            return self.literal(self._tree.aliases[bit])
        if bit in self._constants:
            return ((ONE, 1),) if self._constants[bit] else ()
        return ((frozenset({bit}), 1),)

    def replace(self, name: str) -> None:
        """Replace a look-up table's output by the polynomial of its inputs, wherever it stands."""
        affected = list(self._users.get(name, ()))
        if not affected:
            return
        lut = self._tree.luts[name]
        replacement: Polynomial = {}
        for chosen, coefficient in _multilinear(lut.table, len(lut.inputs)):
            bits = [bit for place, bit in enumerate(lut.inputs) if chosen >> place & 1]
            for variables, factor in self._product(bits).items():
                replacement[variables] = replacement.get(variables, 0) + coefficient * factor
        for variables in affected:
            coefficient = self.terms[variables]
            self.add(variables, -coefficient)
            rest = variables - {name}
            for inner, factor in replacement.items():
                self.add(rest | inner, coefficient * factor)

    def _product(self, bits: Sequence[str]) -> Polynomial:
        result: Polynomial = {ONE: 1}
        for bit in bits:
            step: Polynomial = {}
            for left, a in result.items():
                for right, b in self.literal(bit):
                    step[left | right] = step.get(left | right, 0) + a * b
            result = step
        return result


def wanted_sum(
    magnitude: Sequence[int], negative: Sequence[bool], planes: int, width: int
) -> Polynomial:
    """``sum |w| v`` of one step as a polynomial of the bits ``c``, modulo ``2^width``.

    ``c`` holds ``planes`` planes of all inputs; a negative weight takes the complement.
    """
    wanted: Polynomial = {}
    inputs = len(magnitude)
    for plane in range(planes):
        for place in range(inputs):
            factor = magnitude[place] << plane
            bit: Monomial = frozenset({f"c[{plane * inputs + place}]"})
            wanted[bit] = -factor if negative[place] else factor
            wanted[ONE] = wanted.get(ONE, 0) + factor * negative[place]
    return _reduced(wanted, width)


def wanted_stored_sum(used: Sequence[int], size: int, planes: int, width: int) -> Polynomial:
    """The same with weights as variables: ``w`` holds ``size`` bits an input, the sign on top.

    Of input i the magnitude's digits in ``used[i]`` are variables, the others are never set.
    """
    wanted: Polynomial = {}
    inputs = len(used)
    for plane in range(planes):
        for place in range(inputs):
            sign, bit = f"w[{place * size + size - 1}]", f"c[{plane * inputs + place}]"
            for digit in range(size - 1):
                if used[place] >> digit & 1:
                    # digit * (sign xor bit)
                    name, factor = f"w[{place * size + digit}]", 1 << (plane + digit)
                    for variables, value in (
                        ({name, sign}, factor),
                        ({name, bit}, factor),
                        ({name, sign, bit}, -2 * factor),
                    ):
                        key = frozenset(variables)
                        wanted[key] = wanted.get(key, 0) + value
    return _reduced(wanted, width)


def _reduced(polynomial: Polynomial, width: int) -> Polynomial:
    reduced = {variables: value % (1 << width) for variables, value in polynomial.items()}
    return {variables: value for variables, value in reduced.items() if value}
