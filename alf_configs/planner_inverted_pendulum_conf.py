"""One level that plans over what it learns, on InvertedPendulum-v5: 24,000 environment steps.

Needs MuJoCo: pip install alf-layered[mujoco]
"""

from functools import partial

from alf.optimizers import Adam
from alf_configs.parts import flat_model, level, run_hierarchy
from alf_configs.tasks import task
from alf_layered import CEM, PlannerLevel, RewardPredictor
from alf_layered.environments.gymnasium_loader import load

task("InvertedPendulum-v5", steps=24_000, envs=6, load=load, evals=6, eval_episodes=20)

run_hierarchy(
    level(
        PlannerLevel,
        "planner",
        predictor_factory=flat_model(partial_predictor=partial(RewardPredictor, n_steps=3)),
        planner=CEM(n_samples=128, n_iterations=6, elite_ratio=0.05, momentum=0.5, clip=True),
        horizon=3,
        replay_buffer_length=4000,
        optimizer=Adam(lr=3e-4, gradient_clipping=20.0),
    ),
    unroll_length=1,
    num_checkpoints=2,
)
