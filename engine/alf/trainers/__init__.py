"""Trainers: what runs an algorithm from the first iteration to the last."""
