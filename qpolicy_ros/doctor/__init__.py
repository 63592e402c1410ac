"""Does a policy's contract fit? It is played in simulation; where it fails, one change is sought."""
