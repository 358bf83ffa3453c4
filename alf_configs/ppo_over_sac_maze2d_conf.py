"""PPO chooses subgoals, SAC reaches them: a U-maze with a sparse reward."""

from functools import partial

import alf
from alf_configs.parts import ppo, reach_level, run_subgoals, sac
from alf_configs.tasks.maze2d import sparse_umaze
from alf_layered import AlgorithmLevel, OnPolicyOptions

# the upper level's transitions per round: --conf_param _CONFIG._USER.subgoals_round=...
subgoals_round = alf.define_config("subgoals_round", 256)

sparse_umaze()

run_subgoals(
    partial(
        AlgorithmLevel,
        name="subgoals",
        algorithm_ctor=ppo(gamma=0.98),
        training=OnPolicyOptions(transitions=subgoals_round, epochs=10, mini_batch_size=64),
    ),
    reach_level(sac(gamma=0.98)),
)
