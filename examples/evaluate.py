"""Compare the integer policy with its FP32 baseline over the same seeds.

    python examples/evaluate.py [POLICY] [EPISODES]

``qpolicy_ros.load(NAME)`` also goes into Stable-Baselines3's ``evaluate_policy`` as it is.
"""

from __future__ import annotations

import statistics

import qpolicy_ros
from qpolicy_ros.cli.main import run_script
from qpolicy_ros.sim import evaluate


def main(name: str = "hopper", episodes: str = "3") -> None:
    """Print the mean return of both backends."""
    for backend in ("integer", "fp32"):
        policy = qpolicy_ros.load(name, backend)
        task = policy.artifact.contract.env_id
        returns = evaluate(policy.act, task, int(episodes), seed=0)
        print(f"{name} {backend:8} {statistics.mean(returns):9.1f} over {len(returns)} episodes")


if __name__ == "__main__":
    run_script(main)
