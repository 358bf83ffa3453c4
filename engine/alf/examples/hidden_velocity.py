"""Pendulum-v1 whose observation does not tell the velocity: it takes a memory to swing it up."""

import gymnasium
import numpy as np


def hide_velocity(env: gymnasium.Env) -> gymnasium.Env:
    """`env` with the last number of its observation left out."""
    space = env.observation_space
    seen = gymnasium.spaces.Box(space.low[:-1], space.high[:-1], dtype=np.float32)
    return gymnasium.wrappers.TransformObservation(env, lambda observation: observation[:-1], seen)
