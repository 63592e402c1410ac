"""A run's folder: checkpoints, curves, seeds, snapshots, provenance."""
