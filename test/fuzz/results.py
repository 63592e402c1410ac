"""Targets that read what runs leave behind: certificates, ledgers, curves, benchmark rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def certificate_seeds() -> list[bytes]:
    """A certificate of two parts."""
    from qpolicy_ros.verify import certificate  # noqa: PLC0415

    checks = [{"name": "a = b", "compared": 7, "wrong": 0, "detail": "1, 2", "passed": True}]
    parts = [
        {"name": name, "passed": True, "checks": checks, "uncovered": ["c"]}
        for name in ("bounds", "loops")
    ]
    rtl = {"part": "xc7a15t", "clock_mhz": 100.0, "fit": "latency", "cycles": 7, "sha256": "d"}
    content = {
        "format": certificate.FORMAT, "policy": "a/b", "task": "a", "quick": False,
        "passed": True, "function_hash": "a", "file_hash": "b", "module_sha256": "c", "rtl": rtl,
        "tools": {"python": "3.11"}, "sources": {"qpolicy_ros.policy": "e"}, "parts": parts,
    }  # fmt: skip
    return [json.dumps(certificate.seal(content)).encode()]


def read_certificate(path: Path) -> None:
    """Load; what was accepted can be shown and compared, and says the same as itself."""
    from qpolicy_ros.verify import certificate  # noqa: PLC0415

    content = certificate.load(path)
    certificate.markdown(content).encode()
    (check,) = certificate.agreement(content, content).checks
    assert check.detail in ("", "passed"), check  # one that failed agrees with none


def ledger_seeds() -> list[bytes]:
    """A sweep with a candidate, one that diverged and a call."""
    shape = {"hidden": [8, 8], "b_in": 4, "b_core": 2, "b_out": 8, "seed": 1}
    run = {"hash": "a", "cpu_seconds": 1.5, "method": "distill", "rounds": 6, **shape}
    cost = {"cost": 14.0, "cycles": 7, "lut": 2}
    figures = {"returns": [1.0, 2.5], "mean": 1.75, "std": 1.0, "cost": cost}
    rows = [
        {"stage": "sweep", "hash": "s", "command": [], "config": {}, "cpu_seconds": 0.0},
        {"stage": "rung0", **run, **figures},
        {"stage": "rung1", **run, "returns": [], "error": "diverged"},
    ]
    return ["\n".join(map(json.dumps, rows)).encode()]


def read_sweep(path: Path) -> None:
    """Read for a sweep and for the report, whose points can be drawn on an axis of logarithms."""
    from qpolicy_training.report import runs  # noqa: PLC0415
    from qpolicy_training.select.ledger import Ledger  # noqa: PLC0415

    ledger = Ledger(path)
    rows = ledger.rows
    assert np.isfinite(ledger.cpu_seconds)
    "|".join(str(value) for value in runs._sweep(path, "hopper", rows)).encode()
    for point in runs._swept("hopper", rows):
        assert np.isfinite([point.mean, point.std, np.log2(point.hidden)]).all()
        costs = [cost for cost in (point.cycles, point.lut) if cost is not None]
        assert np.isfinite(np.log([float(cost) for cost in costs])).all()


def curve_seeds() -> list[bytes]:
    """Curves of two rows, plain and quoted."""
    head = "step,held_out_return,seconds\n"
    return [f"{head}1000,-5.25,3\n2000,6e2,7\n".encode(), f'{head}"1000",5,"3"\r\n'.encode()]


def read_curve(path: Path) -> None:
    """Read; what was accepted can be drawn."""
    from qpolicy_training.runs import curve  # noqa: PLC0415

    steps, returns = zip(*curve.read_curve(path), strict=True)
    assert (np.array(steps) / 1000.0 >= 0).all()
    assert np.isfinite(np.array(returns)).all()


def hardware_seeds() -> list[bytes]:
    """Rows of the hardware benchmark, as far as the report uses them."""
    rows = [
        {"task": task, "policy": policy, "cycles": 7, "lut": 1482, "fits": True}
        for task, policy in (("hopper", "shipped"), ("ant", "random"))
    ]
    return [json.dumps(rows).encode()]


def read_hardware(path: Path) -> None:
    """Read; what was accepted can be drawn on an axis of logarithms."""
    from qpolicy_training.report.runs import read_costs  # noqa: PLC0415

    for (task, policy), costs in read_costs(path).items():
        f"{task}{policy}".encode()
        assert np.isfinite(np.log(costs)).all()
