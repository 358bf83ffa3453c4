"""The main run in small, for tests: every mechanism of it, in seconds."""

import alf

alf.import_config("../alf_configs/sac_over_sac_maze2d_conf.py")

alf.config("ActorDistributionNetwork", fc_layer_params=(16,))
alf.config("CriticNetwork", joint_fc_layer_params=(16,))
alf.config("create_environment", num_parallel_environments=4)
alf.config(
    "TrainerConfig",
    num_env_steps=600,
    num_checkpoints=3,
    num_evals=1,
    num_eval_episodes=2,
    num_eval_environments=2,
)
