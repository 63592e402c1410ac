"""Train the policy of config/imported with Stable-Baselines3: what `qpolicy import` then takes.

    pip install stable-baselines3
    python scripts/train_with_sb3.py double_pendulum.zip

A minute of one core. Stable-Baselines3 is no dependency of this project; the shipped zip is what
it wrote, without the optimiser.
"""

from __future__ import annotations

import argparse

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

TASK = "InvertedDoublePendulum-v4"
ROUNDS, STEPS = 40, 8192
GOOD = 9300.0  # return of an episode in which neither pole falls: 9,360


def main() -> None:
    """Train by PPO until the poles stand through five episodes, and save."""
    parser = argparse.ArgumentParser(description="Train a double pendulum by PPO.")
    parser.add_argument("out", help="zip to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of 8,192 steps at most")
    args = parser.parse_args()
    model = PPO(
        "MlpPolicy", make_vec_env(TASK, n_envs=4, seed=1), n_steps=512, batch_size=256,
        learning_rate=1e-3, policy_kwargs={"log_std_init": -1.0}, seed=1, device="cpu",
    )  # fmt: skip
    best = float("-inf")
    for _ in range(args.rounds):
        model.learn(STEPS, reset_num_timesteps=False)
        mean, spread = evaluate_policy(model, gymnasium.make(TASK), 5)
        print(f"{model.num_timesteps} steps: return {mean:.0f} ± {spread:.0f}")
        if mean > best:
            best = mean
            model.save(args.out)
        if mean > GOOD:
            break


if __name__ == "__main__":
    main()
