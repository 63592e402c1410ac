"""Reinforcement learning: the algorithms, read top to bottom."""
