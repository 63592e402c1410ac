"""The report as Markdown and as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

from qpolicy_training.report.figures import FIGURES
from qpolicy_training.report.history import Table, policies_table, start, sweeps_table
from qpolicy_training.report.runs import TASKS, Runs
from qpolicy_training.report.seeds import HEAD, groups, table_row
from qpolicy_training.report.statistics import estimate

TITLE = "Policies at low bits, beside the paper"
_INTRODUCTION = (
    "Behind: the paper's runs (Kresse & Lampert, L4DC 2026; 1,000 episodes a seed), by the "
    "authors' released data. In front: our policies, each played for the stated episodes by the "
    "integer backend. IQM: interquartile mean over seeds with its 95 % interval, by a bootstrap "
    "over seeds (within each task where tasks are put together)."
)
_POLICIES = (
    "By each file's provenance, which has the whole command. RL counts environment steps, "
    "distillation labelled samples. Started from: the trained student that the last stage began "
    "with; its curve shows that stage only. Resumed at: where the run was interrupted and went on."
)
_SWEEPS = (
    "A candidate is one shape with one seed; each of its stages (rungs, RL, exam) is a line of the "
    "ledger with its returns, seeds and cost. The figures show the last stage of each candidate. "
    "A candidate's configuration hash names it in the ledger."
)
_SEEDS = (
    "Recipes repeated with other seeds, none dropped: by `qpolicy select --scope seeds`, a line of "
    "the ledger for each stage of each seed, a hundred episodes an exam on seeds that nothing was "
    "chosen on. Student: one teacher, the student's seed differs. Whole pipeline: the teacher's "
    "seed differs too, the first student of each. DWC: the weightless controllers of the paper's "
    "authors (arXiv 2512.01467), ten seeds of the best configuration for the task."
)
_NO_SEEDS = "There is no ledger of repeated seeds."
_NO_SWEEP = "There is no ledger of a sweep."
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1500px; margin: 2em auto;
  padding: 0 1em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; } img { max-width: 100%; }
figure { margin: 1.5em 0; } figcaption { color: #555; } .note { color: #8a4b00; }
"""


def returns_table(runs: Runs) -> Table:
    """Our policies beside the paper's selection and FP32, one row a policy."""
    rows = []
    for task in TASKS:
        h, b_in, b_core, b_out = runs.selected(task)
        paper = estimate([runs.paper(task, (h, b_in, b_core, b_out))])
        fp32 = estimate([runs.paper_fp32(task)])
        rows.append([task, "paper, FP32", "256", "32 / 32 / 32", str(fp32), f"{fp32.runs} seeds"])
        shape = f"{b_in} / {b_core} / {b_out}"
        rows.append([task, "paper, selected", str(h), shape, str(paper), f"{paper.runs} seeds"])
        for point in runs.shipped:
            if point.task == task:
                bits = f"{point.b_in} / {point.b_core} / {point.b_out}"
                figure = f"{point.mean:,.0f} ± {point.std:,.0f}"
                run = f"1 run, seed {point.seed}, {point.episodes} episodes"
                rows.append([task, f"ours, {point.name}", str(point.hidden), bits, figure, run])
    return [
        "task",
        "policy",
        "h",
        "bits in / core / out",
        "return: IQM or mean ± std",
        "runs",
    ], rows


def aggregate_table(runs: Runs) -> Table:
    """The paper's returns over all five tasks, in units of its FP32 mean, by scope and bits."""
    scale = {task: estimate([runs.paper_fp32(task)]).value for task in TASKS}
    rows = []
    for bits in range(2, 9):
        cells = [str(bits)]
        for scope in ("all", "input", "core", "output"):
            shape = (
                256,
                *(bits if scope in ("all", part) else 8 for part in ("input", "core", "output")),
            )
            assert len(shape) == 4
            groups = [[value / scale[task] for value in runs.paper(task, shape)] for task in TASKS]
            found = estimate(groups) if any(groups) else None
            cells.append(f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]" if found else "-")
        rows.append(cells)
    return ["bits", "all", "input", "core", "output"], rows


def seeds_table(runs: Runs) -> Table:
    """Our repetitions of each recipe beside the paper's seeds and DWC's."""
    rows = [
        table_row(group, runs.paper(group.task, group.shape), runs.paper_fp32(group.task))
        for group in groups(runs.repeats)
    ]
    return HEAD, rows


def captions(runs: Runs) -> dict[str, str]:
    """What is said below each figure."""
    found = {name: caption for name, (_, caption) in FIGURES.items()}
    staged = [made.policy for made in runs.made if start(made)]
    if staged:
        found["curves"] += f" Last stage of several only: {', '.join(staged)}."
    return found


def markdown(runs: Runs) -> str:
    """Return the report with links to the figures' files."""
    parts = [
        f"# {TITLE}",
        _INTRODUCTION,
        *(f"Note: {note}." for note in runs.notes),
        _markdown_table(returns_table(runs)),
        *(f"## {name.replace('_', ' ').capitalize()}\n\n![{name}]({name}.png)\n\n{caption}"
          for name, caption in captions(runs).items()),
        "## Several seeds",
        _SEEDS if runs.repeats else _NO_SEEDS,
        *([_markdown_table(seeds_table(runs))] if runs.repeats else []),
        "## The paper over all five tasks",
        "Width 256, return in units of the paper's FP32 interquartile mean of each task.",
        _markdown_table(aggregate_table(runs)),
        "## Our policies' runs",
        _POLICIES,
        _markdown_table(policies_table(runs)),
        "## Our sweeps",
        _SWEEPS if runs.sweeps else _NO_SWEEP,
        *([_markdown_table(sweeps_table(runs))] if runs.sweeps else []),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def html(runs: Runs, figures: Mapping[str, bytes]) -> str:
    """Return the report in one file."""
    body = [f"<h1>{TITLE}</h1>", f"<p>{escape(_INTRODUCTION)}</p>"]
    body += [f'<p class="note">{escape(note)}.</p>' for note in runs.notes]
    body.append(_html_table(returns_table(runs)))
    for name, caption in captions(runs).items():
        data = base64.b64encode(figures[name]).decode()
        body.append(
            f'<figure><img alt="{name}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    body.append(f"<h2>Several seeds</h2><p>{escape(_SEEDS if runs.repeats else _NO_SEEDS)}</p>")
    if runs.repeats:
        body.append(_html_table(seeds_table(runs)))
    body.append("<h2>The paper over all five tasks</h2>")
    body.append(
        "<p>Width 256, return in units of the paper's FP32 interquartile mean of each task.</p>"
    )
    body.append(_html_table(aggregate_table(runs)))
    body.append(f"<h2>Our policies' runs</h2><p>{escape(_POLICIES)}</p>")
    body.append(_html_table(policies_table(runs)))
    body.append(f"<h2>Our sweeps</h2><p>{escape(_SWEEPS if runs.sweeps else _NO_SWEEP)}</p>")
    if runs.sweeps:
        body.append(_html_table(sweeps_table(runs)))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _markdown_table(table: Table) -> str:
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _html_table(table: Table) -> str:
    head, rows = table
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
