"""What a layer computes in hardware, in which form, on which device."""
