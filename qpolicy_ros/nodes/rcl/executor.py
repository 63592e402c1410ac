"""An executor that serves chosen callbacks without rclpy's way through Python.

rclpy's executor builds its wait set anew for each wake-up, in Python, over every entity of the
node, and converts each message. :class:`HotExecutor` keeps a list of the entities in C. It calls
the callbacks of a :class:`HotGroup` itself, and leaves everything else to rclpy's executor, which
it is. One thread runs both: between two observations, and between nothing else, a service or a
parameter gets its turn.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ConditionReachedException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
    TimeoutObject,
)
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from qpolicy_ros.nodes.rcl.compile import CompileError
from qpolicy_ros.nodes.rcl.library import layout

_KINDS = ("subscriptions", "guards", "timers", "clients", "services")  # as WaitSet wants them
_ADD = ("subscription", "guard_condition", "timer", "client", "service")


class HotGroup(ReentrantCallbackGroup):
    """Subscriptions and timers that :class:`HotExecutor` serves; any other executor does too.

    Their callbacks shall neither create nor destroy entities of a node, and keep no message: the
    next one is taken into the same memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.served: set[object] = set()

    def can_execute(self, entity: Any) -> Any:
        """Whether rclpy's executor shall serve ``entity``."""
        return entity not in self.served


class HotExecutor(SingleThreadedExecutor):
    """A single-threaded executor with a short way for the callbacks of a :class:`HotGroup`.

    Args:
        library: of :func:`qpolicy_ros.nodes.rcl.library.load`.
        context: of the nodes.
    """

    def __init__(self, library: Any, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._library = library
        handle: Any = self._context.handle
        with handle:
            self._wait_set = library.WaitSet(handle.pointer)
        self._readers: dict[Subscription[Any], Any] = {}
        self._cold: set[Subscription[Any]] = set()  # hot ones whose type has no layout
        self._groups: set[HotGroup] = set()
        self._held = ExitStack()  # keeps every entity that is waited for from being destroyed
        self._outdated = True
        self._pending = False  # whether rclpy has something to do

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """See ``Executor.shutdown``."""
        self._release()
        return super().shutdown(timeout_sec)

    def remove_node(self, node: Any) -> None:
        """See ``Executor.remove_node``."""
        super().remove_node(node)
        self._outdated = True

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for and serve what is ready: the hot callbacks, then at most one of rclpy's."""
        self._spin_once_impl(timeout_sec)

    def _spin_once_impl(
        self,
        timeout_sec: float | TimeoutObject | None = None,
        wait_condition: Any = lambda: False,
    ) -> None:
        if isinstance(timeout_sec, TimeoutObject):
            timeout_sec = timeout_sec.timeout
        wait_ns = -1 if timeout_sec is None or timeout_sec < 0 else round(timeout_sec * 1e9)
        if self._outdated:
            self._gather()
        if self._wait_set.wait(0 if self._pending else wait_ns):
            self._pending = True
        if self._pending:
            self._outdated = True  # a callback of rclpy may create and destroy entities
            self._pending = self._spin_rest(wait_condition)

    def _spin_rest(self, wait_condition: Any) -> bool:
        """Run one of rclpy's callbacks; return whether there was one."""
        try:
            handler, _, _ = self.wait_for_ready_callbacks(0, None, wait_condition)
        except (TimeoutException, ShutdownException, ConditionReachedException):
            return False
        handler()
        error = handler.exception()
        if error is not None:
            raise error
        return True

    def _release(self) -> None:
        """Let go of all entities; rclpy's executor may serve the hot ones again."""
        self._wait_set.unload()
        for group in self._groups:
            group.served.clear()
        self._groups.clear()
        self._held.close()
        self._outdated = True

    def _gather(self) -> None:
        """List the entities of all nodes anew."""
        self._release()
        found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
        readers: list[Any] = []
        timers: list[tuple[int, Any]] = []
        waitables: list[Any] = []
        for node in self.get_nodes():
            for timer in node.timers:
                if self._hold(timer.handle):
                    if isinstance(timer.callback_group, HotGroup):
                        timers.append((timer.handle.pointer, timer.callback))
                        self._serve(timer.callback_group, timer)
                    else:
                        found["timers"].append(timer.handle)
            for taken in node.subscriptions:
                if self._hold(taken.handle):
                    reader = self._reader(taken)
                    if reader is not None:
                        readers.append(reader)
                        self._serve(taken.callback_group, taken)
                    else:
                        found["subscriptions"].append(taken.handle)
            for kind in ("guards", "clients", "services"):
                found[kind] += [e.handle for e in getattr(node, kind) if self._hold(e.handle)]
            waitables += [waitable for waitable in node.waitables if self._hold(waitable)]
        for guard in (self._guard, self._sigint_gc):
            if guard and self._hold(guard.handle):
                found["guards"].append(guard.handle)
        known = {id(reader) for reader in readers}
        self._readers = {s: r for s, r in self._readers.items() if id(r) in known}
        self._cold &= {s for node in self.get_nodes() for s in node.subscriptions}
        self._load(found, waitables, readers, timers)
        self._outdated = False

    def _load(
        self,
        found: dict[str, list[Any]],
        waitables: list[Any],
        readers: list[Any],
        timers: list[tuple[int, Any]],
    ) -> None:
        """Fill a wait set of rclpy, which knows how, and copy what it holds."""
        counts = [len(found[kind]) for kind in _KINDS]
        events = 0
        for waitable in waitables:
            more = waitable.get_num_entities()
            for index, number in enumerate(
                (
                    more.num_subscriptions,
                    more.num_guard_conditions,
                    more.num_timers,
                    more.num_clients,
                    more.num_services,
                )
            ):
                counts[index] += number
            events += more.num_events
        handle: Any = self._context.handle
        with handle:
            wait_set = _rclpy.WaitSet(*counts, events, handle)
            wait_set.clear_entities()
            for kind, name in zip(_KINDS, _ADD, strict=True):
                for entity in found[kind]:
                    getattr(wait_set, f"add_{name}")(entity)
            for waitable in waitables:
                waitable.add_to_wait_set(wait_set)
            self._wait_set.load(wait_set.pointer, tuple(readers), tuple(timers))

    def _hold(self, handle: Any) -> bool:
        """Keep an entity from being destroyed while it is listed; False if it is destroyed."""
        try:
            self._held.enter_context(handle)
        except InvalidHandle:
            return False
        return True

    def _serve(self, group: Any, entity: Subscription[Any] | Timer) -> None:
        group.served.add(entity)
        self._groups.add(group)

    def _reader(self, taken: Subscription[Any]) -> Any:
        """Return what takes the messages of a hot subscription; None for one that is not."""
        if not isinstance(taken.callback_group, HotGroup) or taken.raw or taken in self._cold:
            return None
        if taken not in self._readers:
            try:
                description = layout(taken.msg_type)
            except CompileError:
                self._cold.add(taken)
                return None
            with_info = _wants_info(taken)
            self._readers[taken] = self._library.Reader(
                taken.handle.pointer, description, taken.callback, with_info
            )
        return self._readers[taken]


def _wants_info(taken: Any) -> bool:
    """Whether the callback takes a message's times beside the message."""
    kinds = getattr(Subscription, "CallbackType", None)
    return kinds is not None and taken._callback_type is kinds.WithMessageInfo  # noqa: SLF001
