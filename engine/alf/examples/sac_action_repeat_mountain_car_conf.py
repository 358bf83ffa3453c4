"""Soft actor-critic that chooses how often to repeat its action, on MountainCarContinuous-v0."""

import alf
from alf.algorithms.dynamic_action_repeat_agent import DynamicActionRepeatAgent
from alf.nest.utils import NestConcat
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

alf.config("create_environment", env_name="MountainCarContinuous-v0", num_parallel_environments=4)

alf.config("ActorDistributionNetwork", fc_layer_params=(128, 128))
alf.config("QNetwork", fc_layer_params=(128, 128), preprocessing_combiner=NestConcat())
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.99)
alf.config(
    "SacAlgorithm",
    target_update_tau=0.01,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
    alpha_optimizer=Adam(lr=1e-3),
)
alf.config("DynamicActionRepeatAgent", K=20, gamma=0.99)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=DynamicActionRepeatAgent,
    num_iterations=4000,
    unroll_length=5,
    initial_collect_steps=200,
    mini_batch_length=2,
    mini_batch_size=128,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=20_000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=200,
    random_seed=0,
)
