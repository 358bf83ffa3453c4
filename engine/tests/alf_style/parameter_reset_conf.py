"""SAC that updates often and begins its networks anew every two training iterations."""

import alf

alf.import_config("sac_agent_pendulum_conf.py")
alf.config("SacAlgorithm", parameter_reset_period=2, use_entropy_reward=True)
alf.config("TrainerConfig", num_updates_per_train_iter=4)
