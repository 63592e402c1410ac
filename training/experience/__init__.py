"""What an actor meets: the task, its observation statistics, the replay buffer."""
