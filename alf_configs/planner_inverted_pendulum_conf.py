"""One level that plans over what it learns, on InvertedPendulum-v5: 24,000 environment steps.

Needs MuJoCo: pip install alf-layered[mujoco]
"""

from functools import partial

import alf
from alf.optimizers import Adam
from alf_layered import (
    CEM,
    HierarchyAgent,
    IdentityEncoder,
    PlannerLevel,
    PlanObjective,
    PredictorFactory,
    ProbabilisticEnsemble,
    RewardNet,
    RewardPredictor,
    TrainingOptions,
    ValueNet,
)
from alf_layered.environments import gymnasium_loader

alf.config(
    "create_environment",
    env_name="InvertedPendulum-v5",
    env_load_fn=gymnasium_loader.load,
    num_parallel_environments=6,
)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            PlannerLevel,
            name="planner",
            predictor_factory=PredictorFactory(
                partial_model=ProbabilisticEnsemble,
                partial_val_func=ValueNet,
                partial_rew_func=RewardNet,
                partial_encoder=IdentityEncoder,
                partial_predictor=partial(RewardPredictor, n_steps=3),
            ),
            planner=CEM(n_samples=128, n_iterations=6, elite_ratio=0.05, momentum=0.5, clip=True),
            horizon=3,
            objective=PlanObjective(),
            training=TrainingOptions(
                updates_per_transition=1.0, warm_up=1000, replay_buffer_length=4000
            ),
            optimizer=Adam(lr=3e-4, gradient_clipping=20.0),
        )
    ],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=24_000,
    unroll_length=1,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=2,
    evaluate=True,
    num_evals=6,
    num_eval_episodes=20,
    num_eval_environments=20,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
