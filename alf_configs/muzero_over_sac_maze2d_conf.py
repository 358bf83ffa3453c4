"""MuZero chooses subgoals by search, SAC reaches them: a U-maze with a sparse reward."""

from functools import partial

import alf
from alf.algorithms.mcts_algorithm import MCTSAlgorithm, VisitSoftmaxTemperatureByProgress
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks.projection_networks import NormalProjectionNetwork
from alf.optimizers import Adam, AdamTF
from alf.utils.action_samplers import EpsilonGreedySampler
from alf.utils.math_ops import clipped_exp
from alf_layered import (
    AlgorithmLevel,
    Goal,
    HierarchyAgent,
    MuzeroLevel,
    TrainingOptions,
    select,
    subgoal,
)
from alf_layered.environments import maze2d_alf

# own transitions before a level's first update: --conf_param _CONFIG._USER.reach_warm_up=...
subgoals_warm_up = alf.define_config("subgoals_warm_up", 1000)
reach_warm_up = alf.define_config("reach_warm_up", 2000)

alf.config(
    "create_environment",
    env_name="Maze2D-UMaze-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config("maze2d_alf.load", dense_reward=False, terminate_at_goal=True)

alf.config("ActorDistributionNetwork", fc_layer_params=(128, 128))
alf.config("CriticNetwork", joint_fc_layer_params=(128, 128))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
gamma = 0.98
decision_steps = 10

alf.config("OneStepTDLoss", gamma=gamma)
alf.config("SacAlgorithm", target_update_tau=0.01)

alf.config("MCTSModel", apply_partial_trajectory_mask=True)
alf.config("SimpleMCTSModel", num_unroll_steps=3, num_sampled_actions=16, initial_alpha=0.01)
alf.config(
    "SimplePredictionNet",
    continuous_projection_net_ctor=NormalProjectionNetwork,
    initial_game_over_bias=-2.0,
)
mcts = partial(
    MCTSAlgorithm,
    num_simulations=24,
    root_dirichlet_alpha=0.5,
    root_exploration_fraction=0.25,
    pb_c_init=1.25,
    pb_c_base=19652,
    is_two_player_game=False,
    value_min_max_delta=0.05,
    visit_softmax_temperature_fn=VisitSoftmaxTemperatureByProgress([(0.5, 1.0), (1.0, 0.5)]),
    predict_action_sampler=EpsilonGreedySampler(0.0),
)
muzero = partial(
    MuzeroAlgorithm,
    mcts_algorithm_ctor=mcts,
    representation_learner_ctor=partial(
        MuzeroRepresentationImpl,
        model_ctor=SimpleMCTSModel,
        num_unroll_steps=3,
        td_steps=4,
        reanalyze_ratio=0.25,
        reanalyze_algorithm_ctor=partial(mcts, discount=gamma**decision_steps),
        reanalyze_td_steps=4,
        target_update_period=50,
        optimizer=AdamTF(lr=1e-3),
    ),
)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            MuzeroLevel,
            name="subgoals",
            algorithm_ctor=muzero,
            gamma=gamma,
            decision_steps=decision_steps,
            random_warm_up=True,
            training=TrainingOptions(
                updates_per_transition=0.5,
                warm_up=subgoals_warm_up,
                mini_batch_size=128,
                mini_batch_length=1,
                replay_buffer_length=2000,
            ),
        ),
        partial(
            AlgorithmLevel,
            name="reach",
            algorithm_ctor=partial(
                SacAlgorithm,
                actor_optimizer=Adam(lr=1e-3),
                critic_optimizer=Adam(lr=1e-3),
                alpha_optimizer=Adam(lr=1e-3),
            ),
            control_interval=15,
            goal=Goal(radius=0.3),
            random_warm_up=True,
            training=TrainingOptions(
                updates_per_transition=0.25, warm_up=reach_warm_up, replay_buffer_length=10_000
            ),
        ),
    ],
    joints=[subgoal("achieved_goal", minimum=1.0, maximum=4.0)],
    observation_maps=[select("observation", "desired_goal"), select("observation")],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=60_000,
    unroll_length=4,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=5,
    evaluate=True,
    num_evals=12,
    num_eval_episodes=100,
    num_eval_environments=20,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
