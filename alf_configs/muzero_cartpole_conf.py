"""MuZero on CartPole-v1: both actions are searched."""

from functools import partial

import alf
from alf.algorithms.agent import Agent
from alf.optimizers import AdamTF
from alf_configs.parts import categorical_values, muzero, run, search
from alf_configs.tasks import task

task("CartPole-v1", steps=9_000, envs=8, evals=6, eval_episodes=20)

categorical_values(num_quantiles=31, value_loss_weight=0.25)
alf.config("SimplePredictionNet", initial_game_over_bias=-3.0)
learner = muzero(search(25, last_temperature=0.25), model={}, num_unroll_steps=5, td_steps=10)

# ALF keeps no records for a resume without `enable_checkpoint`, which the engine does. Its MuZero
# looks up where episodes end, and in sequences of one step the states that they were decided in.
alf.config("ReplayBuffer", enable_checkpoint=True, keep_episodic_info=True)

run(
    partial(Agent, rl_algorithm_cls=partial(learner, discount=0.99), optimizer=AdamTF(lr=2e-3)),
    unroll_length=8,
    mini_batch_length=1,
    use_rollout_state=True,
    mini_batch_size=128,
    num_updates_per_train_iter=8,
    initial_collect_steps=1000,
    replay_buffer_length=5000,
    num_checkpoints=2,
    summary_interval=50,
)
