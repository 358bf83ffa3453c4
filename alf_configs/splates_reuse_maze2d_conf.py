"""Plans with skills that `splates_pretrain_maze2d_conf.py` learned in another maze; they stay as
they are, and the planner learns what they do here.

    python -m alf.bin.train --root_dir runs/pretrain \\
        --conf alf_configs/splates_pretrain_maze2d_conf.py
    python -m alf.bin.train --root_dir runs/reuse --conf alf_configs/splates_reuse_maze2d_conf.py \\
        --conf_param _CONFIG._USER.skills="'runs/pretrain'"
"""

from functools import partial

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf.utils.schedulers import LinearScheduler
from alf_layered import (
    ICEM,
    Exploration,
    HierarchyAgent,
    ObservationMap,
    PlannerLevel,
    PlanObjective,
    SPlaTESLevel,
    TrainingOptions,
    get_default_predictor_factory,
    newest_checkpoint,
    select,
    skill,
)
from alf_layered.environments import maze2d_alf

# own transitions before the planner's first update
planner_warm_up = alf.define_config("planner_warm_up", 1000)
# the root_dir of the run that learned the skills, or one of its checkpoints
skills = alf.define_config("skills", "runs/pretrain")

alf.config(
    "create_environment",
    env_name="Maze2D-UMaze-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config("maze2d_alf.load", dense_reward=True, terminate_at_goal=True)

alf.config("ActorDistributionNetwork", fc_layer_params=(128, 128))
alf.config("CriticNetwork", joint_fc_layer_params=(128, 128))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.99)
alf.config("SacAlgorithm", target_update_tau=0.01)

# Positions are numbers from 0 to 8.
alf.config("ProbFCDynamics", normalize_inputs=True, hidden=(128, 128, 128))
# The likelihood alone takes the edges of walls for noise, and plans lead through them.
alf.config("ProbabilisticEnsemble", beta_nll=0.5)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            PlannerLevel,
            name="planner",
            predictor_factory=get_default_predictor_factory(sb_start_duration=0, n_modes=1),
            planner=ICEM(n_samples=128, n_iterations=5),
            horizon=12,
            # The model does not see the goal, so it cannot tell where episodes end.
            objective=PlanObjective(use_term_prob=False),
            exploration=Exploration(
                alternate_with_noise=True,
                switch_random_prob=0.1,
                switch_planner_prob=0.1,
                resample_random_action_prob=0.5,
            ),
            training=TrainingOptions(
                updates_per_transition=2.0, warm_up=planner_warm_up, replay_buffer_length=400
            ),
            optimizer=Adam(
                lr=LinearScheduler("percent", [(0, 2e-3), (0.4, 2e-3), (1.0, 2e-4)]),
                gradient_clipping=20.0,
            ),
        ),
        partial(
            SPlaTESLevel,
            name="skills",
            algorithm_ctor=partial(
                SacAlgorithm,
                actor_optimizer=Adam(lr=1e-3),
                critic_optimizer=Adam(lr=1e-3),
                alpha_optimizer=Adam(lr=1e-3),
            ),
            control_interval=10,
            checkpoint=f"alg.level_1_skills@{newest_checkpoint(skills)}",
            freeze_after=0,
            training=TrainingOptions(replay_buffer_length=2),
        ),
    ],
    joints=[skill(2)],
    observation_maps=[
        select("achieved_goal", "desired_goal"),
        # Where in a cell, but not in which: the same in every maze.
        ObservationMap(lambda seen: seen["observation"] % 1.0),
    ],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=40_000,
    unroll_length=4,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=5,
    evaluate=True,
    num_evals=8,
    num_eval_episodes=100,
    num_eval_environments=50,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
