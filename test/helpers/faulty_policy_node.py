"""``policy_node`` with an integer backend that fails as the file ``$FAULT`` says, once it exists.

``raise``: it raises, as a driver does that nobody foresaw. ``hang``: it does not come back as long
as the file is there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from qpolicy_ros.backends.integer import IntegerBackend
from qpolicy_ros.nodes import policy_node

_FAULT = Path(os.environ["FAULT"])
_act = IntegerBackend.act


def _faulty(self, observation):
    if _FAULT.exists():
        if _FAULT.read_text() == "raise":
            raise OSError("the bus is gone")
        while _FAULT.exists():
            time.sleep(0.001)
    return _act(self, observation)


if __name__ == "__main__":
    IntegerBackend.act = _faulty
    policy_node.main()
