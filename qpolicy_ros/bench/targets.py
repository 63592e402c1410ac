"""Every target beside what was measured: a page made from the other pages' rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qpolicy_ros.bench.exchange import C_ECHO, ECHO
from qpolicy_ros.bench.results_page import Row, Rows, write_results
from qpolicy_ros.bench.returns import Return, shipped_returns
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.policy import policy_folders

NAME = "targets"
PROFILES = "profiles.md"
_NOT_MEASURED = "not measured"
_FASTEST = "integer C"
_SMALL = ("hopper shape", "ant shape", "humanoid shape")
_WIDE = ("halfcheetah shape", "large shape", "large shape, 2 bit", "large shape, 8 bit")
_FLAT = 0.01  # growth of a node's memory behind the first twentieth that counts as none
_TICKS = 1_000_000
_END_TO_END_US = 10


@dataclass(frozen=True)
class Target:
    """A target and where it stands.

    Attributes:
        area: a section of the page, and of the profiles.
        what: of what, in words.
        wanted: the figure asked for.
        measured: the figure there is.
        met: None where nothing was measured.
        rows: file of the rows, without its ending; or another page, with it.
    """

    area: str
    what: str
    wanted: str
    measured: str
    met: bool | None
    rows: str


def write_targets(folder: Path) -> list[Target]:
    """Write ``targets.md`` from ``folder``'s JSON rows and what is shipped; return the targets.

    The tables of results.md one folder up, where there is one with their markers, are made from
    the same rows.

    Raises:
        InputError: a file of rows cannot be read, or a marker of results.md is missing.
    """
    make_folder(folder)
    rows = load_rows(folder)
    targets = assess(rows, shipped_returns(policy_folders()[-1]))
    write_atomically(folder / f"{NAME}.md", page(targets).encode())
    write_results(folder.resolve().parent / "results.md", rows)
    return targets


def load_rows(folder: Path) -> dict[str, list[Row]]:
    """Return the rows of every JSON file in ``folder`` by the file's name without its ending.

    Raises:
        InputError: a file is not a list of rows.
    """
    rows = {}
    for file in sorted(folder.glob("*.json")):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError.at(file, "file", str(error), "run its benchmark again") from error
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise InputError.at(file, "file", "not a list of rows", "run its benchmark again")
        rows[file.stem] = found
    return rows


def assess(rows: Rows, returns: Iterable[Return] = ()) -> list[Target]:
    """Return every target with what ``rows`` and the shipped policies say of it."""
    parts = (_inference, _loop, _training, _generation, _start_up, _cores)
    found = [target for part in parts for target in part(rows)]
    return [*found, *_shipped(returns)]


def page(targets: Iterable[Target]) -> str:
    """Return the Markdown page."""
    targets = list(targets)
    count = {met: sum(target.met is met for target in targets) for met in (True, False, None)}
    lines = ["# Targets", "", _HOW, ""]
    shares = f"{count[True]} met, {count[False]} short, {count[None]} not measured"
    lines.append(f"{len(targets)} targets: {shares}.")
    area = ""
    for target in targets:
        if target.area != area:
            area = target.area
            lines += ["", f"## {area}", "", "| what | target | measured | met | rows |"]
            lines += ["|---|---|---|---|---|"]
        met = {True: "yes", False: f"no: [why]({PROFILES}#{_anchor(area)})", None: "open"}
        rows = "" if target.met is None else _link(target.rows)
        cells = (target.what, target.wanted, target.measured, met[target.met], rows)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _link(rows: str) -> str:
    page = Path(rows)
    return f"[{page.stem}]({rows if page.suffix else f'{rows}.json'})"


def _anchor(area: str) -> str:
    return area.lower().replace(" ", "-")


def _open(area: str, what: str, wanted: str, rows: str, how: str = "") -> Target:
    return Target(area, what, wanted, _NOT_MEASURED + (f": {how}" if how else ""), None, rows)


def _least(
    area: str, what: str, wanted: float, rows: Iterable[Row], file: str, key: str = "ratio"
) -> Target:
    """``key`` of every row must be ``wanted`` or more; the worst of them is shown."""
    values = [(_value(row, key), row) for row in rows]
    asked = f"at least {wanted:g}x" if wanted != 1 else "faster than each"
    if not values:
        return _open(area, what, asked, file)
    least, row = min(values, key=lambda pair: pair[0])
    where = f"{_case(row)}, {row['peer']}" if _case(row) else str(row["peer"])
    met = least >= wanted if wanted != 1 else least > 1
    return Target(area, what, asked, f"{least:.2f}x ({where})", met, file)


def _most(
    area: str, what: str, wanted: float, unit: str, values: Iterable[tuple[float, str]], file: str
) -> Target:
    """Every value must be below ``wanted``; the worst of them is shown."""
    values = list(values)
    asked = f"below {wanted:g} {unit}"
    if not values:
        return _open(area, what, asked, file)
    most, where = max(values)
    shown = f"{most:.3g} {unit}" + (f" ({where})" if where else "")
    return Target(area, what, asked, shown, most < wanted, file)


def _value(row: Row, key: str) -> float:
    if key == "p99":
        return float(row["peer_p99_us"] / row["p99_us"])
    return float(row[key])


def _quartiles(row: Row) -> tuple[float, float]:
    """Of the rounds' medians, s."""
    return row["p50_low_us"] / 1e6, row["p50_high_us"] / 1e6


def _case(row: Row) -> str:
    return str(row["bench"]).partition("/")[2]


def _inference(rows: Rows) -> Iterator[Target]:
    area, file = "Inference", "inference"
    ours = [row for row in rows.get(file, []) if row["subject"] == _FASTEST]
    count = len({_case(row) for row in ours})
    torch = [row for row in ours if row["peer"] == "torch eager"]
    for key, words in (("ratio", "median"), ("p99", "p99")):
        yield _least(area, f"every peer, {count} policies, {words}", 1, ours, file, key)
        yield _least(area, f"eager torch, {count} policies, {words}", 10, torch, file, key)
    for limit, names in ((2.0, _SMALL), (4.0, _WIDE)):
        values = {_case(row): row["p50_us"] for row in ours if _case(row) in names}
        named = "the paper's Hopper, Ant and Humanoid shapes" if names is _SMALL else "256 wide"
        found = [(value, name) for name, value in values.items()]
        yield _most(area, f"{named}, median", limit, "us", found, file)
    yield _least("Batches", "every peer, 256 observations", 1, rows.get("batches", []), "batches")
    header = [row for row in rows.get("cortex_m", []) if row["subject"] == "C header"]
    what = "C header on a simulated Cortex-M, instructions"
    yield _least("Cortex-M", what, 1, header, "cortex_m")


def _loop(rows: Rows) -> Iterator[Target]:
    area, file = "ROS 2 loop", "ros_loop"
    mine = [row for row in rows.get(file, []) if row["subject"] == "policy_node integer"]
    for peer, most in ((C_ECHO, 1.25), (ECHO, 0.6)):
        wanted = f"at most {most:g}x the {peer}"
        against = [row for row in mine if row["peer"] == peer]
        for row in against:
            for name in ("p50", "p99"):
                times = row[f"{name}_us"] / row[f"peer_{name}_us"]
                what = f"{_case(row)}, {name} to the {peer}"
                yield Target(area, what, wanted, f"{times:.2f}x", times <= most, file)
        if not against:
            yield _open(area, f"p50 and p99 to the {peer}", wanted, file)
    facts = mine[0]["conditions"] if mine else {}
    what = "1 kHz for 60 s, deadlines missed"
    wanted = "no more than the C echo's and a tenth"
    missed = facts.get("missed_deadlines", {})
    if facts.get("sustained_s", 0) >= 60 and C_ECHO in missed:
        ours, theirs = missed["policy_node integer"], missed[C_ECHO]
        met = ours <= 1.1 * theirs
        yield Target(area, what, wanted, f"{ours}, the C echo {theirs}", met, file)
    else:
        yield _open(area, what, wanted, file)
    what, wanted, file = "memory over 1,000,000 ticks", "flat (within 1 %)", "ros_soak"
    nodes = [
        row
        for row in rows.get(file, [])
        if row["subject"].startswith("policy_node") and row["ticks"] >= _TICKS
    ]
    for row in nodes:
        kib = row["rss_kib"]
        growth = kib[-1] / kib[1] - 1  # behind the first twentieth
        yield Target(area, what, wanted, f"{growth:+.1%}", growth <= _FLAT, file)
    if not nodes:
        how = f"`qpolicy bench soak --ticks {_TICKS}`"
        yield _open(area, what, wanted, file, how)


def _training(rows: Rows) -> Iterator[Target]:
    area, file = "Training", "training"
    found = [row for row in rows.get(file, []) if row["bench"].startswith("training/")]
    ours = [row for row in found if row["subject"].startswith("ours, QAT")]
    tasks = list(dict.fromkeys(_case(row) for row in ours)) or ["HalfCheetah-v4"]
    for peer, wanted in (("Stable-Baselines3", 3.0), ("sbx", 1.5), ("CleanRL", 2.0)):
        for task in tasks:
            against = [row for row in ours if row["peer"] == peer and _case(row) == task]
            what = f"QAT, steps a CPU second, {task}, to {peer}"
            if against:
                best = max(against, key=lambda row: row["ratio"])
                met, shown = best["ratio"] >= wanted, f"{best['ratio']:.2f}x ({best['subject']})"
                for row in ours:  # a peer that too updates the actor at every second step
                    alike = row["peer"] == f"{peer}, policy_delay 2" and _case(row) == task
                    if alike and row["subject"] == best["subject"]:
                        shown = f"{shown[:-1]}; {row['ratio']:.2f}x {row['peer']})"
                yield Target(area, what, f"at least {wanted:g}x", shown, met, file)
            else:
                how = "`qpolicy bench training --cleanrl DIR`" if peer == "CleanRL" else ""
                yield _open(area, what, f"at least {wanted:g}x", file, how)
    yield from _returns(rows)
    played = [row for row in rows.get(file, []) if row["bench"].startswith("evaluation/")]
    yield _least(area, "evaluation, episodes a CPU second", 1, played, file)
    area, file = "Distillation", "distillation"
    students = rows.get(file, [])
    cpu = ((row["cpu_s"], "") for row in students)
    yield _most(area, "3-bit HalfCheetah student, CPU time", 180, "s", cpu, file)
    what, least = "its return, of the teacher's", "at least 98 %"
    for row in students:
        share = row["mean_return"] / row["teacher_return"]
        shown = f"{share:.1%} ({row['episodes']} episodes)"
        yield Target(area, what, least, shown, share >= 0.98, file)
    if not students:
        yield _open(area, what, least, file, "`qpolicy bench distill`")


def _returns(rows: Rows) -> Iterator[Target]:
    area, file = "Training", "training_returns"
    what, wanted = "return after equal steps, QAT", "at least Stable-Baselines3's"
    found: dict[str, dict[str, float]] = {}
    for row in rows.get(file, []):
        found.setdefault(_case(row), {})[row["subject"]] = row["mean_return"]
    for task, means in found.items():
        mine, peer = means["ours, QAT, bfloat16"], means["Stable-Baselines3"]
        shown = f"{mine:.0f}, theirs {peer:.0f}"
        yield Target(area, f"{what}, {task}", wanted, shown, mine >= peer, file)
    if not found:
        yield _open(area, what, wanted, file, "`qpolicy bench returns`")


def _shipped(returns: Iterable[Return]) -> Iterator[Target]:
    """Policies of at most the paper's width and bits against its FP32 mean."""
    area, page = "Returns", "../report/report.md"
    returns = list(returns)
    for each in returns:
        width, b_in, b_core, b_out = each.limits
        limits = f"within its {width} wide, {b_in} / {b_core} / {b_out} bits"
        wanted = f"at least the paper's FP32 mean, {each.fp32:,.0f}, {limits}"
        shown = f"{each.mean:,.0f} ± {each.std:,.0f} ({each.mean / each.fp32:.0%}; the paper's "
        shown += f"quantised mean {each.selected:,.0f})"
        what = f"{each.policy}, {each.episodes} episodes"
        yield Target(area, what, wanted, shown, each.mean >= each.fp32, page)
    if not returns:
        yield _open(area, "shipped policies", "at least the paper's FP32 mean", page)


def _generation(rows: Rows) -> Iterator[Target]:
    area, file = "Generation", "fpga_tools"
    found = rows.get(file, [])
    made = [r for r in found if r["bench"] == "generation" and r["subject"] == "halfcheetah"]
    what = "HalfCheetah's 71k weights to Verilog"
    yield _most(area, f"{what}, wall clock", 10, "s", ((r["wall_s"], "") for r in made), file)
    memory = ((r["memory_mib"] / 1024, "") for r in made)
    yield _most(area, f"{what}, memory", 1, "GiB", memory, file)
    loops = [r for r in found if r["bench"] == "closed loop" and "rtlsim" in r["subject"]]
    yield _least(area, "simulated core in a closed loop, Hopper", 10, loops, file)


def _start_up(rows: Rows) -> Iterator[Target]:
    area, file = "Start-up", "startup"
    limits = {
        "import qpolicy_ros.policy": (0.2, " without torch"),
        "policy_node, integer, to active": (2.0, ""),
        "policy_node, rtlsim with a warm cache, to active": (2.0, ""),
    }
    for subject, (limit, more) in limits.items():
        found = {
            (r["p50_us"] / 1e6, "quartiles {:.3g}, {:.3g} s".format(*_quartiles(r)))
            for r in rows.get(file, [])
            if r["subject"] == subject
        }
        yield _most(area, f"{subject}{more}, median", limit, "s", found, file)


def _cores(rows: Rows) -> Iterator[Target]:
    area, file = "FPGA core", "fpga"
    for row in rows.get(file, []):
        limit = row["target_cycles"]
        good = row["cycles"] <= limit and row["fits"] and row["depth_ns"] <= row["depth_allowed_ns"]
        wanted = f"at most {limit} cycles, fits, path at most {row['depth_allowed_ns']} ns"
        fits = "fits" if row["fits"] else "does not fit"
        shown = f"{row['cycles']} cycles, {fits}, {row['depth_ns']:.2f} ns"
        yield Target(area, row["subject"], wanted, shown, good, file)
        if whole := row.get("end_to_end"):
            what = f"{row['subject']}, sensor words to action words"
            fits = "fits" if whole["fits"] else "does not fit"
            shown = f"{whole['latency_us']:.2f} us, {fits}, {whole['depth_ns']:.2f} ns"
            good = whole["fits"] and whole["depth_ns"] <= row["depth_allowed_ns"]
            good = good and whole["latency_us"] < _END_TO_END_US
            wanted = f"below {_END_TO_END_US} us, fits, path at most {row['depth_allowed_ns']} ns"
            yield Target(area, what, wanted, shown, good, file)


_HOW = (
    "Made by `qpolicy bench` from the rows of the other pages and, for returns, from the shipped "
    "policies' own files (`qpolicy bench targets` makes this page alone); where several cases "
    "count, the worst is shown. A target that is short has its profile in "
    f"[{PROFILES.partition('.')[0]}]({PROFILES}). In training, Stable-Baselines3, sbx and CleanRL "
    "update the actor once a step by default (CleanRL at every second, twice), ours at every "
    "second step; `sbx, policy_delay 2` does as ours."
)
