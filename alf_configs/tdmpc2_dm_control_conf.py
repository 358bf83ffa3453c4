"""TD-MPC2 at the paper's settings on a DeepMind Control task: 100,000 environment steps.

Another task: --conf_param "create_environment.env_name='cartpole-swingup'". An action holds for two
steps of the environment, so that ALF counts 50,000. Meant for a GPU.

Needs dm_control: pip install alf-layered[dm_control]
"""

from alf_configs.parts import level, run_hierarchy
from alf_configs.tasks import task
from alf_layered import TDMPC2Level, TDMPC2Settings, model_of_size
from alf_layered.environments.dm_control import load

task("walker-walk", steps=50_000, envs=1, load=load, evals=10, eval_episodes=10, eval_envs=10)

run_hierarchy(
    level(
        TDMPC2Level,
        "tdmpc2",
        settings=TDMPC2Settings(model=model_of_size("5M", terminates=False)),
        gamma=0.99,
        warm_up=2500,
        replay_buffer_length=1_000_000,
    ),
    unroll_length=1,
    summary_interval=500,
)
