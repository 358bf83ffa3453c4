"""SEditor on a bandit with a constraint: one policy is useful, another edits what breaks it."""

from functools import partial

import alf
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.seditor_algorithm import SEditorAlgorithm
from alf.examples.constrained_bandit import load
from alf.nest.utils import NestConcat
from alf.networks import CriticNetwork
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

alf.config(
    "create_environment",
    env_name="ConstrainedBandit",
    env_load_fn=load,
    num_parallel_environments=16,
)

alf.config("ActorDistributionNetwork", fc_layer_params=(32,))
alf.config("CriticNetwork", joint_fc_layer_params=(32,))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.5)
alf.config(
    "SEditorAlgorithm",
    critic_network_ctor=partial(CriticNetwork, action_preprocessing_combiner=NestConcat()),
    reward_weights=[1.0, 5.0],
    critic_loss_ctor=OneStepTDLoss,
    initial_alpha=0.1,
    target_entropy=-3.0,
    optimizer=Adam(lr=1e-2),
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=SEditorAlgorithm,
    num_iterations=300,
    unroll_length=8,
    initial_collect_steps=200,
    mini_batch_length=2,
    mini_batch_size=64,
    num_updates_per_train_iter=4,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=1000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=3,
    num_eval_episodes=64,
    num_eval_environments=64,
    async_eval=False,
    summary_interval=50,
    random_seed=0,
)
