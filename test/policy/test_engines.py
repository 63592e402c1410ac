"""Choosing an engine, with and without the compiled kernel."""

from __future__ import annotations

import logging
import sys

import pytest
from policy_builders import random_network

from qpolicy_ros.policy import PolicyError, engine_kinds, engines, make_engine


@pytest.fixture
def without_kernel(monkeypatch):
    """As if no compiler had been there."""
    monkeypatch.setitem(sys.modules, "qpolicy_ros.policy._kernel", None)
    engines._kernel_problem.cache_clear()
    yield
    engines._kernel_problem.cache_clear()


def test_numpy_is_always_there():
    assert "numpy" in engine_kinds()
    assert make_engine(random_network(), "numpy").kind == "numpy"


def test_auto_takes_the_first_kind():
    assert make_engine(random_network()).kind == engine_kinds()[0]


def test_engine_knows_its_network():
    network = random_network()

    assert {id(make_engine(network, kind).network) for kind in engine_kinds()} == {id(network)}


@pytest.mark.parametrize("kind", ["", "C", "cuda"])
def test_unknown_kind_names_the_known(kind):
    with pytest.raises(PolicyError, match=f"engine: '{kind}' is unknown; choose auto, c or numpy"):
        make_engine(random_network(), kind)


@pytest.mark.usefixtures("without_kernel")
def test_without_the_kernel_auto_is_numpy():
    assert engine_kinds() == ("numpy",)
    assert make_engine(random_network()).kind == "numpy"


@pytest.mark.usefixtures("without_kernel")
def test_without_the_kernel_c_is_refused():
    with pytest.raises(PolicyError, match=r"'c' is not available.*choose engine 'numpy'"):
        make_engine(random_network(), "c")


@pytest.mark.usefixtures("without_kernel")
def test_missing_kernel_is_one_line_once(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            make_engine(random_network())

    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


@pytest.mark.usefixtures("without_kernel")
def test_numpy_by_name_needs_no_notice(caplog):
    with caplog.at_level(logging.WARNING):
        make_engine(random_network(), "numpy")

    assert not caplog.records
