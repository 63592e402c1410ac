"""Whether a compiled module was built from the sources that lie beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


def is_built_from(module: ModuleType, sources: Iterable[Path]) -> bool:
    """Whether the module's ``source``, which setup.py's ``digest`` gave it, is that of these."""
    content = b"".join(path.read_bytes() for path in sorted(sources))
    return bool(hashlib.sha256(content).hexdigest() == getattr(module, "source", ""))
