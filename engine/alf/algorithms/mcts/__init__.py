"""Monte-Carlo tree search: the tree, the search, and what acts by it."""
