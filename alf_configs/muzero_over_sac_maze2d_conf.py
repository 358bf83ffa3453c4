"""MuZero chooses subgoals by search, SAC reaches them: a U-maze with a sparse reward."""

from functools import partial

import alf
from alf.optimizers import AdamTF
from alf_configs.parts import muzero, reach_level, run_subgoals, sac, search, subgoal_level
from alf_configs.tasks.maze2d import sparse_umaze
from alf_layered import MuzeroLevel

gamma, decision_steps = 0.98, 10

sparse_umaze()

alf.config("SimplePredictionNet", initial_game_over_bias=-2.0)
mcts = search(num_simulations=24, value_min_max_delta=0.05)
learner = muzero(
    mcts,
    model={"num_sampled_actions": 16, "initial_alpha": 0.01},
    num_unroll_steps=3,
    td_steps=4,
    reanalyze_ratio=0.25,
    reanalyze_algorithm_ctor=partial(mcts, discount=gamma**decision_steps),
    reanalyze_td_steps=4,
    target_update_period=50,
    optimizer=AdamTF(lr=1e-3),
)

run_subgoals(
    subgoal_level(
        learner,
        partial(MuzeroLevel, gamma=gamma, decision_steps=decision_steps),
        updates_per_transition=0.5,
        mini_batch_length=1,
    ),
    reach_level(sac(gamma)),
)
