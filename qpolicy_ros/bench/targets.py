"""Every target beside what was measured: a page made from the other pages' rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qpolicy_ros.bench.exchange import C_ECHO, ECHO
from qpolicy_ros.bench.results_page import write_results
from qpolicy_ros.bench.returns import Return, shipped_returns
from qpolicy_ros.bench.rows import Comparison, LoopConditions, Ratio, Results, read_results
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
    results = read_results(folder)
    targets = assess(results, shipped_returns(policy_folders()[-1]))
    write_atomically(folder / f"{NAME}.md", page(targets).encode())
    write_results(folder.resolve().parent / "results.md", results)
    return targets


def assess(results: Results, returns: Iterable[Return] = ()) -> list[Target]:
    """Return every target with what ``results`` and the shipped policies say of it."""
    areas = (_inference, _loop, _training, _generation, _start_up, _cores)
    found = [target for area in areas for target in area(results)]
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
    area: str, what: str, wanted: float, ratios: Iterable[tuple[float, Ratio]], file: str
) -> Target:
    """Every ratio must be ``wanted`` or more; the worst of them is shown, with its row."""
    ratios = list(ratios)
    asked = f"at least {wanted:g}x" if wanted != 1 else "faster than each"
    if not ratios:
        return _open(area, what, asked, file)
    least, row = min(ratios, key=lambda pair: pair[0])
    where = f"{row.case}, {row.peer}" if row.case else row.peer
    met = least >= wanted if wanted != 1 else least > 1
    return Target(area, what, asked, f"{least:.2f}x ({where})", met, file)


def _medians(rows: Iterable[Ratio]) -> list[tuple[float, Ratio]]:
    return [(row.ratio, row) for row in rows]


def _p99s(rows: Iterable[Comparison]) -> list[tuple[float, Ratio]]:
    return [(row.p99_ratio, row) for row in rows]


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


def _inference(results: Results) -> Iterator[Target]:
    area, file = "Inference", "inference"
    ours = [row for row in results.inference if row.subject == _FASTEST]
    count = len({row.case for row in ours})
    torch = [row for row in ours if row.peer == "torch eager"]
    for ratios, words in ((_medians, "median"), (_p99s, "p99")):
        yield _least(area, f"every peer, {count} policies, {words}", 1, ratios(ours), file)
        yield _least(area, f"eager torch, {count} policies, {words}", 10, ratios(torch), file)
    for limit, names in ((2.0, _SMALL), (4.0, _WIDE)):
        values = {row.case: row.p50_us for row in ours if row.case in names}
        named = "the paper's Hopper, Ant and Humanoid shapes" if names is _SMALL else "256 wide"
        found = [(value, name) for name, value in values.items()]
        yield _most(area, f"{named}, median", limit, "us", found, file)
    yield _least("Batches", "every peer, 256 observations", 1, _medians(results.batches), "batches")
    header = [row for row in results.cortex_m if row.subject == "C header"]
    what = "C header on a simulated Cortex-M, instructions"
    yield _least("Cortex-M", what, 1, _medians(header), "cortex_m")


def _loop(results: Results) -> Iterator[Target]:
    area, file = "ROS 2 loop", "ros_loop"
    mine = [row for row in results.loops if row.subject == "policy_node integer"]
    for peer, most in ((C_ECHO, 1.25), (ECHO, 0.6)):
        wanted = f"at most {most:g}x the {peer}"
        against = [row for row in mine if row.peer == peer]
        for row in against:
            for name, ours, theirs in (
                ("p50", row.p50_us, row.peer_p50_us),
                ("p99", row.p99_us, row.peer_p99_us),
            ):
                times = ours / theirs
                what = f"{row.case}, {name} to the {peer}"
                yield Target(area, what, wanted, f"{times:.2f}x", times <= most, file)
        if not against:
            yield _open(area, f"p50 and p99 to the {peer}", wanted, file)
    facts = mine[0].conditions if mine else LoopConditions()
    what = "1 kHz for 60 s, deadlines missed"
    wanted = "no more than the C echo's and a tenth"
    missed = facts.missed_deadlines
    if facts.sustained_s >= 60 and C_ECHO in missed:
        mine_missed, their_missed = missed["policy_node integer"], missed[C_ECHO]
        met = mine_missed <= 1.1 * their_missed
        shown = f"{mine_missed}, the C echo {their_missed}"
        yield Target(area, what, wanted, shown, met, file)
    else:
        yield _open(area, what, wanted, file)
    what, wanted, file = "memory over 1,000,000 ticks", "flat (within 1 %)", "ros_soak"
    nodes = [
        row
        for row in results.soaks
        if row.subject.startswith("policy_node") and row.ticks >= _TICKS
    ]
    for node in nodes:
        kib = node.rss_kib
        growth = kib[-1] / kib[1] - 1  # behind the first twentieth
        yield Target(area, what, wanted, f"{growth:+.1%}", growth <= _FLAT, file)
    if not nodes:
        how = f"`qpolicy bench soak --ticks {_TICKS}`"
        yield _open(area, what, wanted, file, how)


def _training(results: Results) -> Iterator[Target]:
    area, file = "Training", "training"
    found = [row for row in results.training if row.bench.startswith("training/")]
    ours = [row for row in found if row.subject.startswith("ours, QAT")]
    tasks = list(dict.fromkeys(row.case for row in ours)) or ["HalfCheetah-v4"]
    for peer, wanted in (("Stable-Baselines3", 3.0), ("sbx", 1.5), ("CleanRL", 2.0)):
        for task in tasks:
            against = [row for row in ours if row.peer == peer and row.case == task]
            what = f"QAT, steps a CPU second, {task}, to {peer}"
            if against:
                best = max(against, key=lambda row: row.ratio)
                met, shown = best.ratio >= wanted, f"{best.ratio:.2f}x ({best.subject})"
                for row in ours:  # a peer that too updates the actor at every second step
                    alike = row.peer == f"{peer}, policy_delay 2" and row.case == task
                    if alike and row.subject == best.subject:
                        shown = f"{shown[:-1]}; {row.ratio:.2f}x {row.peer})"
                yield Target(area, what, f"at least {wanted:g}x", shown, met, file)
            else:
                how = "`qpolicy bench training --cleanrl DIR`" if peer == "CleanRL" else ""
                yield _open(area, what, f"at least {wanted:g}x", file, how)
    yield from _returns(results)
    played = [row for row in results.training if row.bench.startswith("evaluation/")]
    yield _least(area, "evaluation, episodes a CPU second", 1, _medians(played), file)
    area, file = "Distillation", "distillation"
    students = results.students
    cpu = ((student.cpu_s, "") for student in students)
    yield _most(area, "3-bit HalfCheetah student, CPU time", 180, "s", cpu, file)
    what, least = "its return, of the teacher's", "at least 98 %"
    for student in students:
        share = student.mean_return / student.teacher_return
        shown = f"{share:.1%} ({student.episodes} episodes)"
        yield Target(area, what, least, shown, share >= 0.98, file)
    if not students:
        yield _open(area, what, least, file, "`qpolicy bench distill`")


def _returns(results: Results) -> Iterator[Target]:
    area, file = "Training", "training_returns"
    what, wanted = "return after equal steps, QAT", "at least Stable-Baselines3's"
    found: dict[str, dict[str, float]] = {}
    for row in results.returns:
        found.setdefault(row.task, {})[row.subject] = row.mean_return
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


def _generation(results: Results) -> Iterator[Target]:
    area, file = "Generation", "fpga_tools"
    made = [row for row in results.generation if row.subject == "halfcheetah"]
    what = "HalfCheetah's 71k weights to Verilog"
    yield _most(area, f"{what}, wall clock", 10, "s", ((row.wall_s, "") for row in made), file)
    memory = ((row.memory_mib / 1024, "") for row in made)
    yield _most(area, f"{what}, memory", 1, "GiB", memory, file)
    loops = [row for row in results.closed_loops if "rtlsim" in row.subject]
    yield _least(area, "simulated core in a closed loop, Hopper", 10, _medians(loops), file)


def _start_up(results: Results) -> Iterator[Target]:
    area, file = "Start-up", "startup"
    limits = {
        "import qpolicy_ros.policy": (0.2, " without torch"),
        "policy_node, integer, to active": (2.0, ""),
        "policy_node, rtlsim with a warm cache, to active": (2.0, ""),
    }
    for subject, (limit, more) in limits.items():
        found = {
            (
                row.p50_us / 1e6,
                f"quartiles {row.p50_low_us / 1e6:.3g}, {row.p50_high_us / 1e6:.3g} s",
            )
            for row in results.startup
            if row.subject == subject
        }
        yield _most(area, f"{subject}{more}, median", limit, "s", found, file)


def _cores(results: Results) -> Iterator[Target]:
    area, file = "FPGA core", "fpga"
    for row in results.cores:
        limit = row.target_cycles
        good = row.cycles <= limit and row.fits and row.depth_ns <= row.depth_allowed_ns
        wanted = f"at most {limit} cycles, fits, path at most {row.depth_allowed_ns} ns"
        fits = "fits" if row.fits else "does not fit"
        shown = f"{row.cycles} cycles, {fits}, {row.depth_ns:.2f} ns"
        yield Target(area, row.subject, wanted, shown, good, file)
        if whole := row.end_to_end:
            what = f"{row.subject}, sensor words to action words"
            fits = "fits" if whole.fits else "does not fit"
            shown = f"{whole.latency_us:.2f} us, {fits}, {whole.depth_ns:.2f} ns"
            good = whole.fits and whole.depth_ns <= row.depth_allowed_ns
            good = good and whole.latency_us < _END_TO_END_US
            wanted = f"below {_END_TO_END_US} us, fits, path at most {row.depth_allowed_ns} ns"
            yield Target(area, what, wanted, shown, good, file)


_HOW = (
    "Made by `qpolicy bench` from the rows of the other pages and, for returns, from the shipped "
    "policies' own files (`qpolicy bench targets` makes this page alone); where several cases "
    "count, the worst is shown. A target that is short has its profile in "
    f"[{PROFILES.partition('.')[0]}]({PROFILES}). In training, Stable-Baselines3, sbx and CleanRL "
    "update the actor once a step by default (CleanRL at every second, twice), ours at every "
    "second step; `sbx, policy_delay 2` does as ours."
)
