"""The demo: shipped policies drive simulated robots over ROS 2, compared with offline play."""

from __future__ import annotations
