"""Deep deterministic policy gradient with two critics on Pendulum-v1, one update for each step."""

import alf
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.optimizers import Adam

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)

alf.config("ActorNetwork", fc_layer_params=(128, 128))
alf.config("CriticNetwork", joint_fc_layer_params=(128, 128))
alf.config(
    "DdpgAlgorithm",
    num_critic_replicas=2,
    target_update_tau=0.005,
    rollout_random_action=0.05,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
)
alf.config("OneStepTDLoss", gamma=0.98)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=DdpgAlgorithm,
    num_iterations=10_000,
    unroll_length=1,
    initial_collect_steps=500,
    mini_batch_length=2,
    mini_batch_size=128,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=20_000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=200,
    random_seed=0,
)
