"""SPlaTES on MuJoCo's Ant: skills that run in different directions, learned without a task.

The planner chooses random skills and learns where they lead. It observes the position alone, the
skills everything but the position, so that they work anywhere.

Needs MuJoCo: pip install alf-layered[mujoco]
"""

from functools import partial

import alf
from alf_configs.parts import flat_model, random_skills, run_hierarchy, sac, skill_level
from alf_configs.tasks import task
from alf_layered import (
    ObservationMap,
    ProbabilisticEnsemble,
    ProbFCDynamics,
    SkillOptions,
    SPlaTESLevel,
    skill,
)
from alf_layered.environments import gymnasium_loader

# environment steps until which the planner expects made-up skills, as long as none are learned
made_up_start = alf.define_config("made_up_start", 160_000)

task("Ant-v5", steps=200_000, envs=8, load=gymnasium_loader.load)
alf.config(
    "gymnasium_loader.load",
    make_kwargs={
        "exclude_current_positions_from_observation": False,
        "include_cfrc_ext_in_observation": False,  # 78 contact forces, mostly 0
        "healthy_z_range": (0.3, 1.0),  # m; the torso of an ant on its back is mostly lower
        "max_episode_steps": 200,  # short, so that many skills begin upright
    },
)

model = flat_model(
    partial(
        ProbabilisticEnsemble,
        partial_net=partial(ProbFCDynamics, hidden=(64, 64), normalize_inputs=True),
        symmetry_breaking_start=True,
        sb_start_duration=made_up_start,
        sb_start_factor=2.0,
    )
)

run_hierarchy(
    random_skills(model, lr=3e-4, warm_up=256, replay_buffer_length=2000),
    skill_level(
        SPlaTESLevel,
        sac(hidden=(256, 256), lr=3e-4, target_update_tau=0.05, reproduce_locomotion=True),
        warm_up=5000,
        control_interval=25,
        potential_diff_reward=True,
        potential_clipping_low=-30.0,
        # A fall ends the episode: each step without one is worth something.
        options=SkillOptions(n_skill_samples=16, fixed_std=1.0, offset=0.2),
        updates_per_transition=1.0,
        mini_batch_size=128,
        replay_buffer_length=50_000,
    ),
    joints=[skill(2)],
    observation_maps=[
        ObservationMap(lambda seen: seen[..., :2]),
        ObservationMap(lambda seen: seen[..., 2:], -2),
    ],
)
