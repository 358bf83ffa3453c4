"""MuZero on Pendulum-v1: 8 torques are sampled from the policy at each state of the search."""

from functools import partial

import alf
from alf.algorithms.agent import Agent
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByProgress
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.networks.projection_networks import NormalProjectionNetwork
from alf.optimizers import AdamTF
from alf.utils.action_samplers import EpsilonGreedySampler
from alf.utils.losses import DiscreteRegressionLoss
from alf.utils.math_ops import Sqrt1pTransform, clipped_exp

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=32)

alf.config(
    "MCTSModel",
    value_loss=DiscreteRegressionLoss(transform=Sqrt1pTransform()),
    value_loss_weight=0.5,
    reward_loss=DiscreteRegressionLoss(transform=Sqrt1pTransform()),
    apply_partial_trajectory_mask=True,
)
# Values down to -540 are -23 after the transform, of -30 to 30
alf.config(
    "SimplePredictionNet", num_quantiles=61, continuous_projection_net_ctor=NormalProjectionNetwork
)
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config(
    "SimpleMCTSModel",
    num_unroll_steps=5,
    num_sampled_actions=8,
    initial_alpha=0.01,
    train_game_over_function=False,  # an episode only ends by its time limit
)

mcts = partial(
    MCTSAlgorithm,
    num_simulations=32,
    root_dirichlet_alpha=0.3,
    root_exploration_fraction=0.25,
    pb_c_init=1.25,
    pb_c_base=19652,
    is_two_player_game=False,
    value_min_max_delta=0.01,
    visit_softmax_temperature_fn=VisitSoftmaxTemperatureByProgress([(0.5, 1.0), (1.0, 0.5)]),
    predict_action_sampler=EpsilonGreedySampler(0.0),
)
alf.config(
    "MuzeroAlgorithm",
    discount=0.97,
    mcts_algorithm_ctor=mcts,
    representation_learner_ctor=partial(
        MuzeroRepresentationImpl,
        model_ctor=SimpleMCTSModel,
        num_unroll_steps=5,
        td_steps=5,
        train_game_over_function=False,
    ),
)
alf.config("Agent", rl_algorithm_cls=MuzeroAlgorithm, optimizer=AdamTF(lr=1e-3))

# ALF keeps no records for a resume without this; the engine does.
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    num_iterations=0,
    num_env_steps=30_000,
    unroll_length=4,
    mini_batch_length=1,
    mini_batch_size=128,
    num_updates_per_train_iter=32,
    initial_collect_steps=1000,
    # The newest 8,000 steps: targets bootstrap from the values of the searches stored with them.
    replay_buffer_length=250,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=2,
    evaluate=True,
    num_evals=6,
    num_eval_episodes=32,
    num_eval_environments=32,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=50,
    random_seed=0,
)
