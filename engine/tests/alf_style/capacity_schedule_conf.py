"""SAC whose networks grow: optimizers train a part of the parameters that widens by schedule."""

import alf
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler

alf.import_config("sac_agent_pendulum_conf.py")
ratio = LinearScheduler(progress_type="iterations", schedule=[(0, 0.1), (10, 1.0)])
alf.config(
    "SacAlgorithm",
    actor_optimizer=Adam(lr=1e-3, capacity_ratio=ratio, min_capacity=64, masked_out_value=0.0),
    critic_optimizer=Adam(lr=1e-3, capacity_ratio=ratio, min_capacity=64, masked_out_value=0.0),
)
