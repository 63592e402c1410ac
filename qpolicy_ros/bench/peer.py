"""A subscription and a publisher of ``JointState`` in C on ``rcl``: asks, or echoes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import JointState

from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.nodes.rcl.compile import HERE, CompileError, compiled, loaded_library
from qpolicy_ros.nodes.rcl.library import layout

_ANSWERED, _NO_ANSWER = 0, 1
_LONGEST_ANSWER = 4096  # values


@functools.lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Return ``loop_rcl.c``, compiled on the first use; NodeError where that cannot be."""
    try:
        path = compiled(Path(__file__).with_name("loop_rcl.c"), [HERE / "symbols.h"])
        found = ctypes.CDLL(str(path))
        found.open_rcl.restype = ctypes.c_char_p
        missing = found.open_rcl(str(loaded_library("librcl.so")).encode())
    except (CompileError, OSError) as error:
        raise NodeError(f"the C end of the loop's bench: {error}") from error
    if missing:
        raise NodeError(f"the C end of the loop's bench: {missing.decode()} is not there")
    found.new_peer.restype = ctypes.c_void_p
    found.answer.restype = ctypes.c_size_t
    found.follow.restype = ctypes.c_long
    return found


class Peer:
    """One end of an exchange.

    Args:
        subscription, publisher: of rclpy; both are kept in use until ``close``.
        context: theirs.
        names: of the values that it publishes.
    """

    def __init__(
        self, subscription: Any, publisher: Any, context: Any, names: Sequence[str]
    ) -> None:
        self._library = library()
        self._handles = (subscription.handle, publisher.handle, context.handle)
        for handle in self._handles:
            handle.__enter__()
        texts = (ctypes.c_char_p * len(names))(*(name.encode() for name in names))
        self._peer = ctypes.c_void_p(
            self._library.new_peer(
                ctypes.c_void_p(context.handle.pointer),
                ctypes.c_void_p(subscription.handle.pointer),
                ctypes.c_void_p(publisher.handle.pointer),
                ctypes.c_void_p(layout(JointState)),
                texts,
                ctypes.c_size_t(len(names)),
            )
        )
        if not self._peer:
            raise NodeError("the C end of the loop's bench: cannot be made")

    def close(self) -> None:
        """Let go of the subscription and the publisher."""
        self._library.free_peer(self._peer)
        for handle in self._handles:
            handle.__exit__(None, None, None)

    def echo(self, guard: Any) -> None:
        """Answer every message with zeros until ``guard``, of rclpy, is triggered."""
        with guard.handle:
            end = self._library.echo(self._peer, ctypes.c_void_p(guard.handle.pointer))
        if end != _NO_ANSWER:
            raise NodeError("the C echo has failed")

    def ask(self, values: npt.NDArray[np.float64], number: int, seconds: float) -> bool:
        """Publish float64 (n,) under the stamp ``number``; return whether its answer came."""
        took = ctypes.c_int64()
        end = self._library.ask(
            self._peer,
            _pointer(values),
            ctypes.c_int32(number),
            ctypes.c_int64(round(seconds * 1e9)),
            ctypes.byref(took),
        )
        return _came(end)

    def answer(self) -> npt.NDArray[np.float32]:
        """Return the values of the last answer, float32 (m,)."""
        room = np.empty(_LONGEST_ANSWER)
        count = self._library.answer(self._peer, _pointer(room), ctypes.c_size_t(room.size))
        return room[:count].astype(np.float32)

    def ask_block(
        self,
        rows: npt.NDArray[np.float64],
        calls: int,
        number: int,
        period_ns: int,
        seconds: float,
    ) -> npt.NDArray[np.int64] | None:
        """Ask ``calls`` times, once a period, and return the round trips, ns.

        Args:
            rows: float64 (k, n), taken in turn.
            calls: how many.
            number: stamp of the first one, s.
            period_ns: from one to the next; 0 = as soon as the answer is there.
            seconds: to wait for one answer; None is returned when one does not come.
        """
        took = np.empty(calls, np.int64)
        end = self._library.ask_block(
            self._peer,
            _pointer(rows),
            ctypes.c_long(len(rows)),
            ctypes.c_long(calls),
            ctypes.c_int32(number),
            ctypes.c_int64(period_ns),
            ctypes.c_int64(round(seconds * 1e9)),
            _pointer(took),
        )
        return took if _came(end) else None

    def follow(self, calls: int, number: int, period_ns: int) -> npt.NDArray[np.int64]:
        """Publish once a period; return when the messages that came meanwhile were published, ns.

        Args:
            calls: messages to publish, all values 0.
            number: stamp of the first one, s.
            period_ns: from one to the next.
        """
        published = np.empty(4 * calls, np.int64)
        count = self._library.follow(
            self._peer,
            ctypes.c_long(calls),
            ctypes.c_int32(number),
            ctypes.c_int64(period_ns),
            _pointer(published),
            ctypes.c_long(published.size),
        )
        if count < 0:
            raise NodeError("the C end of the loop's bench has failed")
        return published[:count]


def wake_ups(calls: int, period_ns: int) -> npt.NDArray[np.int64]:
    """Wake up once a period, ``calls`` times, and return how late, ns: the machine's own jitter."""
    late = np.empty(calls, np.int64)
    library().wake_up(ctypes.c_long(calls), ctypes.c_int64(period_ns), _pointer(late))
    return late


def _came(end: int) -> bool:
    if end not in (_ANSWERED, _NO_ANSWER):
        raise NodeError("the C end of the loop's bench has failed")
    return end == _ANSWERED


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
