"""QPolicy ROS: low-bit control policies, bit-exact, served over ROS 2."""

from __future__ import annotations

__version__ = "0.1.0"
