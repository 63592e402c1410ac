"""Other people's policies and contracts, read without running anything in them."""
