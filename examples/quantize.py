"""Take a FP32 policy to a few bits, and see what it costs.

    python examples/quantize.py OUT.safetensors [TEACHER] [METHOD] [MORE OPTIONS]

``distill`` (minutes) keeps nearly all of the return; ``ptq`` only rounds, in seconds. Everything of
``qpolicy quantize`` may follow, for example ``--b-core 4``.
"""

from __future__ import annotations

from qpolicy_ros.cli.main import main as qpolicy
from qpolicy_ros.cli.main import run_script


def main(out: str, teacher: str = "hopper/fp32", method: str = "distill", *more: str) -> int:
    """Quantise, say what was made, and play it."""
    status = qpolicy(["quantize", teacher, "--method", method, "--out", out, *more])
    return status or qpolicy(["info", out]) or qpolicy(["evaluate", out, "--episodes", "3"])


if __name__ == "__main__":
    run_script(main)
