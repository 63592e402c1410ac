"""The C header on a simulated Cortex-M: the engine's bits, instructions counted right."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from qpolicy_ros.bench.cases import random_case
from qpolicy_ros.bench.cortex_m import instructions
from qpolicy_ros.bench.measure import DisagreementError
from qpolicy_ros.cli.bench import Args, main
from qpolicy_ros.policy import make_engine
from qpolicy_ros.policy.baseline import baseline_actions

NEEDS_TOOLS = pytest.mark.skipif(bool(instructions.missing()), reason=instructions.missing())


@NEEDS_TOOLS
@pytest.mark.parametrize("core", list(instructions.CORES))
def test_a_simulated_core_gives_the_engines_bits_and_the_same_counts_again(core):
    # `count` refuses codes or actions that differ, and a loop of known length counted wrong.
    case = random_case("hopper shape")
    counts = instructions.count(case, core, observations=2)
    weights = sum(weight.size for weight in case.artifact.network.weights)
    for each in counts.values():
        assert weights < each.mean <= each.largest
        assert each.flash > weights
    assert instructions.count(case, core, observations=2) == counts


def answers(case):
    """What a right program says of two observations, as words."""
    engine, values = make_engine(case.artifact.network, "numpy"), case.observations[:2]
    return values, {
        "infer": engine.codes_batch(values)[-1].view(np.uint32),
        "act": engine.act_batch(values).view(np.uint32),
        "mlp": baseline_actions(case.artifact.baseline, values).view(np.uint32),
    }


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("infer", "here: the header's output codes are not the engine's"),
        ("act", "here: the header's actions are not the engine's"),
        ("mlp", "here: the float MLP is .* off"),
    ],
)
def test_one_wrong_answer_is_refused(kind, message):
    case = random_case("hopper shape")
    values, results = answers(case)
    instructions.verify("here", case, values, results)
    wrong = results[kind].copy()
    wrong[1, 2] ^= 1 << (20 if kind == "mlp" else 0)
    with pytest.raises(DisagreementError, match=message):
        instructions.verify("here", case, values, results | {kind: wrong})


def said(calibrate=200_001):
    """Lines of a program for one observation of one action; ticks are of 25.6 an instruction."""
    lines = [f"nothing {0:08x}", f"calibrate {round(calibrate * 25.6):08x}"]
    return [*lines, *(f"{kind} {25600:08x} 00000001" for kind in ("infer", "act", "mlp"))]


def test_ticks_and_words_are_read():
    ticks, words = instructions.parse("here", said(), 1)
    assert ticks["act"] == [25600]
    assert words["act"].tolist() == [[1]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (said(calibrate=199_999), "a loop of 200000 instructions is counted as 199999"),
        (said(calibrate=300_000), "counted as 300000"),
        (said()[:-1], "the program ended early"),
        ([*said(), "fault"], "the program says 'fault'"),
    ],
)
def test_a_program_that_went_wrong_is_refused(lines, message):
    with pytest.raises(DisagreementError, match=f"^here: .*{message}"):
        instructions.parse("here", lines, 1)


def test_without_the_tools_one_line_says_so_and_no_page_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main(Args(("cortex",), quick=True, out=tmp_path)) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cortex_m: arm-none-eabi-gcc, qemu-system-arm: not installed")
    assert line.endswith("run `scripts/setup_system.sh cortex`")
    assert not (tmp_path / "cortex_m.md").exists()
