"""An algorithm that only plays: made from the configuration, without an environment of its own."""

from __future__ import annotations

from typing import Any

from alf._global_env import set_transformed_observation_spec
from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import create_data_transformer
from alf.environments.alf_environment import AlfEnvironment


def create_player(trainer_config: TrainerConfig, env: AlfEnvironment) -> Any:
    """The configured algorithm, made for predicting only."""
    if trainer_config.algorithm_ctor is None:
        raise ValueError("TrainerConfig.algorithm_ctor is None: it has to be the algorithm")
    raw_spec = env.observation_spec()
    transformer = create_data_transformer(trainer_config.data_transformer_ctor, raw_spec)
    trainer_config.data_transformer = transformer
    set_transformed_observation_spec(transformer.transformed_observation_spec)
    algorithm = trainer_config.algorithm_ctor(
        observation_spec=transformer.transformed_observation_spec,
        action_spec=env.action_spec(),
        reward_spec=env.reward_spec(),
        config=trainer_config,
    )
    algorithm.set_path("")
    algorithm.eval()
    return algorithm
