"""TD-MPC2 at the paper's settings on a DeepMind Control task: 100,000 environment steps.

Another task: --conf_param "create_environment.env_name='cartpole-swingup'". An action holds for two
steps of the environment, so that ALF counts 50,000. Meant for a GPU.

Needs dm_control: pip install alf-layered[dm_control]
"""

from functools import partial

import alf
from alf_layered import HierarchyAgent, TDMPC2Level, TDMPC2Settings, TrainingOptions, model_of_size
from alf_layered.environments import dm_control

alf.config(
    "create_environment",
    env_name="walker-walk",
    env_load_fn=dm_control.load,
    num_parallel_environments=1,
)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            TDMPC2Level,
            name="tdmpc2",
            settings=TDMPC2Settings(model=model_of_size("5M", terminates=False)),
            gamma=0.99,
            training=TrainingOptions(warm_up=2500, replay_buffer_length=1_000_000),
        )
    ],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=50_000,
    unroll_length=1,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=5,
    evaluate=True,
    num_evals=10,
    num_eval_episodes=10,
    num_eval_environments=10,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=500,
    random_seed=0,
)
