"""Figures, energy, pictures and lint of a generated core."""
