"""How a recording becomes a bag that is complete while it grows."""
