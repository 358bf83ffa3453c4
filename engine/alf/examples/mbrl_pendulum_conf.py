"""Model-based RL on Pendulum-v1: a learnt model of the dynamics, plans by the cross-entropy method.

The rewards of imagined steps are a formula (Chua et al. 2018, arXiv:1805.12114, do the same).
"""

from functools import partial

import torch

import alf
from alf.algorithms.dynamics_learning_algorithm import DeterministicDynamicsAlgorithm
from alf.algorithms.mbrl_algorithm import MbrlAlgorithm
from alf.algorithms.planning_algorithm import CEMPlanAlgorithm
from alf.algorithms.reward_learning_algorithm import FixedRewardFunction
from alf.optimizers import Adam

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)


def pendulum_reward(obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Pendulum-v1's reward of the state [N, 3] (cosine, sine, velocity) that is arrived at."""
    angle = torch.atan2(obs[:, 1], obs[:, 0])
    return -(angle**2 + 0.1 * obs[:, 2] ** 2 + 0.001 * action[:, 0] ** 2)


alf.config(
    "MbrlAlgorithm",
    dynamics_module_ctor=partial(DeterministicDynamicsAlgorithm, hidden_size=(100, 100)),
    reward_module=FixedRewardFunction(pendulum_reward),
    planner_module_ctor=CEMPlanAlgorithm,
    dynamics_optimizer=Adam(lr=1e-3),
)
alf.config(
    "CEMPlanAlgorithm",
    population_size=200,
    planning_horizon=20,
    elite_size=20,
    max_iter_num=4,
    scalar_var=2.0,
)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=MbrlAlgorithm,
    num_iterations=2000,
    unroll_length=1,
    initial_collect_steps=200,
    # The model learns from the state before a step, which the rollout has stored.
    use_rollout_state=True,
    mini_batch_length=1,
    mini_batch_size=256,
    num_updates_per_train_iter=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=20_000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=2,
    num_eval_episodes=10,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=200,
    random_seed=0,
)
