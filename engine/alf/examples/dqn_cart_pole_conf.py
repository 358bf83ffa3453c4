"""Deep Q learning with two critics on CartPole-v1, one update for two environment steps."""

import alf
from alf.algorithms.dqn_algorithm import DqnAlgorithm
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler

alf.config("create_environment", env_name="CartPole-v1", num_parallel_environments=8)

alf.config("QNetwork", fc_layer_params=(128, 128))
alf.config(
    "DqnAlgorithm",
    q_optimizer=Adam(lr=1e-3),
    rollout_epsilon_greedy=LinearScheduler("percent", [(0, 1.0), (0.2, 0.05)]),
)
alf.config("SacAlgorithm", target_update_tau=0.01)
alf.config("OneStepTDLoss", gamma=0.99, td_error_loss_fn=alf.utils.losses.element_wise_huber_loss)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=DqnAlgorithm,
    num_iterations=2500,
    unroll_length=2,
    initial_collect_steps=1000,
    mini_batch_length=2,
    mini_batch_size=64,
    num_updates_per_train_iter=8,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=10_000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=200,
    random_seed=0,
)
