"""Does a policy's contract fit? It is played; where it fails, the change that mends is sought."""
