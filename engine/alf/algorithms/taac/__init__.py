"""Parts of temporally abstract actor-critic."""
