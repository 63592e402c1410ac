"""Something done every few seconds while a block runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def called_every(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Inside the block, ``call`` from another thread every ``seconds``; it has ended behind it."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
