"""MuJoCo in worker processes: one step of all environments, shared memory in and out.

Slots ``(run, index)``: the first ``envs`` of a run train and restart by themselves, the others
evaluate and play one episode for each seed they are given.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # the process that starts workers runs without JAX
    from qpolicy_training.batched.layout import Layout

WAIT_S = 120.0
RESTARTS = 2
"""Of ``active``: the slot trains, and a new episode follows each."""
FIELDS = {
    "observation": np.float32, "following": np.float32, "action": np.float32,
    "reward": np.float32, "terminated": np.float32, "active": np.uint8, "seed": np.int64,
    "finished": np.float64, "length": np.int64,
}  # fmt: skip


class PhysicsPool:
    """Environments of many runs, shared out over ``workers`` processes by their cost.

    Arrays, views of shared memory, ``(runs, slots, ...)``: ``observation`` (what comes next; after
    an episode's end that of the new one), ``following`` (what the step led to), ``action`` in [-1,
    1], ``reward``, ``terminated``; ``seed`` >= 0 asks a slot to start that episode in place of a
    step; ``active`` is 0 in a slot whose asked episode is over, whose return is then in
    ``finished`` and its length in ``length``.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        layout: Layout,
        envs: int,
        evaluation_envs: int,
        workers: int,
        *,
        costs: dict[str, float],
        seed: int,
        episode_steps: int | None = None,
    ) -> None:
        self.envs, slots = envs, envs + evaluation_envs
        shape = (layout.runs, slots)
        ends = {"observation": layout.longest, "following": layout.longest, "action": layout.widest}
        self._memory: list[SharedMemory] = []
        description = {}
        for name, dtype in FIELDS.items():
            full = (*shape, ends[name]) if name in ends else shape
            block = SharedMemory(create=True, size=int(np.prod(full)) * np.dtype(dtype).itemsize)
            self._memory.append(block)
            description[name] = (block.name, full, np.dtype(dtype).str)
            array = np.ndarray(full, dtype, block.buf)
            array[:] = -1 if name == "seed" else 0
            setattr(self, name, array)
        everything = [(r, s) for s in range(slots) for r in range(layout.runs)]
        everything.sort(key=lambda slot: (slot[1] >= envs, -costs.get(tasks[slot[0]], 1.0)))
        shares: list[list[tuple[int, int]]] = [[] for _ in range(workers)]
        load = [0.0] * workers
        for slot in everything:
            least = load.index(min(load))
            shares[least].append(slot)
            load[least] += costs.get(tasks[slot[0]], 1.0) * (1.0 if slot[1] < envs else 0.999)
        context = mp.get_context("spawn")
        self._done = context.Semaphore(0)
        self._gates = [context.Semaphore(0) for _ in shares]
        self._stop = context.Event()
        self._processes = [
            context.Process(
                target=_work,
                args=(description, share, [tasks[r] for r, _ in share], envs, seed, episode_steps,
                      gate, self._done, self._stop),
                daemon=True,
            )
            for share, gate in zip(shares, self._gates, strict=True)
        ]  # fmt: skip
        for process in self._processes:
            process.start()

    def go(self) -> None:
        """Let every slot take one step."""
        for gate in self._gates:
            gate.release()

    def wait(self) -> None:
        """Return when all have; ``RuntimeError`` where a worker ended or hangs."""
        for _ in self._gates:
            if not self._done.acquire(timeout=WAIT_S):
                dead = [p.pid for p in self._processes if not p.is_alive()]
                raise RuntimeError(f"physics: no answer within {WAIT_S:g} s; ended: {dead}")

    def close(self) -> None:
        """End the workers and free the memory."""
        self._stop.set()
        self.go()
        for process in self._processes:
            process.join(5.0)
            if process.is_alive():
                process.terminate()
        for name in FIELDS:
            delattr(self, name)
        for block in self._memory:
            with contextlib.suppress(BufferError):
                block.close()
            block.unlink()

    def __getattr__(self, name: str) -> np.ndarray:
        raise AttributeError(name)  # the arrays are set above; this is for type checkers


def _work(
    description: dict[str, Any], slots: list[tuple[int, int]], tasks: list[str], envs: int,
    seed: int, episode_steps: int | None, gate: Any, done: Any, stop: Any,
) -> None:  # fmt: skip
    import os  # noqa: PLC0415 a worker's own

    from qpolicy_ros.sim.environment import Simulation  # noqa: PLC0415 imports MuJoCo

    os.nice(1)
    blocks = {name: SharedMemory(name=block) for name, (block, _, _) in description.items()}
    a = {
        name: np.ndarray(shape, dtype, blocks[name].buf)
        for name, (_, shape, dtype) in description.items()
    }
    simulations, scales, totals = [], [], [[0.0, 0] for _ in slots]
    for (run, slot), task in zip(slots, tasks, strict=True):
        simulation = Simulation(task, max_episode_steps=episode_steps)
        contract = simulation.contract
        scales.append(((contract.high - contract.low) / 2, (contract.high + contract.low) / 2))
        simulations.append(simulation)
        if slot < envs:
            first = simulation.reset(4_000_000 + 10_000 * seed + 97 * run + slot)
            a["observation"][run, slot, : first.size] = first
            a["active"][run, slot] = RESTARTS
    done.release()
    while True:
        gate.acquire()
        if stop.is_set():
            return
        for (run, slot), simulation, (scale, bias), total in zip(
            slots, simulations, scales, totals, strict=True
        ):
            if a["seed"][run, slot] >= 0:
                first = simulation.reset(int(a["seed"][run, slot]))
                a["observation"][run, slot, : first.size] = first
                a["seed"][run, slot], a["active"][run, slot] = -1, 1
                total[:] = [0.0, 0]
                continue
            if not a["active"][run, slot]:
                continue
            action = a["action"][run, slot, : scale.size] * scale + bias
            after, reward, terminated, truncated = simulation.step(action)
            a["following"][run, slot, : after.size] = after
            a["reward"][run, slot], a["terminated"][run, slot] = reward, terminated
            total[0] += reward
            total[1] += 1
            if terminated or truncated:
                a["finished"][run, slot], a["length"][run, slot] = total
                total[:] = [0.0, 0]
                if a["active"][run, slot] != RESTARTS:
                    a["active"][run, slot] = 0
                else:
                    after = simulation.reset(None)
            a["observation"][run, slot, : after.size] = after
        done.release()
