"""What the policy node is made of: loops, safety, modes, timing."""
