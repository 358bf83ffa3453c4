"""TD-MPC2 on InvertedPendulum-v5: 18,000 environment steps on a CPU, with a small model.

Needs MuJoCo: pip install alf-layered[mujoco]
"""

from alf_configs.parts import run_hierarchy, tdmpc2_level
from alf_configs.tasks import task
from alf_layered.environments.gymnasium_loader import load

task(
    "InvertedPendulum-v5", steps=18_000, envs=4, load=load, evals=4, eval_episodes=10, eval_envs=10
)

run_hierarchy(tdmpc2_level(replay_buffer_length=5000), unroll_length=2, num_checkpoints=2)
