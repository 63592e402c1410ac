"""Where the `qpolicy` command begins: Ctrl-C while it is still being imported ends it quietly."""

from __future__ import annotations

import importlib
import os
import signal

EXIT_INTERRUPTED = 130


def main() -> int:
    """Run `qpolicy`."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    command = importlib.import_module("qpolicy_ros.cli.main").main
    signal.signal(signal.SIGINT, before)
    status: int = command()
    return status
