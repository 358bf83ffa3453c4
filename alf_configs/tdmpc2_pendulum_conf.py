"""TD-MPC2 on Pendulum-v1: 10,000 environment steps on a CPU, with a small model."""

from alf_configs.parts import run_hierarchy, tdmpc2_level
from alf_configs.tasks import task
from alf_layered.environments.gymnasium_loader import load

task("Pendulum-v1", steps=10_000, envs=4, load=load, evals=4, eval_episodes=40)

run_hierarchy(
    tdmpc2_level(
        terminates=False,
        gamma=0.975,  # the paper's rule for episodes of 200 steps
        updates_per_transition=1.0,
        replay_buffer_length=10_000,
    ),
    unroll_length=1,
    num_checkpoints=2,
)
