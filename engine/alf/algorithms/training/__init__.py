"""How an algorithm learns from a replay buffer, and how its parameters get to optimizers."""
