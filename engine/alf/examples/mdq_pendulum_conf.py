"""Multi-dimensional Q learning on Pendulum-v1: 11 bins of the torque."""

import alf
from alf.algorithms.mdq_algorithm import MdqAlgorithm
from alf.networks.mdq_critic_networks import MdqCriticNetwork
from alf.optimizers import Adam

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)

alf.config("ActionQuantizer", action_bins=11, rep_mode="boundary")
alf.config(
    "MdqCriticNetwork",
    obs_encoding_layer_params=(128,),
    mid_encoding_layer_params=(128,),
    free_form_fc_layer_params=(128, 128),
)
alf.config(
    "MdqAlgorithm",
    target_entropy=1.0,
    target_update_tau=0.005,
    critic_optimizer=Adam(lr=1e-3),
    alpha_optimizer=Adam(lr=1e-3),
)
alf.config("OneStepTDLoss", gamma=0.98)
alf.config("ReplayBuffer", enable_checkpoint=True)


def mdq(observation_spec, action_spec, **options):
    """Its critic is an object, made for the specs."""
    critic = MdqCriticNetwork((observation_spec, action_spec))
    return MdqAlgorithm(observation_spec, action_spec, critic, **options)


alf.config(
    "TrainerConfig",
    algorithm_ctor=mdq,
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
