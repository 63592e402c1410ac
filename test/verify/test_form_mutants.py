"""Faults in every form of layer are found: a few here, all of them in `make test-full`."""

from __future__ import annotations

import json

import form_mutants
import pytest
from layer_forms import TOYS, write_toy

# A form the generator can make: tail, folded or not, where its weights are.
FORMS = {
    *(f"compare, {fold}, weights in LUTs" for fold in ("unrolled", "folded")),
    *(f"staged, {fold}, weights in LUTs" for fold in ("unrolled", "folded")),
    *(f"table, {fold}, weights in LUTs" for fold in ("unrolled", "folded")),
    *(f"rom, {fold}, weights in LUTs" for fold in ("unrolled", "folded")),
    *(f"search, {fold}, weights in LUTs" for fold in ("unrolled", "folded")),
    "search, folded, weights in block RAM",
    "scale, unrolled, weights in LUTs",
    "lookup, unrolled, weights in LUTs",
}
FEW = {
    "block RAM in parts": ("weight word", "search: choice", "weights: in turn"),
    "staged, search, rom": ("thresholds of a phase", "table: address"),
    "folded rom, serial": ("accumulator: shift",),
    "neurons that are tables": ("search: thresholds",),
}


def test_the_toys_have_every_form_of_layer_and_every_place_for_a_fault(tmp_path):
    found, planted = set(), set()
    for name in TOYS:
        _, manifest = write_toy(tmp_path / name, name)
        found |= {form_mutants.form_of(entry) for entry in manifest.layers}
        drawn = form_mutants.draw(name, tmp_path / name, manifest)
        planted |= {(fault.kind, fault.pattern) for _, fault, _, _ in drawn}
    assert found >= FORMS
    # A pattern that the generator's text no longer matches would plant nothing.
    assert planted == {(fault.kind, fault.pattern) for fault in form_mutants.FAULTS}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_faults_in_the_layers_are_found(tmp_path, capsys, full):
    planted = []
    for name in TOYS if full else FEW:
        kinds = form_mutants.KINDS if full else FEW[name]
        made = list(form_mutants.form_mutants(name, tmp_path / name, kinds))
        assert {mutant.kind for mutant in made} == set(kinds) or (full and made)
        planted += made
    with capsys.disabled():
        for mutant in planted:
            if not mutant.found:
                print("\nnot found: " + json.dumps(mutant))  # noqa: T201  the report
        if full:
            print("\n" + form_mutants.table(planted))  # noqa: T201
    assert [mutant for mutant in planted if not (mutant.found or mutant.equivalent)] == []
