"""The comparison with the paper: what is compared, and the targets of TARGETS by synthesis.

`make test` synthesises the Hopper shape; `make test-full` all five.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from policy_builders import random_artifact

from qpolicy_fpga.plan.random_networks import SHAPES
from qpolicy_fpga.report.energy import Energy
from qpolicy_fpga.report.report import WholeFigures
from qpolicy_ros.bench import fpga_cores
from qpolicy_ros.bench.fpga_core_rows import CoreRow, Whole
from qpolicy_ros.policy import save_policy

QUICK = "hopper"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of policies that is looked up before the shipped ones."""
    monkeypatch.setattr("qpolicy_ros.policy.locate.policy_folders", lambda: [tmp_path])

    def ship(name, **sizes):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        artifact = random_artifact(1, 27, outputs=8, output_bits=8, **sizes)
        save_policy(artifact, path)
        return artifact

    return ship


@pytest.mark.usefixtures("shelf")
def test_without_a_shipped_policy_a_random_one_stands_in():
    (only,) = fpga_cores.subjects("ant")
    assert (only.origin, only.network.hidden) == ("random", (64, 64))


def test_shipped_policies_are_picked_up(shelf):
    paper = shelf("ant/paper", hidden=(64, 64), input_bits=3, core_bits=2)
    chosen = shelf("ant/selected", hidden=(8,), input_bits=4, core_bits=3)
    found = {subject.origin: subject.network for subject in fpga_cores.subjects("ant")}
    assert found.keys() == {"paper", "selected"}
    assert found["paper"].hidden == paper.network.hidden
    assert found["selected"].core_bits == chosen.network.core_bits


def test_a_policy_of_other_sizes_is_not_compared_as_the_papers(shelf):
    shelf("ant/paper", hidden=(64, 64), input_bits=4, core_bits=2)
    assert [subject.origin for subject in fpga_cores.subjects("ant")] == ["random"]


def test_a_selected_policy_that_does_not_fit_is_a_note(shelf, monkeypatch, tmp_path):
    shelf("ant/selected", hidden=(8,), input_bits=4, core_bits=3)
    monkeypatch.setattr(fpga_cores, "QUICK", ("ant",))

    def measured(subject):
        if subject.origin == "selected":
            raise fpga_cores.InputError("part: the policy does not fit")
        return ROW

    monkeypatch.setattr(fpga_cores, "measure", measured)
    monkeypatch.setattr(fpga_cores, "measure_words", lambda _: WHOLE)
    row = replace(ROW, whole=WHOLE, conditions={**FACTS, **ROW.conditions})
    assert run(tmp_path / "out") == [row]
    page = (tmp_path / "out" / "fpga.md").read_text()
    assert "ant/selected: part: the policy does not fit." in page
    assert "| ant | random | 10 (16) | 2 | 9,444 |" in page
    assert json.loads((tmp_path / "out" / "fpga.json").read_text()) == [row.as_json()]


def test_whole_designs_stand_beside_the_cores():
    text = fpga_cores.page([replace(ROW, whole=WHOLE)], [])
    assert "| ant | random | 19 | 11 | 10 | 2 | 0.19 | 12.1 | 9,000 |" in text
    assert "quantiser and action table |" not in fpga_cores.page([ROW], [])


@pytest.mark.usefixtures("shelf")
def test_a_whole_that_does_not_fit_is_a_note(monkeypatch, tmp_path):
    def refused(_):
        raise fpga_cores.InputError("part: no room for it")

    monkeypatch.setattr(fpga_cores, "QUICK", ("ant",))
    monkeypatch.setattr(fpga_cores, "measure", lambda _: ROW)
    monkeypatch.setattr(fpga_cores, "measure_words", refused)
    assert run(tmp_path) == [replace(ROW, conditions={**FACTS, **ROW.conditions})]
    note = "ant/random with quantiser and action table: part: no room for it."
    assert note in (tmp_path / "fpga.md").read_text()


def test_a_row_says_where_and_what_it_was_made_of(shelf, monkeypatch, tmp_path):
    shipped = shelf("ant/paper", hidden=(64, 64), input_bits=3, core_bits=2)
    (subject,) = fpga_cores.subjects("ant")
    assert subject.function_hash == shipped.function_hash
    monkeypatch.setattr(fpga_cores, "QUICK", ("ant",))
    monkeypatch.setattr(fpga_cores, "measure", lambda _: ROW)
    monkeypatch.setattr(fpga_cores, "measure_words", lambda _: WHOLE)
    (row,) = run(tmp_path)
    assert row.conditions == {"git_revision": "abc", "part": "xc7a15t"}
    assert "- revision abc" in (tmp_path / "fpga.md").read_text().splitlines()


def test_cycles_are_asked_of_the_papers_sizes_alone():
    slow = replace(ROW, policy="selected", cycles=17)
    text = fpga_cores.page([slow], [])
    assert "| ant | selected | 17 | 2 |" in text
    assert fpga_cores.meets_target(slow)
    assert not fpga_cores.meets_target(replace(slow, fits=False))


def run(out):
    """The rows of a run of one task."""
    return fpga_cores.run(out, lambda _: None, FACTS, ["- revision abc"], quick=True)


FACTS = {"git_revision": "abc"}
WHOLE = Whole(
    WholeFigures(
        cycles=19, initiation_interval=2, latency_us=0.19, lut=9000, carry4=300, ff=3000, bram36=4,
        dsp=16, fits=True, depth_ns=3.2, critical_path="",
    ),
    core_cycles=11,
)  # fmt: skip
ROW = CoreRow(
    task="ant", policy="random", subject="ant/random", function_hash="", forms=(), ratio=23.0,
    latency_us=0.1, cycles=10, target_cycles=16, initiation_interval=2, actions_per_s=5e7,
    lut=9444, carry4=304, ff=2849, bram36=0, dsp=0, depth_ns=2.97, depth_allowed_ns=3.5,
    fits=True, energy=Energy(30.0, 20.0, 40.0, 0.0), conditions={"part": "xc7a15t"},
)  # fmt: skip


@pytest.mark.parametrize(
    "worse", [{"fits": False}, {"depth_ns": 3.51}, {"cycles": 17}], ids=lambda d: next(iter(d))
)
def test_a_missed_target_is_seen(worse):
    assert fpga_cores.meets_target(ROW)
    assert not fpga_cores.meets_target(replace(ROW, **worse))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("task", SHAPES)
def test_the_core_meets_the_target_by_synthesis(task, full):
    pytest.importorskip("pyosys")
    if task != QUICK and not full:
        pytest.skip("the other shapes: make test-full")
    for subject in fpga_cores.subjects(task):
        row = fpga_cores.measure(subject, energy=False)
        assert fpga_cores.meets_target(row), row


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("task", SHAPES)
def test_the_whole_fits_and_takes_microseconds(task, full):
    pytest.importorskip("pyosys")
    if task != QUICK and not full:
        pytest.skip("the other shapes: make test-full")
    whole = fpga_cores.measure_words(next(fpga_cores.subjects(task)).network)
    assert whole.figures.fits, whole
    assert whole.figures.latency_us < 10
    assert whole.core_cycles < whole.figures.cycles


def test_a_row_has_the_fields_of_the_kept_ones():
    kept = json.loads((ROOT / "docs" / "benchmarks" / "fpga.json").read_text())
    whole = next(row for row in kept if "end_to_end" in row)
    made = replace(ROW, whole=WHOLE).as_json()
    assert list(made) == list(whole)
    for name in ("paper", "end_to_end"):
        assert list(made[name]) == list(whole[name])
