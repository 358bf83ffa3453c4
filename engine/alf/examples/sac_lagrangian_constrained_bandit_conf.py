"""Soft actor-critic on a bandit with a constraint, whose weight is learned: a Lagrange multiplier.

The weight of the constraint grows as long as its mean is below the threshold.
"""

from functools import partial

import alf
from alf.algorithms.agent import Agent
from alf.algorithms.lagrangian_reward_weight_algorithm import LagrangianRewardWeightAlgorithm
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam

alf.import_config("seditor_constrained_bandit_conf.py")

alf.config("SacAlgorithm", reward_weights=[0.5, 0.5], initial_log_alpha=-3.0, target_entropy=-2.0)
alf.config(
    "Agent",
    rl_algorithm_cls=SacAlgorithm,
    reward_weight_algorithm_cls=partial(
        LagrangianRewardWeightAlgorithm,
        reward_thresholds=[None, -0.03],
        optimizer=Adam(lr=3e-2),
    ),
    optimizer=Adam(lr=1e-2),
)
alf.config("TrainerConfig", algorithm_ctor=Agent, num_iterations=500)
