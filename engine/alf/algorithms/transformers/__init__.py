"""Data transformers, one file for each kind."""
