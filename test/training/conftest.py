"""Fewer steps where only the way counts: post-training rounding plays its teacher for long."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _short_rounding(full):
    """Fit the ranges of `--method ptq` on a tenth of the observations."""
    if full:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qpolicy_training.recipes.student.PTQ_STEPS", 2_000)
        yield
