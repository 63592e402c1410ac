"""What `qpolicy select` does once its arguments are right: the sweep, and what comes out of it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from qpolicy_fpga.explore.estimate import hardware_figures
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.invocation import invocation
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_training.cli.select_args import Args
from qpolicy_training.quant.quant_actor import ActorSpec
from qpolicy_training.recipes.deliver import deliver
from qpolicy_training.recipes.student import load_student
from qpolicy_training.recipes.teacher_run import Spreads, require_critics
from qpolicy_training.report.statistics import estimate
from qpolicy_training.runs.provenance import beside_teacher, file_digest, teacher_facts
from qpolicy_training.select.config import SelectConfig
from qpolicy_training.select.executors import Executor, LocalExecutor, RayExecutor
from qpolicy_training.select.greedy import greedy, table
from qpolicy_training.select.halving import search
from qpolicy_training.select.ledger import INVOCATION, Row
from qpolicy_training.select.repeat import repeat
from qpolicy_training.select.sweep import Sweep


def run(args: Args, teacher: PolicyArtifact) -> int:
    """Run `qpolicy select`; 0 if a policy was selected (or a table made), 1 if none passed."""
    if args.critic is not None:
        _check_checkpoint(args, args.critic, teacher)
    executor: Executor
    if args.executor == "ray":
        executor = RayExecutor(args.ray_address, args.jobs)
    else:
        executor = LocalExecutor(args.jobs)
    with contextlib.closing(executor):
        return run_sweep(args, teacher, executor)


def run_sweep(args: Args, teacher: PolicyArtifact, executor: Executor) -> int:
    """The command with an executor at hand."""
    sweep = Sweep(
        _config(args, teacher),
        teacher,
        executor,
        hardware_figures,
        args.cpu_minutes * 60,
        args.critic.resolve() if args.critic else None,
    )
    with contextlib.closing(sweep):
        sweep.ledger.add(
            Row(
                stage=INVOCATION,
                hash=sweep.run.hash,
                cpu_seconds=0.0,
                more={
                    "command": invocation()[1:],
                    "cpu_minutes": args.cpu_minutes,
                    "jobs": args.jobs,
                    "executor": args.executor,
                },
            )
        )
        if args.scope is not None:
            rows = repeat(sweep) if args.scope == "seeds" else table(sweep, args.scope)
            best = max((r for r in rows if not r.error), key=lambda r: r.mean, default=None)
            if args.scope == "seeds" and args.out is not None and best is not None:
                _write(args, sweep, best)
            return _print_table(args, sweep, rows)
        paper = args.rule == "paper"
        row = greedy(sweep) if paper else search(sweep, args.last_turns)
        if row is None:
            return _none_passed(args, sweep)
        return _deliver(args, sweep, row)


def _check_checkpoint(args: Args, critic: Path, teacher: PolicyArtifact) -> None:
    """Refuse now what a worker would refuse when its candidates are distilled."""
    contract = teacher.contract
    sizes = len(contract.observation), len(contract.action)
    if args.finetune:
        require_critics(critic, contract.env_id, sizes, args.last)
    if args.distill.loss == "divergence":
        Spreads(critic, contract.env_id, sizes)


def _config(args: Args, teacher: PolicyArtifact) -> SelectConfig:
    same = {
        name: getattr(args, name)
        for name in SelectConfig.__dataclass_fields__
        if name not in ("task", "teacher", "axes", "critic", "sac")
    }
    return SelectConfig(
        task=teacher.contract.env_id,
        teacher=teacher.function_hash,
        axes=args.axes.of(args.rule),
        critic=file_digest(args.critic) if args.critic else "",
        sac=args.ddpg if args.algorithm == "ddpg" else args.sac,
        **same,
    )


def _write(args: Args, sweep: Sweep, row: Row) -> tuple[Path, PolicyArtifact, dict[str, object]]:
    """Write the policy's files; return its path, itself and its facts."""
    teacher, shape = sweep.teacher, row.shape
    snapshot = sweep.folder / row.snapshot
    spec = ActorSpec(*sweep.sizes, shape.hidden, shape.b_in, shape.b_core, shape.b_out)
    student = load_student(snapshot, spec)
    facts: dict[str, object] = {
        "method": "select",
        "rule": args.rule,
        "seed": row.seed,
        "steps": row.snapshot_step,
        "config_hash": row.hash,
        "sweep_hash": sweep.run.hash,
        "sweep_stages": sweep.ledger.stages,
        "sweep_cpu_seconds": round(sweep.ledger.cpu_seconds),
        "exam": {
            name: getattr(row, name)
            for name in ("first_seed", "episodes", "mean", "std", "required", "bound")
        },
        **({"chosen_of_seeds": list(args.seeds)} if args.scope == "seeds" else {}),
        **teacher_facts(teacher),
    }
    out = args.out or sweep.folder / "selected.safetensors"
    artifact = deliver(student, teacher, facts, args.episodes, out, snapshot.with_name("curve.csv"))
    return out, artifact, facts


def _deliver(args: Args, sweep: Sweep, row: Row) -> int:
    """Write the selected policy's files, the ledger beside them; say what it is."""
    out, artifact, facts = _write(args, sweep, row)
    ledger = out.with_suffix(".ledger.jsonl")
    write_atomically(ledger, sweep.ledger.path.read_bytes())
    shape = row.shape
    assert artifact.network is not None
    returns = artifact.provenance["returns"]
    result = {
        "task": artifact.contract.task,
        **shape.fields(),
        "policy": str(out),
        "ledger": str(ledger),
        "folder": str(sweep.folder),
        "function_hash": artifact.function_hash,
        "cost": sweep.costs.of_network(artifact.network),
        "exam": facts["exam"],
        "returns": returns,
        "stages": facts["sweep_stages"],
        "cpu_seconds": sweep.ledger.cpu_seconds,
    }
    if args.json:
        print(json.dumps(result))
        return 0
    beside = beside_teacher(returns["integer"]["mean"], returns["fp32"]["mean"])
    print(
        f"{out}: {shape} (hidden / core / input / output bits), return "
        f"{beside} over {args.episodes} "
        f"episodes; {facts['sweep_stages']} stages, {sweep.ledger.cpu_seconds / 60:.1f} CPU minutes"
    )
    return 0


def _none_passed(args: Args, sweep: Sweep) -> int:
    trained = sweep.latest.values()
    best = max((row for row in trained if not row.error), key=lambda row: row.bound, default=None)
    if args.json:
        nearest = best and best.as_json()
        print(json.dumps({"policy": None, "folder": str(sweep.folder), "nearest": nearest}))
        return 1
    if best is not None:
        measure = "bound" if args.rule == "bound" else "against what is asked"
        found = f"the nearest, {best.shape}, has {best.mean:.0f}, {measure} {best.bound:+.0f}"
        remedy = "allow a larger --margin, wider --axes.hidden, more rounds, or --finetune"
    elif trained:
        found, remedy = "all of them diverged", "lower --distill.learning-rate"
    else:
        found, remedy = (
            f"none fits the {args.part}",
            "allow narrower --axes.hidden or another --part",
        )
    print(f"no candidate passes: {found}; {remedy}; ledger: {sweep.ledger.path}")
    return 1


def _print_table(args: Args, sweep: Sweep, rows: list[Row]) -> int:
    ledger = sweep.ledger.path
    if args.out is not None:
        ledger = args.out.with_suffix(".ledger.jsonl")
        write_atomically(ledger, sweep.ledger.path.read_bytes())
    if args.json:
        runs = [row.as_json() for row in rows]
        print(json.dumps({"ledger": str(ledger), "scope": args.scope, "runs": runs}))
        return 0
    print(f"{'hidden / core / input / output':<32} {'seed':>6} {'return, mean ± std':>22}")
    for row in rows:
        figure = "diverged" if row.error else f"{row.mean:.1f} ± {row.std:.1f}"
        print(f"{row.shape!s:<32} {row.seed:>6} {figure:>22}")
    means = [row.mean for row in rows if not row.error]
    if args.scope == "seeds" and means:
        found = estimate([means])
        print(
            f"interquartile mean {found.value:.1f}, 95 % interval {found.low:.1f} to "
            f"{found.high:.1f}; {len(means)} of {len(rows)} seeds, {args.exam_episodes} episodes"
        )
    print(f"ledger: {ledger}, {sweep.ledger.cpu_seconds / 60:.1f} CPU minutes")
    return 0
