"""Backends: ways to compute a policy's action, behind one Protocol and one table."""

from __future__ import annotations

from qpolicy_ros.backends.base import Backend, BackendError, Watched
from qpolicy_ros.backends.table import BACKENDS, check_golden, create_backend

__all__ = ["BACKENDS", "Backend", "BackendError", "Watched", "check_golden", "create_backend"]
