"""One colour a backend, in the plot and in the film; plots written whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from qpolicy_ros.common.files import write_atomically

_KNOWN = {"integer": "#0072b2", "fp32": "#d55e00", "fpga": "#009e73"}  # Okabe and Ito's palette
_OTHER = "#666666"


def colour(backend: str) -> str:
    """Return the colour of a backend, as ``#rrggbb``."""
    return _KNOWN.get(backend, _OTHER)


def save_png(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as PNG.

    Raises:
        InputError: the file cannot be written.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150)
    write_atomically(path, stream.getvalue())
