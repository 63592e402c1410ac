"""An executor that serves chosen callbacks without rclpy's way through Python.

rclpy's executor builds its wait set anew for each wake-up, in Python, over every entity of the
node, and converts each message. :class:`HotExecutor` waits, in C, for the hot ones alone
(:func:`~qpolicy_ros.nodes.rcl.hot.hot`) and calls them back. For everything else it is rclpy's
executor: a second thread waits for the rest, and wakes the first one, which lets rclpy serve it.
So one thread runs every callback, and a service or a parameter gets its turn between two
observations.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ConditionReachedException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
    TimeoutObject,
)
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from qpolicy_ros.nodes.rcl.compile import CompileError
from qpolicy_ros.nodes.rcl.hot import is_hot
from qpolicy_ros.nodes.rcl.library import layout

_KINDS = ("subscription", "guard_condition", "timer", "client", "service")  # as rclpy's WaitSet
_LISTS = ("subscriptions", "guards", "timers", "clients", "services")  # of a node


class HotExecutor(SingleThreadedExecutor):
    """A single-threaded executor with a short way for hot subscriptions and timers.

    Args:
        library: of :func:`qpolicy_ros.nodes.rcl.library.load`.
        context: of the nodes.

    Attributes:
        empty_waits: how many waits of either thread ended though nothing was ready.
    """

    def __init__(self, library: Any, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._library = library
        self._readers: dict[Subscription[Any], Any] = {}
        self._served: set[Any] = set()  # what rclpy's way leaves out
        self._held = ExitStack()  # keeps every entity that is waited for from being destroyed
        self._rest_ready = GuardCondition(None, None, context=self._context)
        handle: Any = self._context.handle
        with handle:
            self._hot = library.WaitSet(handle.pointer, False)
            rest = library.WaitSet(handle.pointer, True)
        assert self._guard is not None
        self._watch = _Watch(rest, self._guard, self._rest_ready)
        self._listed: list[Any] | None = None  # what both wait sets hold
        self._look = True  # whether that may have changed
        self._pending = False  # whether rclpy has something to do
        self._empty_waits = 0

    @property
    def empty_waits(self) -> int:
        """See the class."""
        return self._empty_waits + self._watch.empty_waits

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """See ``Executor.shutdown``."""
        if not self._is_shutdown:
            self._release()
            self._watch.end()
            self._rest_ready.destroy()
        return super().shutdown(timeout_sec)

    def add_node(self, node: Any) -> bool:
        """See ``Executor.add_node``."""
        self._look = True
        return super().add_node(node)

    def remove_node(self, node: Any) -> None:
        """See ``Executor.remove_node``."""
        self._look = True
        super().remove_node(node)

    def can_execute(self, entity: Any) -> bool:
        """Whether rclpy's way shall serve ``entity``."""
        return entity not in self._served and super().can_execute(entity)

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
        if self._look and self._entities() != self._listed:
            self._gather()
        self._look = False
        if not self._pending:
            self._watch.go_on()
        ready = self._hot.wait(0 if self._pending else wait_ns)
        if ready is None:  # and what was in the way has been taken
            self._empty_waits += 1
        self._pending = self._pending or bool(ready)
        if self._pending:
            self._watch.park()
            if self._watch.was_empty:
                self._take_rest()
            self._look = True  # a callback of rclpy may create and destroy entities
            self._pending = self._spin_rest(wait_condition)

    def _spin_rest(self, wait_condition: Any) -> bool:
        """Run one of rclpy's callbacks; return whether there was one."""
        try:
            handler, _, _ = self.wait_for_ready_callbacks(0, None, wait_condition)
        except (TimeoutException, ShutdownException, ConditionReachedException):
            return False
        _run(handler)
        return True

    def _take_rest(self) -> None:
        """Take from everything that rclpy serves, whether it is ready or not.

        A message that has come and is gone again ends every wait until somebody tries to take it,
        and rclpy takes only from what is ready.
        """
        self._watch.was_empty = False
        kinds: dict[str, Any] = {
            "subscriptions": self._take_subscription,
            "clients": self._take_client,
            "services": self._take_service,
        }
        for node in self.get_nodes():
            for kind, take in kinds.items():
                for entity in filter(self.can_execute, getattr(node, kind)):
                    _run(self._make_handler(entity, node, take))

    def _release(self) -> None:
        """Let go of all entities; rclpy's executor may serve the hot ones again."""
        self._watch.park()
        self._hot.unload()
        self._watch.wait_set.unload()
        self._served.clear()
        self._held.close()
        self._listed = None

    def _entities(self) -> list[Any]:
        """Return all entities of all nodes."""
        lists = (*_LISTS, "waitables")
        return [e for node in self.get_nodes() for name in lists for e in getattr(node, name)]

    def _gather(self) -> None:
        """List the entities of all nodes anew."""
        self._release()
        known, self._readers = self._readers, {}
        timers: list[tuple[int, Any]] = []
        rest: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
        waitables: list[Any] = []
        events: list[Any] = []  # of hot subscriptions
        for node in self.get_nodes():
            for kind, name in zip(_KINDS, _LISTS, strict=True):
                for entity in filter(self._hold, getattr(node, name)):
                    if not self._serve(entity, known, timers):
                        rest[kind].append(entity.handle)
            beside = {event for taken in self._readers for event in taken.event_handlers}
            for waitable in filter(self._enter, node.waitables):
                # An event shares a condition with its subscription: each message would wake
                # the thread that watches.
                (events if waitable in beside else waitables).append(waitable)
        own = [guard for guard in (self._guard, self._sigint_gc) if guard and self._hold(guard)]
        rest["guard_condition"] += [guard.handle for guard in own]
        self._load(self._watch.wait_set, rest, waitables)
        waker = {"guard_condition": [self._rest_ready.handle]}
        self._load(self._hot, waker, events, tuple(self._readers.values()), tuple(timers))
        self._listed = self._entities()

    def _serve(
        self, entity: Any, known: dict[Subscription[Any], Any], timers: list[tuple[int, Any]]
    ) -> bool:
        """List ``entity`` among the hot ones; False where rclpy shall serve it."""
        if not is_hot(entity):
            return False
        if isinstance(entity, Timer):
            timers.append((entity.handle.pointer, entity.callback))
        elif not isinstance(entity, Subscription) or entity.raw or not self._read(entity, known):
            return False
        self._served.add(entity)
        return True

    def _load(
        self,
        wait_set: Any,
        entities: dict[str, list[Any]],
        waitables: list[Any],
        readers: tuple[Any, ...] = (),
        timers: tuple[tuple[int, Any], ...] = (),
    ) -> None:
        """Fill a wait set of rclpy, which knows how, and let ``wait_set`` copy what it holds."""
        counts = {kind: len(entities.get(kind, ())) for kind in (*_KINDS, "event")}
        for waitable in waitables:
            more = waitable.get_num_entities()
            for kind in counts:
                counts[kind] += getattr(more, f"num_{kind}s")
        handle: Any = self._context.handle
        with handle:
            known: Any = _rclpy.WaitSet(*[*counts.values(), handle])
            known.clear_entities()
            for kind, handles in entities.items():
                for entity in handles:
                    getattr(known, f"add_{kind}")(entity)
            for waitable in waitables:
                waitable.add_to_wait_set(known)
            wait_set.load(known.pointer, readers, timers)

    def _hold(self, entity: Any) -> bool:
        """Keep an entity from being destroyed while it is listed; False if it is destroyed."""
        return self._enter(entity.handle)

    def _enter(self, handle: Any) -> bool:
        try:
            self._held.enter_context(handle)
        except InvalidHandle:
            return False
        return True

    def _read(self, taken: Any, known: dict[Subscription[Any], Any]) -> bool:
        """Have the messages of ``taken`` read in C; False where C cannot."""
        reader = known.get(taken)
        if reader is None:
            try:
                description = layout(taken.msg_type)
            except CompileError:
                return False
            reader = self._library.Reader(
                taken.handle.pointer, description, taken.callback, _wants_info(taken)
            )
        self._readers[taken] = reader
        return True


class _Watch:
    """A thread that waits for rclpy's entities, and triggers ``ready`` when one of them is.

    It waits only between ``go_on`` and ``park``, so that nothing is destroyed under it.

    Args:
        wait_set: of the entities.
        interrupt: a guard condition among them.
        ready: guard condition of the thread that serves.

    Attributes:
        was_empty: whether the last wait ended though nothing was ready.
        empty_waits: how many have.
    """

    def __init__(self, wait_set: Any, interrupt: GuardCondition, ready: GuardCondition) -> None:
        self.wait_set = wait_set
        self._interrupt, self._ready = interrupt, ready
        self.was_empty = False
        self.empty_waits = 0
        self._error: Exception | None = None
        self._go = threading.Semaphore(0)
        self._parked = threading.Event()
        self._parked.set()
        self._called_back = False  # the thread that serves wants it parked, and waits for that
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="rcl_watch", daemon=True)
        self._thread.start()

    def go_on(self) -> None:
        """Wait from now on, if it does not yet."""
        if self._error is not None:
            raise self._error
        if self._parked.is_set():
            self._parked.clear()
            self._called_back = False
            self._go.release()

    def park(self) -> None:
        """Return once it waits no more."""
        if not self._parked.is_set():
            self._called_back = True
            self._interrupt.trigger()
            self._parked.wait()

    def end(self) -> None:
        """End the thread."""
        self.park()
        self._ending = True
        self._go.release()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            if self._ending:
                return
            try:
                while (ready := self.wait_set.wait(-1)) is False:
                    pass
                self.was_empty = ready is None
                self.empty_waits += self.was_empty
            except Exception as error:  # noqa: BLE001  the thread that serves shall raise it
                self._error = error
            # Who has called it back is awake. Waking it once more would make it call back again
            # as soon as this thread waits, and so on for ever.
            if not self._called_back:
                self._ready.trigger()
            self._parked.set()


def _run(handler: Any) -> None:
    """Run a task of rclpy; what it raises comes out."""
    handler()
    error = handler.exception()
    if error is not None:
        raise error


def _wants_info(taken: Any) -> bool:
    """Whether the callback takes a message's times beside the message."""
    kinds = getattr(Subscription, "CallbackType", None)
    return kinds is not None and taken._callback_type is kinds.WithMessageInfo  # noqa: SLF001
