"""QPolicy ROS: low-bit control policies, bit-exact, served over ROS 2."""

from __future__ import annotations

import os
from typing import Any

from qpolicy_ros.backends.loaded import LoadedPolicy

__version__ = "0.1.0"

__all__ = ["load"]


def load(name: str | os.PathLike[str], backend: str = "", **options: Any) -> LoadedPolicy:
    """Load a policy to be asked from Python: ``load("hopper").predict(observation)``.

    Args:
        name: a shipped policy (``hopper``, ``hopper/fp32``) or a file.
        backend: ``integer``, ``fp32`` or ``fpga``; empty takes ``integer`` where the file holds an
            integer network, else ``fp32``.
        options: of the backend, for example ``engine="numpy"``.

    Raises:
        PolicyError: the policy, the backend or an option is not there.
    """
    from qpolicy_ros.backends.loaded import LoadedPolicy  # noqa: PLC0415  needs numpy

    return LoadedPolicy(name, backend, **options)
