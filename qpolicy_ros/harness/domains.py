"""ROS domains for nodes that shall meet nobody else's, held for as long as they are needed."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator

_DOMAINS = 101  # higher ones collide with the ephemeral ports of Linux
_PORT_BASE, _PORTS_PER_DOMAIN, _UNICAST = 7400, 250, (10, 12)  # DDS-RTPS 2.2, section 9.6.1.1
_GUARD = 249  # the domain's last port: its 120th participant's, which nobody has

_held = contextlib.ExitStack()


@contextlib.contextmanager
def reserved_domain() -> Iterator[int]:
    """Yield a ROS domain that nobody uses, held against everybody who reserves one this way.

    Held by a port, so whatever ends the process frees it. Where none is free, any one, not held.
    """
    candidates = sorted(range(1, _DOMAINS + 1), key=lambda _: secrets.randbits(32))
    for domain in candidates:
        guard = _bind(domain, _GUARD)
        if guard is None:
            continue
        with guard:
            if _is_free(domain):
                yield domain
                return
    yield candidates[0]


def use_free_domain() -> int:
    """Reserve a ROS domain for this process and its children; return it.

    It is held until the process ends or this is called again. Discovery is kept on this machine.
    """
    _held.close()
    domain = _held.enter_context(reserved_domain())
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.pop("ROS_LOCALHOST_ONLY", None)  # the older way to say so would win
    return domain


def _is_free(domain: int) -> bool:
    """Whether the ports of the domain's first participants are unused."""
    for offset in _UNICAST:
        probe = _bind(domain, offset)
        if probe is None:
            return False
        probe.close()
    return True


def _bind(domain: int, offset: int) -> socket.socket | None:
    """Take a port of ``domain``; None where somebody has it."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        taken.bind(("", _PORT_BASE + _PORTS_PER_DOMAIN * domain + offset))
    except OSError:
        taken.close()
        return None
    return taken
