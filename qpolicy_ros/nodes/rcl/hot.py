"""Which subscriptions and timers are hot: come with every observation, message or tick."""

from __future__ import annotations

from typing import Any, TypeVar
from weakref import WeakSet

_Entity = TypeVar("_Entity")

_hot: WeakSet[Any] = WeakSet()


def hot(entity: _Entity) -> _Entity:
    """Let ``HotExecutor`` serve ``entity``, a subscription or a timer, below rclpy; return it.

    Any other executor serves it as usual. Its callback neither creates nor destroys entities of a
    node, and keeps no message: the next one is taken into the same memory.
    """
    _hot.add(entity)
    return entity


def is_hot(entity: object) -> bool:
    """Whether ``entity`` was given to :func:`hot`."""
    return entity in _hot
