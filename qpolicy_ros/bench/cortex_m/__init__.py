"""Instructions that a policy takes on a Cortex-M, counted under QEMU."""
