"""The quantised actor, from torch to integers, and the proof that both are equal."""
