"""Benchmarks: our backends and nodes against their peers, interleaved in one run."""

from __future__ import annotations
