"""What the joint search selects, and what it does not train, on made-up returns."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sweeps import FP32, MadeUp, make_sweep

from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.select.config import Shape
from qpolicy_training.select.halving import promote, search
from qpolicy_training.select.ledger import Row
from qpolicy_training.select.repeat import repeat

# What a policy of this shape returns: enough from width 16 with 3 bits on, if the input has 6.
GOOD = FP32


def _mean(shape: Shape, _stage: str) -> float:
    enough = shape.hidden[0] >= 16 and shape.b_core >= 3 and shape.b_in >= 6
    return GOOD if enough else 100.0 * shape.b_core


@pytest.fixture(autouse=True)
def _runs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))


def test_the_cheapest_shape_that_passes_is_selected(monkeypatch) -> None:
    with closing(make_sweep(MadeUp(_mean), monkeypatch)) as sweep:
        row = search(sweep)
        assert row is not None
        # Bytes do not tell 6 input bits from 8.
        assert row.shape.hidden == (16, 16)
        assert row.shape.b_core == 3
        assert row.stage == "exam"


def test_a_sweep_goes_on_from_its_ledger_and_runs_nothing_twice(monkeypatch) -> None:
    executor = MadeUp(_mean)

    class Stopped(BaseException):
        pass

    run = executor.run

    def stop(jobs):
        for row in run(jobs):
            if len(executor.ran) == 5:
                raise Stopped
            yield row

    with closing(make_sweep(executor, monkeypatch)) as sweep:
        monkeypatch.setattr(executor, "run", stop)
        with pytest.raises(Stopped):
            search(sweep)
        monkeypatch.setattr(executor, "run", run)
    lost = executor.ran.pop()  # it was under way when the sweep was stopped
    with closing(make_sweep(executor, monkeypatch)) as sweep:
        row = search(sweep)
        assert len({(r.hash, r.stage) for r in sweep.ledger.rows}) == len(sweep.ledger.rows)
    assert len(set(executor.ran)) == len(executor.ran)
    assert lost in executor.ran
    again = MadeUp(_mean)
    with closing(make_sweep(again, monkeypatch)) as sweep:
        assert search(sweep) == row
    assert again.ran == []


def test_an_exam_that_fails_leaves_the_next_cheapest(monkeypatch) -> None:
    def lucky(shape: Shape, stage: str) -> float:
        fails = stage == "exam" and shape.hidden[0] == 16 and shape.b_core == 3
        return 0.0 if fails else _mean(shape, stage)

    with closing(make_sweep(MadeUp(lucky), monkeypatch)) as sweep:
        row = search(sweep)
        assert row is not None
        assert (row.shape.hidden[0], row.shape.b_core) != (16, 3)
        assert row.passes
        exams = [r for r in sweep.ledger.rows if r.stage == "exam"]
        costs = [r.price for r in exams]
        assert costs == sorted(costs)


def test_nothing_is_selected_where_nothing_passes(monkeypatch) -> None:
    executor = MadeUp(lambda *_: 0.5 * FP32)
    with closing(make_sweep(executor, monkeypatch)) as sweep:
        assert search(sweep) is None
    assert not [stage for _, stage in executor.ran if stage == "exam"], "none came near"


def test_no_training_begins_after_the_processor_time_is_used_up(monkeypatch) -> None:
    executor = MadeUp(_mean)
    # Two waves of four at a minute each.
    with closing(make_sweep(executor, monkeypatch, limit=300.0, candidates=12)) as sweep:
        search(sweep)
    assert {stage for _, stage in executor.ran} <= {"rung0", "exam"}
    assert sum(stage == "rung0" for _, stage in executor.ran) <= 8


def test_a_smaller_budget_examines_what_is_there(monkeypatch) -> None:
    with closing(make_sweep(MadeUp(_mean), monkeypatch)) as sweep:
        search(sweep)
    executor = MadeUp(_mean)
    with closing(make_sweep(executor, monkeypatch, limit=1.0)) as sweep:
        row = search(sweep)
    assert row is not None
    assert {stage for _, stage in executor.ran} <= {"exam"}


def test_dearer_candidates_wait_and_are_not_trained_once_two_pass(monkeypatch) -> None:
    executor = MadeUp(lambda *_: FP32)
    with closing(make_sweep(executor, monkeypatch, wave=2)) as sweep:
        search(sweep)
        first = [row for row in sweep.ledger.rows if row.stage == "rung0"]
    assert {row.shape.hidden[0] for row in first} == {8}


@pytest.fixture
def _no_files(monkeypatch) -> None:
    monkeypatch.setattr("qpolicy_training.select.sweep.file_digest", lambda _: "digest")


@pytest.mark.usefixtures("_no_files")
def test_the_last_rung_is_that_of_the_leader_and_of_the_best_that_are_cheaper_and_fail(
    monkeypatch,
) -> None:
    # Nothing comes of it, so there is one wave of it.
    with closing(make_sweep(MadeUp(_mean), monkeypatch, finetune=3)) as sweep:
        row = search(sweep)
        rows = [r for r in sweep.ledger.rows if r.stage == "rl"]
        leader = sweep.leader()
    assert row is not None
    assert leader is not None
    assert [r.shape == leader.shape for r in rows] == [True, False, False]
    assert {len(r.returns) for r in rows} == {sweep.config.exam_episodes}
    assert all(r.price < leader.price for r in rows[1:])
    assert all(r.shape.b_core == 2 or r.shape.hidden[0] < 16 or r.shape.b_in < 6 for r in rows[1:])


@pytest.mark.usefixtures("_no_files")
def test_what_distillation_leaves_far_below_is_selected_where_rl_makes_it_good(monkeypatch) -> None:
    def tuned(shape: Shape, stage: str) -> float:
        far = 0.45 * FP32 if shape.b_core == 2 else _mean(shape, stage)
        return GOOD if stage in ("rl", "exam") and shape.hidden[0] >= 16 else far

    with closing(make_sweep(MadeUp(tuned), monkeypatch, finetune=2)) as sweep:
        row = search(sweep)
        rows = [r for r in sweep.ledger.rows if r.stage == "rl"]
    assert row is not None
    assert (row.shape.hidden[0], row.shape.b_core) == (16, 2)
    assert row.hash in {r.hash for r in rows}
    costs = [r.price for r in rows if r.passes]
    assert min(costs) == row.price


@pytest.mark.usefixtures("_no_files")
def test_the_last_rung_is_run_where_the_processor_time_is_used_up(monkeypatch) -> None:
    executor = MadeUp(_mean)
    with closing(make_sweep(executor, monkeypatch, limit=60.0, finetune=2)) as sweep:
        search(sweep)
    assert sum(stage == "rl" for _, stage in executor.ran) == 2


@pytest.mark.usefixtures("_no_files")
def test_every_seed_of_a_shape_is_trained_to_the_end_and_examined(monkeypatch, capsys) -> None:
    executor = MadeUp(lambda _, stage: 1.0 if stage == "exam" else -1.0)
    options = {"seeds": (3, 1, 2), "finetune": 1, "scope": "seeds"}
    with closing(make_sweep(executor, monkeypatch, **options)) as sweep:
        rows = repeat(sweep)
        shown = capsys.readouterr().err
        assert "round" in shown
        assert "passes" not in shown, "nothing is selected"
        again = repeat(sweep)
    assert [(row.seed, row.stage, round(row.mean)) for row in rows] == [
        (3, "exam", 1),
        (1, "exam", 1),
        (2, "exam", 1),
    ]
    assert again == rows
    last = f"rung{len(sweep.config.rungs) - 1}"
    assert [stage for _, stage in executor.ran] == [last] * 3 + ["rl"] * 3 + ["exam"] * 3


@pytest.mark.usefixtures("_no_files")
def test_a_seed_that_diverges_is_not_dropped(monkeypatch) -> None:
    executor = MadeUp(_mean)
    run = executor.run

    def diverge(jobs):
        for row in run(jobs):
            lost = row.seed == 2 and row.stage == "rl"
            yield replace(row, error="diverged", returns=()) if lost else row

    monkeypatch.setattr(executor, "run", diverge)
    with closing(make_sweep(executor, monkeypatch, seeds=(1, 2), finetune=1)) as sweep:
        rows = repeat(sweep)
    assert [(row.seed, row.stage, row.error) for row in rows] == [
        (1, "exam", ""),
        (2, "rl", "diverged"),
    ]


@pytest.mark.usefixtures("_no_files")
def test_what_rl_spoils_is_examined_as_distillation_left_it(monkeypatch) -> None:
    def spoilt(shape: Shape, stage: str) -> float:
        return 0.5 * FP32 if stage == "rl" else _mean(shape, stage)

    with closing(make_sweep(MadeUp(spoilt), monkeypatch, finetune=1)) as sweep:
        row = search(sweep)
        (tuned,) = [r for r in sweep.ledger.rows if r.stage == "rl"]
    assert row is not None
    assert row.shape == tuned.shape
    assert row.hash != tuned.hash, "the distilled one, not what RL made of it"


@pytest.mark.usefixtures("_no_files")
def test_what_rl_leaves_short_goes_on_from_where_it_ended(monkeypatch) -> None:
    good = {("rl2", 16), ("exam", 16)}

    def late(shape: Shape, stage: str) -> float:
        return GOOD if (stage, shape.hidden[0]) in good else 0.9 * _mean(shape, stage)

    with closing(make_sweep(MadeUp(late), monkeypatch, finetune=2)) as sweep:
        row = search(sweep, turns=2)
        ran = [(r.stage, r.hash) for r in sweep.ledger.rows if r.is_candidate]
        job = sweep.finetune(next(r for r in sweep.ledger.rows if r.stage == "rl"))
    assert [stage for stage, _ in ran].count("rl2") == 2
    assert row is not None
    assert row.shape.hidden[0] == 16
    assert row.hash in {run for stage, run in ran if stage == "rl2"}
    assert job.critic is not None
    assert job.critic.name == "checkpoint.safetensors", "its own critics, not the teacher's"


@pytest.mark.usefixtures("_no_files")
@pytest.mark.parametrize(("loss", "given"), [("square", False), ("divergence", True)])
def test_distillation_that_measures_by_a_checkpoint_gets_it(loss, given, monkeypatch) -> None:
    distill, critic = DistillConfig(rounds=2, loss=loss), Path("checkpoint.safetensors")
    with closing(make_sweep(MadeUp(_mean), monkeypatch, critic=critic, distill=distill)) as sweep:
        job = sweep.rung((Shape((16, 16), 3, 4, 8), 1), 0)
    assert (job.critic is not None, bool(job.config.critic)) == (given, given)


def _row(cost: float, bound: float) -> Row:
    verdict = {"cost": {"cost": cost}, "bound": bound, "passes": bound >= 0}
    return Row(stage="rung0", hash=str(cost), cpu_seconds=0.0, **verdict)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [3]), (2, [3, 4]), (3, [3, 4, 2]), (4, [3, 4, 2, 1]), (5, [3, 4, 2, 1, 6])],
)
def test_promotion_keeps_two_that_pass_then_the_cheaper_by_their_bound(count, expected) -> None:
    rows = [_row(1, -50), _row(2, -10), _row(3, 1), _row(4, 5), _row(5, -1), _row(6, 9)]
    assert [row.price for row in promote(rows, count, 100.0)] == expected


def test_nothing_is_promoted_that_costs_as_much_as_the_best_so_far() -> None:
    assert promote([_row(3, 1), _row(4, -1)], 2, 3.0) == []
