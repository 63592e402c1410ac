"""One colour a backend, in the plot and in the film."""

from __future__ import annotations

_KNOWN = {"integer": "#0072b2", "fp32": "#d55e00", "fpga": "#009e73"}  # Okabe and Ito's palette
_OTHER = "#666666"


def colour(backend: str) -> str:
    """Return the colour of a backend, as ``#rrggbb``."""
    return _KNOWN.get(backend, _OTHER)
