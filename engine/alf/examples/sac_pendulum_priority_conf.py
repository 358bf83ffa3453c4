"""As sac_pendulum_conf.py, with prioritised replay (arXiv:1511.05952)."""

import alf

alf.import_config("sac_pendulum_conf.py")

alf.config("SacAlgorithm", calculate_priority=True)
alf.config(
    "TrainerConfig",
    priority_replay=True,
    priority_replay_alpha=0.7,
    priority_replay_beta=0.4,
    priority_replay_eps=1e-6,
)
