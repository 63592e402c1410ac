"""Play a low-bit policy in Gymnasium.

python examples/play.py [POLICY] [STEPS]
"""

from __future__ import annotations

import gymnasium
import numpy as np

import qpolicy_ros
from qpolicy_ros.cli.main import run_script


def main(name: str = "hopper", steps: str = "1000") -> None:
    """Play one episode of at most ``steps`` control steps and print its return."""
    policy = qpolicy_ros.load(name)
    env = gymnasium.make(policy.artifact.contract.env_id)
    observation, _ = env.reset(seed=0)
    total, step, over = 0.0, 0, False
    while not over and step < int(steps):
        action = policy.act(observation.astype(np.float32))
        observation, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        step += 1
        over = terminated or truncated
    env.close()
    network = policy.artifact.network
    kind = "FP32" if network is None else f"{network.core_bits} bits"
    print(f"{name} ({kind}): return {total:.1f} after {step} steps")


if __name__ == "__main__":
    run_script(main)
