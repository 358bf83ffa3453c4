"""MuZero on tic-tac-toe, playing against itself; evaluated against a player who moves at random."""

from functools import partial

import alf
from alf.algorithms.agent import Agent
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByMoves
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.environments import suite_tic_tac_toe
from alf.optimizers import AdamTF
from alf.utils.action_samplers import EpsilonGreedySampler

alf.config(
    "create_environment",
    env_name="TicTacToe",
    env_load_fn=suite_tic_tac_toe.load,
    eval_env_load_fn=partial(suite_tic_tac_toe.load, opponent="random"),
    num_parallel_environments=128,
)

alf.config("TicTacToeEnvironment", full_observation=True)
alf.config("SimplePredictionNet", initial_game_over_bias=-2.0)
alf.config("SimpleMCTSModel", num_unroll_steps=4)
alf.config("create_simple_encoding_net", layers=(256,), latent_size=128)
alf.config("create_simple_dynamics_net", layers=(256,))
alf.config("create_simple_prediction_net", layers=(256,))

alf.config(
    "MuzeroAlgorithm",
    discount=1.0,
    mcts_algorithm_ctor=partial(
        MCTSAlgorithm,
        num_simulations=25,
        root_dirichlet_alpha=0.5,
        root_exploration_fraction=0.25,
        pb_c_init=1.25,
        pb_c_base=19652,
        is_two_player_game=True,
        known_value_bounds=(-1.0, 1.0),
        # Varied to the end: the player must know positions that only a random opponent leads to.
        visit_softmax_temperature_fn=VisitSoftmaxTemperatureByMoves([(9, 1.0)]),
        predict_action_sampler=EpsilonGreedySampler(0.0),
    ),
    representation_learner_ctor=partial(
        MuzeroRepresentationImpl,
        model_ctor=SimpleMCTSModel,
        num_unroll_steps=4,
        td_steps=9,
    ),
)
alf.config("Agent", rl_algorithm_cls=MuzeroAlgorithm, optimizer=AdamTF(lr=1e-3))

alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    num_iterations=0,
    num_env_steps=120_000,
    unroll_length=4,
    mini_batch_length=1,
    mini_batch_size=256,
    num_updates_per_train_iter=32,
    initial_collect_steps=2000,
    replay_buffer_length=400,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=2,
    evaluate=True,
    num_evals=10,
    num_eval_episodes=200,
    num_eval_environments=100,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=20,
    random_seed=0,
)
