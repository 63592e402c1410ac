"""Run the nodes as processes, watch them and play episodes: for demo, bench, verify and tests."""
