"""A certificate that torch, software and hardware compute the same bits for one policy."""
