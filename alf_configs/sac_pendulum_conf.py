"""One level, SAC, on Pendulum-v1: 20,000 environment steps, one update after each.

The settings are those of rl-baselines3-zoo for this task.
"""

from alf_configs.parts import level, run_hierarchy, sac
from alf_configs.tasks import task
from alf_layered import AlgorithmLevel

task("Pendulum-v1", steps=20_000, envs=1, evals=10, eval_envs=50)

learner = sac(hidden=(256, 256), target_entropy=-1.0, target_update_tau=0.005)

run_hierarchy(
    level(AlgorithmLevel, "sac", algorithm_ctor=learner, warm_up=256, replay_buffer_length=25_000),
    unroll_length=1,
    num_checkpoints=2,
    summary_interval=200,
)
