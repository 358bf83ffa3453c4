"""Environments: what ALF expects of one, gymnasium's as such, wrappers, ways to batch them."""
