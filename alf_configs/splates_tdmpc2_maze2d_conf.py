"""SPlaTES in the medium maze with skills by TD-MPC2, as the paper has them.

As `splates_maze2d_conf.py`, but the level below learns a world model and plans each step within a
skill. Its networks and its search are small, for a CPU.
"""

from functools import partial

import alf
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler
from alf_layered import (
    ICEM,
    MPPI,
    Exploration,
    HierarchyAgent,
    PlannerLevel,
    PlanningSettings,
    PlanObjective,
    SkillOptions,
    SkillTDMPC2Algorithm,
    SPlaTESLevel,
    TDMPC2Settings,
    TrainingOptions,
    get_default_predictor_factory,
    model_of_size,
    select,
    skill,
)
from alf_layered.environments import maze2d_alf

# own transitions before a level's first update: --conf_param _CONFIG._USER.skills_warm_up=...
planner_warm_up = alf.define_config("planner_warm_up", 1000)
skills_warm_up = alf.define_config("skills_warm_up", 2000)
made_up_start = alf.define_config("made_up_start", 30_000)
fixed_std = alf.define_config("fixed_std", 0.5)
# after how many environment steps the skills stay as they are, see splates_maze2d_conf.py
frozen_after = alf.define_config("frozen_after", 50_000)
# whether each step is planned; otherwise the policy prior decides, at a small part of the cost
plans_steps = alf.define_config("plans_steps", True)

alf.config(
    "create_environment",
    env_name="Maze2D-Medium-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config("maze2d_alf.load", dense_reward=True, terminate_at_goal=True)

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
            predictor_factory=get_default_predictor_factory(
                sb_start_duration=made_up_start, sb_start_factor=2.0, n_modes=1
            ),
            planner=ICEM(n_samples=128, n_iterations=5),
            horizon=16,
            # The model does not see the goal, so it cannot tell where episodes end.
            objective=PlanObjective(use_term_prob=False),
            exploration=Exploration(
                alternate_with_noise=True,
                switch_random_prob=0.1,
                switch_planner_prob=0.1,
                resample_random_action_prob=0.5,
            ),
            training=TrainingOptions(
                updates_per_transition=2.0, warm_up=planner_warm_up, replay_buffer_length=600
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
                SkillTDMPC2Algorithm,
                settings=TDMPC2Settings(
                    model=model_of_size("small", terminates=False),
                    planning=PlanningSettings(
                        acts_by="plan" if plans_steps else "policy",
                        mppi=MPPI(n_samples=64, n_iterations=3, elite_ratio=0.25),
                        n_policy_plans=16,
                    ),
                    lr=1e-3,
                ),
            ),
            control_interval=10,
            potential_diff_reward=True,
            potential_clipping_low=-10.0,
            freeze_after=frozen_after,
            options=SkillOptions(n_skill_samples=32, fixed_std=fixed_std, after_skill="nothing"),
            training=TrainingOptions(
                mini_batch_size=128,
                updates_per_transition=0.25,
                warm_up=skills_warm_up,
                replay_buffer_length=5_000,
            ),
        ),
    ],
    joints=[skill(2)],
    observation_maps=[select("achieved_goal", "desired_goal"), select("observation")],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=140_000,
    unroll_length=4,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=5,
    evaluate=True,
    num_evals=7,
    num_eval_episodes=100,
    num_eval_environments=50,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
