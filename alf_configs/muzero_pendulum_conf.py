"""MuZero on Pendulum-v1: 8 torques are sampled from the policy at each state of the search."""

from functools import partial

import alf
from alf.algorithms.agent import Agent
from alf.optimizers import AdamTF
from alf_configs.parts import categorical_values, muzero, run, search
from alf_configs.tasks import task

task("Pendulum-v1", steps=30_000, envs=32, evals=6, eval_episodes=32, eval_envs=32)

# Values down to -540 are -23 after the transform, of -30 to 30.
categorical_values(num_quantiles=61, value_loss_weight=0.5)
timeless = {"train_game_over_function": False}  # an episode only ends by its time limit
learner = muzero(
    search(num_simulations=32, root_dirichlet_alpha=0.3),
    model={"num_sampled_actions": 8, "initial_alpha": 0.01, **timeless},
    num_unroll_steps=5,
    td_steps=5,
    **timeless,
)

# ALF keeps no records for a resume without `enable_checkpoint`, which the engine does. Its MuZero
# looks up where episodes end, and in sequences of one step the states that they were decided in.
alf.config("ReplayBuffer", enable_checkpoint=True, keep_episodic_info=True)

run(
    partial(Agent, rl_algorithm_cls=partial(learner, discount=0.97), optimizer=AdamTF(lr=1e-3)),
    mini_batch_length=1,
    use_rollout_state=True,
    mini_batch_size=128,
    num_updates_per_train_iter=32,
    initial_collect_steps=1000,
    # The newest 8,000 steps: targets bootstrap from the values of the searches stored with them.
    replay_buffer_length=250,
    num_checkpoints=2,
    summary_interval=50,
)
