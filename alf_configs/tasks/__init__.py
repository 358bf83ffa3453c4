"""Tasks: an environment, the steps that a run makes in it, and how the run is evaluated."""

from typing import Any

import alf


def task(
    env_name: str,
    *,
    steps: int,
    envs: int,
    load: Any = None,
    evals: int | None = 0,
    eval_episodes: int = 100,
    eval_envs: int = 20,
) -> None:
    """Trains in `envs` parallel environments; evaluations are spread evenly over the run.

    Args:
        env_name: of the environment.
        steps: of all environments together.
        envs: for training.
        load: ALF's `env_load_fn`; None: `suite_gym.load`.
        evals: 0 for none; None: by the run's own `eval_interval`.
        eval_episodes: of each evaluation.
        eval_envs: in which they are played.
    """
    loader = {} if load is None else {"env_load_fn": load}
    alf.config("create_environment", env_name=env_name, num_parallel_environments=envs, **loader)
    alf.config(
        "TrainerConfig",
        num_iterations=0,
        num_env_steps=steps,
        evaluate=evals != 0,
        async_eval=False,
        num_evals=evals or None,
        num_eval_episodes=eval_episodes,
        num_eval_environments=eval_envs,
    )
