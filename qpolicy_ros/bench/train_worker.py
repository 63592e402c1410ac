"""One subject of the training benchmark, in a process of its own: ours or a peer.

A script, not a module of the package: the peers' environment has no qpolicy_ros. A gate in the
environment's ``step`` stops the subject after each block of steps, says what the block took and
waits for the next: so any library can be timed in turn with others, its code untouched.

    python train_worker.py SUBJECT TASK STEPS WARM_UP [CLEANRL_CHECKOUT]

Blocks come on standard input, a line of JSON for each goes to file 3.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 1200  # steps: first compilations, 300 batches of statistics of the quantised actor
LEARNING_STARTS = 500
SEED = 1


class Gate:
    """Counts environment steps; between blocks of them it waits for the parent process."""

    def __init__(self, warm_up: int) -> None:
        self._left = warm_up
        self._out = os.fdopen(3, "w")
        self._returns: list[float] = []
        self._return = 0.0
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def tick(self, reward: float, *, ended: bool) -> None:
        """Count one step."""
        self._return += reward
        if ended:
            self._returns.append(self._return)
            self._return = 0.0
        self._left -= 1
        if self._left == 0:
            self.wait()

    def wait(self) -> None:
        """Report the block and wait for the number of steps of the next one."""
        report = {
            "wall": time.perf_counter() - self._wall,
            "cpu": time.process_time() - self._cpu,
            "returns": self._returns,
        }
        print(json.dumps(report), file=self._out, flush=True)
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # the parent has what it wanted
        self._left, self._returns = int(line), []
        self._wall, self._cpu = time.perf_counter(), time.process_time()


def gated(env_id: str, gate: Gate) -> Any:
    """Return the Gymnasium task behind the gate."""
    import gymnasium

    class Gated(gymnasium.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            result = self.env.step(action)
            gate.tick(float(result[1]), ended=bool(result[2] or result[3]))
            return result

    return Gated(gymnasium.make(env_id))


def train_ours(task: str, steps: int, gate: Gate, *, quantised: bool, products: Any) -> None:
    """SAC of this project: FP32 actor of two layers of 256, or 3-bit weights, 8-bit input."""
    from qpolicy_training.experience.normaliser import RunningNormaliser
    from qpolicy_training.experience.task_env import TrainingEnv
    from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor
    from qpolicy_training.rl.config import SacConfig
    from qpolicy_training.rl.learners import make_learner
    from qpolicy_training.rl.networks import Fp32Actor
    from qpolicy_training.rl.sac import train
    from qpolicy_training.rl.torch_setup import prepare
    from qpolicy_training.runs.folder import Run

    class Gated(TrainingEnv):
        def step(self, action: Any) -> Any:
            result = super().step(action)
            gate.tick(result[1], ended=result[2] or result[3])
            return result

    prepare(SEED)
    env = Gated(task)
    sizes = env.observations, env.actions
    config = SacConfig(
        steps=steps, learning_starts=LEARNING_STARTS, products=products, evaluate_every=steps + 1
    )
    actor: Any = Fp32Actor(*sizes, (256, 256))
    if quantised:
        actor = QuantActor(ActorSpec(*sizes, (256, 256), 8, 3))
    learner = make_learner(actor, (*sizes, 256), config)
    run = Run("bench", config)
    normaliser = RunningNormaliser(env.observations)
    train(env, learner, normaliser, run, config, seed=SEED, evaluate=lambda _: 0.0)


def train_baselines(library: str, task: str, steps: int, gate: Gate, **more: Any) -> None:
    """SAC of Stable-Baselines3 or of sbx, its defaults (batch 256, 256-256, an update a step)."""
    env = gated(task, gate)
    if library == "sb3":
        import torch
        from stable_baselines3 import SAC

        torch.set_num_threads(1)
    else:
        from sbx import SAC
    model = SAC("MlpPolicy", env, learning_starts=LEARNING_STARTS, seed=SEED, **more)
    model.learn(steps)


def train_cleanrl(task: str, steps: int, gate: Gate, checkout: str) -> None:
    """``sac_continuous_action.py`` of a CleanRL checkout, as its users run it."""
    import runpy

    import gymnasium
    import torch

    torch.set_num_threads(1)
    make = gymnasium.make

    def gated_make(*_: Any, **__: Any) -> Any:
        gymnasium.make = make
        try:
            return gated(task, gate)
        finally:
            gymnasium.make = gated_make

    gymnasium.make = gated_make
    script = str(Path(checkout) / "cleanrl" / "sac_continuous_action.py")
    sys.path.insert(0, checkout)
    sys.argv = [script, "--env-id", task, "--seed", str(SEED), "--no-cuda"]
    sys.argv += ["--total-timesteps", str(steps), "--learning-starts", str(LEARNING_STARTS)]
    runpy.run_path(script, run_name="__main__")


def evaluate_ours(task: str, gate: Gate) -> None:
    """Episodes of the shipped policy through the integer backend, as `qpolicy evaluate` plays."""
    from qpolicy_ros.backends import create_backend
    from qpolicy_ros.policy import find_policy, load_policy
    from qpolicy_ros.sim.environment import Simulation
    from qpolicy_ros.sim.rollout import rollout
    from qpolicy_ros.sim.tasks import task_name

    class Gated(Simulation):
        def step(self, action: Any) -> Any:
            result = super().step(action)
            gate.tick(result[1], ended=result[2] or result[3])
            return result

    backend = create_backend("integer", load_policy(find_policy(task_name(task))))
    simulation = Gated(task)
    for seed in itertools.count():
        rollout(backend.act, simulation, seed)


def evaluate_sb3(task: str, gate: Gate) -> None:
    """``evaluate_policy`` of Stable-Baselines3 with an untrained SAC policy of 256-256."""
    import torch
    from stable_baselines3 import SAC
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)
    model = SAC("MlpPolicy", gated(task, gate), seed=SEED, buffer_size=1)
    while True:
        evaluate_policy(model, model.get_env(), n_eval_episodes=1)


def main(subject: str, task: str, steps: int, warm_up: int, checkout: str = "") -> None:
    """Run one subject until ``steps`` steps or until nobody asks for more."""
    gate = Gate(warm_up)
    kind, _, how = subject.partition(":")
    if kind == "ours":
        actor, _, products = how.partition(":")
        train_ours(task, steps, gate, quantised=actor == "qat", products=products)
    elif kind == "cleanrl":
        train_cleanrl(task, steps, gate, checkout)
    elif kind == "evaluate":
        (evaluate_ours if how == "ours" else evaluate_sb3)(task, gate)
    else:
        more = {"policy_delay": int(how)} if how else {}
        train_baselines(kind, task, steps, gate, **more)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
