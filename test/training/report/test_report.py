"""The report: its statistics, the paper's data behind, ours in front, bad input in one line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from policy_builders import random_artifact

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import load_policy, make_artifact, save_policy
from qpolicy_training.report.figures import (
    FIGURES,
    bits,
    curves,
    input_bits,
    log_ticks,
    pareto,
    pareto_front,
    pareto_lut,
    seeds,
    width,
)
from qpolicy_training.report.history import policies_table, sweeps_table
from qpolicy_training.report.page import aggregate_table, captions, html, returns_table, seeds_table
from qpolicy_training.report.runs import TASKS, gather
from qpolicy_training.report.statistics import estimate, interquartile_mean


@pytest.fixture
def policies(tmp_path):
    """One policy with returns, its curve and a ledger of two stages of one run."""
    folder = tmp_path / "policies"
    (folder / "hopper").mkdir(parents=True)
    facts = {"integer": {"backend": "integer", "episodes": 7, "mean": 1234.0, "std": 5.0}}
    made = random_artifact(0, hidden=(16, 16))
    contract = dataclasses.replace(made.contract, task="hopper")
    provenance = {
        "command": "qpolicy quantize --method qat --start older.qat.safetensors --sac.steps 20",
        "method": "qat",
        "returns": facts,
        "seed": 3,
        "steps": 5,
        "steps_trained": 10,
        "config_hash": "0123456789ab",
        "resumes": [{"kind": "exact", "step": 7}, {"kind": "warm", "of": "ba98", "step": 9}],
    }
    parts = (contract, made.baseline, made.network, provenance, made.golden.observations)
    artifact = make_artifact(*parts)
    save_policy(artifact, folder / "hopper" / "paper.safetensors")
    (folder / "hopper" / "paper.csv").write_text("step,held_out_return,seconds\n10,5.5,1\n")
    cost = {"cycles": 1, "lut": 2}
    shape = {"hidden": [32, 32], "b_in": 4, "b_core": 2, "b_out": 8, "seed": 1, "cost": cost}
    shape["cpu_seconds"] = 30.0
    rows = [
        {"stage": "sweep", "hash": "s", "cpu_seconds": 0.0},
        {"stage": "rung 1", "hash": "a", "returns": [1.0], "mean": 1.0, "std": 0.0, **shape},
        {"stage": "rung 2", "hash": "a", "returns": [2.0, 4.0], "mean": 3.0, "std": 1.4, **shape},
        {"stage": "rung 1", "hash": "b", "returns": [], "error": "diverged", **shape},
    ]
    text = "\n".join(map(json.dumps, rows))
    (folder / "hopper" / "selected.ledger.jsonl").write_text(text)
    return folder


def test_the_interquartile_mean_cuts_a_quarter_at_each_end():
    assert interquartile_mean([100.0, 3.0, 2.0, -50.0]) == 2.5
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0
    ten = np.arange(10.0)
    assert interquartile_mean(ten) == ten[2:8].mean()


def test_the_interval_draws_within_each_task():
    """Two tasks far apart: drawing across them would mix their numbers."""
    found = estimate([[0.0] * 10, [1.0] * 10])
    assert (found.value, found.low, found.high, found.runs) == (0.5, 0.5, 0.5, 20)


def test_the_interval_covers_about_as_often_as_it_says():
    hits = 0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(5.0, 1.0, 30)
        found = estimate([list(values)], seed)
        hits += found.low <= 5.0 <= found.high
    assert hits >= 50


def test_the_front_keeps_what_nothing_beats():
    points = [(10.0, 5.0), (5.0, 4.0), (20.0, 4.5), (10.0, 3.0), (30.0, 6.0)]
    assert pareto_front(points) == [(5.0, 4.0), (10.0, 5.0), (30.0, 6.0)]


def test_the_ticks_of_costs_are_never_one_alone():
    assert log_ticks(900.0, 4000.0) == [1000.0, 2000.0]
    assert log_ticks(1500.0, 12000.0) == [2000.0, 5000.0, 10000.0]
    assert log_ticks(5.0, 30000.0) == [10.0, 100.0, 1000.0, 10000.0]


def _panel(draw, policies, tmp_path):
    """Return what a panel of hopper shows, by label."""
    file = tmp_path / "fpga.json"
    rows = [{"task": "hopper", "policy": "paper", "cycles": 7, "lut": 1482}]
    file.write_text(json.dumps(rows))
    axis = Figure().subplots()
    draw(axis, gather(policies, file), "hopper")
    return axis, dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))


def test_the_front_goes_through_no_modelled_cost(policies, tmp_path):
    _, shown = _panel(pareto, policies, tmp_path)
    assert list(shown["our sweep, modelled cost"].get_xdata()) == [1]
    assert min(shown["front"].get_xdata()) == 7


@pytest.mark.parametrize("draw", [bits, width, input_bits, pareto, pareto_lut])
def test_a_candidate_of_a_sweep_is_seen(draw, policies, tmp_path):
    axis, shown = _panel(draw, policies, tmp_path)
    (cross,) = (shown[label] for label in shown if label.startswith("our sweep"))
    assert cross.get_markeredgecolor() != axis.get_facecolor()
    assert cross.get_markeredgewidth() >= 1
    low, high = axis.get_xlim()
    assert low < cross.get_xdata()[0] < high


@pytest.mark.parametrize("draw", [bits, width, input_bits, curves, pareto, pareto_lut, seeds])
def test_the_papers_seeds_stand_behind_ours(draw, policies, tmp_path):
    axis, _ = _panel(draw, policies, tmp_path)
    fp32 = sorted(gather(policies, None).paper_fp32("hopper"))
    drawn = [sorted(line.get_ydata()) for line in axis.lines if line.get_marker() in (".", "o")]
    assert fp32 in drawn
    assert len(drawn) > 1, "seeds of quantised runs too"


def test_the_papers_runs_are_complete(policies):
    runs = gather(policies, None)
    assert len(runs.quantised) == 2400
    assert all(len(runs.paper_fp32(task)) == 10 for task in TASKS)
    assert runs.selected("hopper") == (16, 6, 2, 8)
    assert np.mean(runs.paper("hopper", runs.selected("hopper"))) == pytest.approx(2126, abs=1)
    assert np.mean(runs.paper_fp32("ant")) == pytest.approx(5089, abs=1)


def test_our_runs_are_read(policies):
    runs = gather(policies, None)
    (point,) = runs.shipped
    assert (point.task, point.name, point.hidden) == ("hopper", "paper", 16)
    assert (point.mean, point.std, point.episodes, point.seed) == (1234.0, 5.0, 7, 3)
    (swept,) = runs.swept
    assert (swept.mean, swept.hidden, swept.b_core) == (3.0, 32, 2)
    assert runs.curves["hopper", "paper"] == [(10, 5.5)]


def test_the_page_says_what_every_figures_runs_were(policies):
    runs = gather(policies, None)
    artifact = load_policy(policies / "hopper" / "paper.safetensors")
    head, (row,) = policies_table(runs)
    said = dict(zip(head, row, strict=True))
    assert said == {
        "policy": "hopper/paper",
        "method": "qat",
        "seed": "3",
        "chosen of trained": "5 of 10 steps",
        "started from": "older.qat.safetensors",
        "resumed at": "7 exact; 9 warm, of run ba98",
        "config": "0123456789ab",
        "function": artifact.function_hash[:12],
    }
    assert "Last stage of several only: hopper/paper." in captions(runs)["curves"]
    head, (row,) = sweeps_table(runs)
    said = dict(zip(head, row, strict=True))
    assert (said["ledger"], said["sweep"]) == ("selected.ledger.jsonl", "s")
    assert (said["candidates"], said["stages"]) == ("2", "3")
    page = html(runs, dict.fromkeys(FIGURES, b""))
    assert all(text in page for text in (*row, "0123456789ab", "older.qat.safetensors"))


def test_a_selected_policys_length_is_that_of_its_candidate(policies):
    """Its provenance names the run; the ledger says how that was trained."""
    made = gather(policies, None).made[0]
    facts = {"method": "select", "sweep_hash": "s", "steps": 4000, "config_hash": "a"}
    selected = made._replace(provenance=facts, method="distill", rounds="6", curve_end=8000.0)
    runs = dataclasses.replace(gather(policies, None), made=[selected])
    _, (row,) = policies_table(runs)
    assert row[1] == "select by distill, sweep s"
    assert row[3] == "4,000 of 8,000 samples, 6 rounds"
    assert row[5] == "not stated"


def test_a_curve_of_the_chosen_step_alone_does_not_say_how_long_a_run_was(policies):
    assert gather(policies, None).made[0].curve_end is None
    curve = policies / "hopper" / "paper.csv"
    curve.write_text(curve.read_text() + "20,5.4,2\n")
    assert gather(policies, None).made[0].curve_end == 20


def _repetition(teacher, means, **last):
    """The ledger of `qpolicy select --scope seeds`; None: a seed that diverged."""
    config = {"scope": "seeds", "teacher": teacher, "last": last}
    shape = {"hidden": [16, 16], "b_in": 6, "b_core": 2, "b_out": 8, "cpu_seconds": 1.0}
    rows = [{"stage": "sweep", "hash": "s", "cpu_seconds": 0.0, "config": config}]
    for seed, mean in enumerate(means, 1):
        row = {"hash": f"{teacher}{seed}", "seed": seed, **shape}
        rows.append({**row, "stage": "rung2", "returns": [1.0], "mean": 1.0, "std": 0.0})
        if mean is None:
            rows.append({**row, "stage": "rl", "returns": [], "error": "diverged"})
        else:
            last = {"returns": [mean, mean], "mean": mean, "std": 0.0}
            rows.append({**row, "stage": "exam", **last})
    return "\n".join(map(json.dumps, rows))


def test_seeds_stand_beside_the_papers_and_none_is_dropped(policies, tmp_path):
    for teacher, means in (("a", [3000.0, None, 2000.0]), ("b", [1000.0])):
        path = policies / "hopper" / f"seeds-{teacher}.ledger.jsonl"
        path.write_text(_repetition(teacher, means))
    runs = gather(policies, None)
    assert len(runs.swept) == 1, "no candidates of a sweep"
    assert len(runs.sweeps) == 3
    _, (students, pipelines) = seeds_table(runs)
    assert students[:4] == ["hopper", "16, 6 / 2 / 8", "student", "3, 1 diverged"]
    assert students[4].startswith("2,500 ")
    assert students[5:7] == ["2,000 to 3,000", "1 of 3 (2,710)"]
    assert students[8].startswith("3,3")
    assert pipelines[2:4] == ["whole pipeline", "2"]
    assert pipelines[5] == "1,000 to 3,000"
    axis, _ = _panel(seeds, policies, tmp_path)
    assert [3000.0, 2000.0] in [list(line.get_ydata()) for line in axis.lines]


def test_students_by_scaled_rewards_are_another_recipe(policies):
    for teacher, scale in (("a", {}), ("b", {"reward_scale": 0.1}), ("c", {"reward_scale": 0.1})):
        path = policies / "hopper" / f"teacher-{teacher}.ledger.jsonl"
        path.write_text(_repetition(teacher, [3000.0], **scale))
    _, (pipelines,) = seeds_table(gather(policies, None))
    assert pipelines[2:4] == ["whole pipeline, reward scale 0.1", "2"]


def test_hardware_figures_find_their_policy(policies, tmp_path):
    file = tmp_path / "fpga.json"
    rows = [
        {"task": "hopper", "policy": "shipped", "cycles": 7, "lut": 1482},
        {"task": "ant", "policy": "random", "cycles": 10, "lut": 9444},
    ]
    file.write_text(json.dumps(rows))
    (point,) = gather(policies, file).shipped
    assert (point.cycles, point.lut) == (7.0, 1482.0)


def test_the_tables_have_the_paper_and_us(policies):
    runs = gather(policies, None)
    _, rows = returns_table(runs)
    assert ["hopper", "ours, paper", "16"] in [row[:3] for row in rows]
    assert len(rows) == 2 * len(TASKS) + 1
    _, rows = aggregate_table(runs)
    assert [row[0] for row in rows] == [str(bits) for bits in range(2, 9)]
    assert all("[" in cell for row in rows for cell in row[1:])


def test_the_command_writes_one_page_and_its_plots(policies, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["report", "--policies", str(policies), "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(FIGURES)
    assert "src=" not in page.replace('src="data:', "")
    text = (out / "report.md").read_text()
    assert all(f"({name}.png)" in text and (out / f"{name}.png").exists() for name in FIGURES)
    assert "walker2d: no policy of ours yet" in text
    capsys.readouterr()


@pytest.mark.parametrize(
    ("file", "content", "wrong"),
    [
        ("hopper/paper.csv", "a,b\n1,2\n", "column step: is missing; give the curve.csv"),
        ("hopper/selected.ledger.jsonl", "{", "line 1: is not a row of a ledger; delete"),
        ("hopper/fp32.safetensors", "none", "fp32.safetensors"),
    ],
)
def test_a_file_that_does_not_fit_is_named(policies, tmp_path, capsys, file, content, wrong):
    (policies / file).write_text(content)
    arguments = ["report", "--policies", str(policies), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert wrong in capsys.readouterr().err


def test_no_policies_is_said(tmp_path, capsys):
    assert main(["report", "--policies", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "give a folder of policies" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("{}", "hardware: a dict is no list of rows; give the rows of the hardware benchmark"),
        ("[]", "hardware: a list is no list of rows"),
        ("[3]", "row 1: 3 is no row"),
        ('[{"task": "hopper", "policy": "paper", "cycles": 7}]', "row 1, lut: None is not one"),
        ('[{"task": "hopper", "policy": "x", "cycles": NaN, "lut": 1}]', "row 1, cycles: nan"),
        ('[{"task": [], "policy": "x", "cycles": 1, "lut": 1}]', "row 1, task: a list is not"),
        ("[" * 9999, "hardware: cannot be read: maximum recursion depth"),
    ],
)
def test_hardware_that_is_none_is_named(policies, tmp_path, capsys, content, wrong):
    file = tmp_path / "fpga.json"
    file.write_text(content)
    command = ["report", "--policies", str(policies), "--out", str(tmp_path / "out")]
    assert main([*command, "--hardware", str(file)]) == 2
    assert f"{file}: {wrong}" in capsys.readouterr().err
