"""The inference benchmark: who is refused, and what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qpolicy_ros.bench import inference, report
from qpolicy_ros.bench.cases import SHAPES, random_case
from qpolicy_ros.bench.measure import DisagreementError
from qpolicy_ros.bench.peers import PEERS, Peer
from qpolicy_ros.cli.bench import Args, main
from qpolicy_ros.policy import make_engine
from qpolicy_ros.policy.baseline import baseline_actions

KEYS = {"bench", "subject", "peer", "ratio", "p50_us", "p99_us", "peer_p50_us", "peer_p99_us"}


def in_numpy(baseline, _):
    """A peer that needs nothing installed."""
    return lambda observation: baseline_actions(baseline, observation[None])[0]


def slightly_wrong(baseline, observations):
    act = in_numpy(baseline, observations)
    return lambda observation: act(observation) + np.float32(1e-3)


@pytest.fixture
def only(monkeypatch):
    """Let one peer stand for all, and one shape."""

    def choose(build):
        monkeypatch.setattr(inference, "PEERS", {"peer": Peer(build, ())})
        monkeypatch.setattr(inference, "SHAPES", {"hopper shape": SHAPES["hopper shape"]})
        monkeypatch.setattr(inference, "shipped", list)

    return choose


def test_rows_have_the_agreed_fields_and_their_conditions(only, tmp_path):
    only(in_numpy)
    inference.run(tmp_path, lambda _: None, quick=True)
    rows = json.loads((tmp_path / "inference.json").read_text())
    assert isinstance(rows, list)
    for row in rows:
        assert row.keys() >= KEYS
        assert row["ratio"] == pytest.approx(row["peer_p50_us"] / row["p50_us"])
        assert 0 < row["p50_us"] <= row["p99_us"]
        assert {"cpu", "kernel", "python", "versions", "git_revision", "load_average", "date"} <= (
            row["conditions"].keys()
        )


def test_each_of_ours_meets_each_peer_and_integers_meet_our_fp32(only, tmp_path):
    only(in_numpy)
    rows = inference.run(tmp_path, lambda _: None, quick=True)
    pairs = {(row.subject, row.peer) for row in rows}
    assert {("integer NumPy", "peer"), ("fp32 NumPy", "peer"), ("integer NumPy", "fp32 NumPy")} <= (
        pairs
    )
    assert ("fp32 NumPy", "fp32 NumPy") not in pairs


def test_the_page_names_every_case_and_the_plot_is_there(only, tmp_path):
    only(in_numpy)
    inference.run(tmp_path, lambda _: None, quick=True)
    assert "| hopper shape: 11-16-16-3, 2 bit" in (tmp_path / "inference.md").read_text()
    assert (tmp_path / "inference.png").read_bytes().startswith(b"\x89PNG")


def test_a_peer_that_computes_something_else_is_refused_and_nothing_written(only, tmp_path):
    only(slightly_wrong)
    with pytest.raises(DisagreementError, match="hopper shape: peer: observation 0 gives"):
        inference.run(tmp_path, lambda _: None, quick=True)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_subject_makes_the_command_fail_in_one_line(only, tmp_path, capsys):
    only(slightly_wrong)
    assert main(Args(("inference",), quick=True, out=tmp_path)) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("qpolicy bench: error: hopper shape")


def test_an_integer_subject_may_not_differ_by_one_bit():
    case = random_case("hopper shape")
    act = make_engine(case.artifact.network, "numpy").act
    inference.verify(case, {"integer C": act})
    with pytest.raises(DisagreementError, match="integer C"):
        inference.verify(case, {"integer C": lambda x: np.nextafter(act(x), np.float32(2))})


def test_nan_is_no_agreement():
    case = random_case("hopper shape")
    with pytest.raises(DisagreementError, match="nan"):
        inference.verify(case, {"peer": lambda _: np.full(3, np.nan, np.float32)})


def test_a_peer_that_quantises_by_itself_may_err_but_must_compute_the_policy(monkeypatch):
    monkeypatch.setattr(inference, "PEERS", {"peer": Peer(in_numpy, (), rounded=True)})
    case = random_case("hopper shape")
    act = in_numpy(case.artifact.baseline, case.observations)
    inference.verify(case, {"peer": lambda x: act(x) + np.float32(0.2)})
    with pytest.raises(DisagreementError, match=r"peer: actions are .* from the policy's"):
        inference.verify(case, {"peer": lambda x: -act(x)})


@pytest.mark.parametrize("name", list(PEERS))
def test_a_peer_computes_the_baseline(name):
    if missing := PEERS[name].missing():
        pytest.skip(f"{missing} not installed")
    if name == "torch compile":
        pytest.skip("half a minute of compiling; the benchmark itself compares its actions")
    case = random_case("ant shape")
    inference.verify(case, {name: PEERS[name].build(case.artifact.baseline, case.observations)})


def test_a_peer_that_is_not_installed_is_named(only, tmp_path, monkeypatch):
    only(in_numpy)
    monkeypatch.setitem(inference.PEERS, "rare", Peer(in_numpy, ("no_such_module",)))
    told = []
    rows = inference.run(tmp_path, told.append, quick=True)
    assert "rare: not installed, left out" in told
    assert "rare" not in {row.peer for row in rows}
    assert "not installed: rare" in (tmp_path / "inference.md").read_text()


@pytest.mark.parametrize("name", ["hopper shape", "large shape", "large shape, 8 bit"])
def test_a_random_policy_is_the_same_every_time_and_uses_its_codes(name):
    case = random_case(name)
    assert case.artifact.function_hash == random_case(name).artifact.function_hash
    engine = make_engine(case.artifact.network, "numpy")
    for codes in engine.codes_batch(case.observations)[1:]:
        # Thresholds that nothing reaches would make the work easier than a trained policy's.
        counts = np.bincount((codes - codes.min()).ravel())
        assert counts.max() / codes.size < 0.6


def test_the_revision_is_that_of_the_source(monkeypatch):
    monkeypatch.chdir("/")
    revision = report.conditions()["git_revision"]
    assert revision == "unknown" or len(revision.rstrip("+")) == 12
