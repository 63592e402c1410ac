"""Selection of a policy's width and bits: `qpolicy select` (docs/selection.md)."""
