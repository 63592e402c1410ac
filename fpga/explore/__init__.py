"""What a form costs, and which one is chosen."""
