"""A policy as Python people hold one: ``predict`` as Stable-Baselines3's models have it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends.table import create_backend
from qpolicy_ros.policy.artifact import load_policy
from qpolicy_ros.policy.locate import find_policy
from qpolicy_ros.policy.model import Float32


class LoadedPolicy:
    """One policy and the backend that answers for it; what ``qpolicy_ros.load`` returns.

    Attributes:
        artifact: all that the policy file holds.
        backend: what computes the actions.
    """

    def __init__(self, name: str | os.PathLike[str], backend: str = "", **options: Any) -> None:
        """Load and validate.

        Args:
            name: a shipped policy (``hopper``, ``hopper/fp32``) or a file.
            backend: ``integer``, ``fp32`` or ``fpga``; empty takes ``integer`` where the file holds
                an integer network, else ``fp32``.
            options: of the backend, for example ``engine="numpy"``.

        Raises:
            PolicyError: the policy, the backend or an option is not there.
        """
        self.artifact = load_policy(find_policy(name))
        chosen = backend or ("fp32" if self.artifact.network is None else "integer")
        self.backend = create_backend(chosen, self.artifact, options)

    def act(self, observation: npt.ArrayLike) -> Float32:
        """Action for one observation, ``(n,)`` to float32 ``(m,)``, in the task's units.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        return self.backend.act(observation)

    def act_batch(self, observations: npt.ArrayLike) -> Float32:
        """Actions for many observations, ``(k, n)`` to float32 ``(k, m)``.

        ``integer`` and ``fp32`` give the same bits as ``act``, one by one.

        Raises:
            ObservationError: as ``act``.
        """
        batch = getattr(self.backend, "act_batch", None)
        if batch is not None:
            actions: Float32 = batch(observations)
            return actions
        return np.stack([self.backend.act(row) for row in np.asarray(observations)])

    def predict(
        self,
        observation: npt.ArrayLike,
        state: tuple[Any, ...] | None = None,
        episode_start: npt.ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[Float32, tuple[Any, ...] | None]:
        """Action for one observation or a stack of them, as Stable-Baselines3's models answer.

        Args:
            observation: ``(n,)``, or ``(k, n)`` from a vectorised environment.
            state: returned as it is; the policy has none.
            episode_start: ignored, for the same reason.
            deterministic: ignored; the policy always is.

        Returns:
            Float32 actions, ``(m,)`` or ``(k, m)``, and ``state``.

        Raises:
            ObservationError: as ``act``.
        """
        del episode_start, deterministic
        # A task's float64 observation is rounded once, as the node rounds it.
        values = np.asarray(observation, np.float32)
        return (self.act(values) if values.ndim == 1 else self.act_batch(values)), state

    def close(self) -> None:
        """Release what the backend holds."""
        self.backend.close()
