"""Hybrid SAC: pretrained from the replay buffer that another run has left, then with its own."""

import alf

offline_dir = alf.define_config("offline_dir", "")
alf.import_config("sac_agent_pendulum_conf.py")
alf.config(
    "TrainerConfig",
    offline_buffer_dir=offline_dir,
    offline_buffer_length=100,
    rl_train_after_update_steps=2,
    rl_train_every_update_steps=2,
    mini_batch_size=8,
)
