"""How an algorithm acts in an environment to learn from it."""
