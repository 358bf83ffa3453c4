"""Behavior cloning on Pendulum-v1, from the newest steps of another run, without interaction.

Any run that leaves its replay buffer gives the data, as mbrl_pendulum_conf.py does:

    python -m alf.bin.train --conf mbrl_pendulum_conf.py --root_dir runs/expert
    python -m alf.bin.train --conf bc_pendulum_conf.py --root_dir runs/bc \
        --conf_param "TrainerConfig.offline_buffer_dir='runs/expert'"
"""

import alf
from alf.algorithms.bc_algorithm import BcAlgorithm
from alf.optimizers import Adam

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)

alf.config("ActorNetwork", fc_layer_params=(128, 128))
alf.config("BcAlgorithm", actor_optimizer=Adam(lr=1e-3))

alf.config(
    "TrainerConfig",
    algorithm_ctor=BcAlgorithm,
    num_iterations=3000,
    # Offline data alone, for ever.
    rl_train_after_update_steps=10**9,
    offline_buffer_length=1000,
    unroll_length=1,
    mini_batch_length=2,
    mini_batch_size=128,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=1000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=2,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=200,
    random_seed=0,
)
