"""100 malformed configurations: each ends, before anything is trained, with an error that says why.

The error names the owner of the setting, the value and what is allowed, in at most 24 lines of less
than 300 characters. All run in one process, one after the other: none may spoil the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

import alf
from alf.algorithms.config import TrainerConfig
from alf.bin import _program
from alf.bin._search import read_search
from benchmarks.torture.table import Row

MOST_LINES = 24
LONGEST_LINE = 299
KINDS = ("malformed conf file", "malformed command line", "malformed search file")

CONF = """
from functools import partial

import alf
import torch
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf_layered import (
    CEM, DADSLevel, DIAYNLevel, Goal, HierarchyAgent, ICEM, MPPI, OnPolicyOptions, PlannerLevel,
    RandomLevel, SacLevel, SkillOptions, SPlaTESLevel, TDMPC2Level, TrainingOptions, AlgorithmLevel,
    ActionSequenceLevel, ConstantLevel, MuzeroLevel, option, select, skill, subgoal,
)
from alf_layered.encoders import EncoderNet
from alf_layered.environments import gymnasium_loader, maze2d_alf
from alf_layered.planning.exploration import Exploration
from alf_layered.planning.objective import PlanObjective
from alf_layered.predictors.predictor_factory import get_default_predictor_factory
from alf_layered.skills.schedules import Ramp
from alf_layered.tdmpc2.settings import PlanningSettings, TDMPC2Settings, WorldModelSettings

alf.config("create_environment", env_name="Maze2D-UMaze-v0", env_load_fn=maze2d_alf.load,
           num_parallel_environments=2)
alf.config("HierarchyAgent", levels=[RandomLevel])
alf.config("TrainerConfig", algorithm_ctor=HierarchyAgent, num_iterations=3, unroll_length=2,
           mini_batch_length=2, whole_replay_buffer_training=False, clear_replay_buffer=False)


def levels(*levels, joints=(), **more):
    alf.config("HierarchyAgent", levels=list(levels), joints=list(joints), **more)
"""
"""What is right; a malformed conf file goes on with one wrong line."""


class Malformed(NamedTuple):
    """One malformed configuration.

    Attributes:
        kind: one of `KINDS`.
        text: the wrong line of the conf file, the wrong `--conf_param`, or the search file.
        names: what the error must say.
    """

    kind: str
    text: str
    names: tuple[str, ...]


def _setting(owner: str, name: str, value: str, *allowed: str) -> Malformed:
    """A wrong value of a configurable setting."""
    line = f"alf.config({owner!r}, {name}={value})"
    return Malformed(KINDS[0], line, (f"{owner}.{name} is ", "allowed: ", *allowed))


def _line(line: str, *names: str) -> Malformed:
    return Malformed(KINDS[0], line, names)


def _param(param: str, *names: str) -> Malformed:
    return Malformed(KINDS[1], param, names)


def _search(content: Any, *names: str) -> Malformed:
    text = content if isinstance(content, str) else json.dumps(content)
    return Malformed(KINDS[2], text, ("search.json", *names))


SETTINGS = (
    _setting("TrainerConfig", "num_iterations", "2.5", "2.5", "a whole number of at least 0"),
    _setting("TrainerConfig", "num_iterations", "-1", "-1", "at least 0"),
    _setting("TrainerConfig", "num_env_steps", "'many'", "'many'"),
    _setting("TrainerConfig", "unroll_length", "float('nan')", "nan"),
    _setting("TrainerConfig", "unroll_length", "-2", "-2", "at least 0"),
    _setting("TrainerConfig", "num_checkpoints", "1.5", "1.5"),
    _setting("TrainerConfig", "evaluate", "'False'", "'False'", "True or False"),
    _setting("TrainerConfig", "async_eval", "'no'", "'no'", "True or False"),
    _setting("TrainerConfig", "eval_interval", "0", "0", "at least 1"),
    _setting("TrainerConfig", "num_eval_episodes", "0", "0", "at least 1"),
    _setting("TrainerConfig", "epsilon_greedy", "1.5", "1.5", "in [0, 1]"),
    _setting("TrainerConfig", "mini_batch_size", "8.0", "8.0", "whole number"),
    _setting("TrainerConfig", "mini_batch_length", "0", "0", "at least 1"),
    _setting("TrainerConfig", "replay_buffer_length", "1e6", "1000000.0", "whole number"),
    _setting("TrainerConfig", "initial_collect_steps", "None", "None"),
    _setting("TrainerConfig", "num_updates_per_train_iter", "0.5", "0.5"),
    _setting("TrainerConfig", "priority_replay_alpha", "-0.5", "-0.5", "at least 0"),
    _setting("TrainerConfig", "priority_replay_beta", "'x'", "'x'"),
    _setting("TrainerConfig", "algorithm_ctor", "5", "5", "a function or class"),
    _setting("TrainerConfig", "data_transformer_ctor", "'FrameStacker'", "'FrameStacker'"),
    _setting("TrainerConfig", "random_seed", "'x'", "'x'"),
    _setting("TrainerConfig", "ml_type", "'xl'", "'xl'", "'rl', 'sl'"),
    _setting("TrainerConfig", "code_snapshots", "'train.py'", "'train.py'", "a list"),
    _setting("create_environment", "num_parallel_environments", "0", "0", "at least 1"),
    _setting("create_environment", "batch_size_per_env", "0", "0", "at least 1"),
    _setting("create_environment", "env_load_fn", "'maze2d_alf.load'", "a function or class"),
    _setting("SacAlgorithm", "target_update_tau", "7", "7", "in [0, 1]"),
    _setting("SacAlgorithm", "num_critic_replicas", "0", "0", "at least 1"),
    _setting("SacAlgorithm", "critic_network_cls", "[256, 256]", "[256, 256]"),
    _setting("TDLoss", "gamma", "1.01", "1.01", "in [0, 1]"),
    _setting("TDLoss", "td_lambda", "float('nan')", "nan", "in [0, 1]"),
    _setting("ActorNetwork", "fc_layer_params", "256", "256", "a list"),
    _setting("CriticNetwork", "joint_fc_layer_params", "(256, -1)", "(256, -1)"),
    _setting("Adam", "gradient_clipping", "0", "0", "above 0"),
    _setting("ReplayBuffer", "recent_data_ratio", "2", "2", "in [0, 1]"),
    _setting("EpsilonGreedySampler", "epsilon_greedy", "-0.1", "-0.1", "in [0, 1]"),
    _line("alf.config('TrainerConfig', num_iteration=3)", "num_iteration", "num_iterations"),
    _line("alf.config('TrainerConfg', num_iterations=3)", "TrainerConfg", "nearest names"),
    _line("alf.config('TrainerConfig', num_iterations=0)", "num_iterations=0", "num_env_steps=0"),
    _line("alf.config('TrainerConfig', unroll_length=0)", "unroll_length", "async_unroll"),
    _line("alf.config('TrainerConfig', eval_uncertainty=True)", "eval_uncertainty", "'sl'"),
    _line("alf.config(5)", "config()", "5"),
    _line("alf.import_config('nothing_conf.py')", "nothing_conf.py", "Looked for"),
    _line("Adam(lr=float('nan'))", "Adam.lr is nan", "allowed: "),
    _line("Adam(betas=(0.9, 1.0))", "Adam.betas is (0.9, 1.0)", "in [0, 1)"),
    _line("Adam(weight_decay=-1)", "Adam.weight_decay is -1", "at least 0"),
)

PLUGIN = (
    _line("levels(partial(AlgorithmLevel, gamma=1.5))", "AlgorithmLevel.gamma is 1.5", "(0, 1]"),
    _line("levels(partial(RandomLevel, control_interval=2.5))", "control_interval is 2.5"),
    _line("levels(partial(SacLevel, algorithm_ctor=5))", "algorithm_ctor", "is 5", "function"),
    _line("levels(partial(SacLevel, goal=0.3))", "goal of 'sac' is 0.3", "a Goal or None"),
    _line("levels(partial(SacLevel, training=256))", "training of 'sac' is 256", "TrainingOptions"),
    _line("levels(partial(SacLevel, random_warm_up='no'))", "random_warm_up of 'sac' is 'no'"),
    _line("TrainingOptions(updates_per_transition=float('nan'))", "updates_per_transition is nan"),
    _line("TrainingOptions(mini_batch_size=8.0)", "TrainingOptions.mini_batch_size is 8.0"),
    _line("TrainingOptions(warm_up=-1)", "TrainingOptions.warm_up is -1", "at least 0"),
    _line("TrainingOptions(replay_buffer_length=1)", "replay_buffer_length", "mini_batch_length"),
    _line("OnPolicyOptions(transitions=0)", "OnPolicyOptions.transitions is 0", "at least 1"),
    _line("Goal(radius=0)", "Goal.radius is 0", "above 0"),
    _line("Goal(radius=0.3, hindsight=2)", "Goal.hindsight is 2", "in [0, 1]"),
    _line("SkillOptions(after_skill='rest')", "SkillOptions.after_skill is 'rest'", "'average'"),
    _line("SkillOptions(clip_low=float('-inf'))", "SkillOptions.clip_low is -inf", "finite"),
    _line("SkillOptions(center=True, normalize=False)", "center=True", "normalize=True"),
    _line("Ramp(0.0, 1.0, 0, 0)", "Ramp.duration is 0", "at least 1"),
    _line("Exploration(switch_random_prob=-0.1)", "switch_random_prob is -0.1", "in [0, 1]"),
    _line("PlanObjective(use_value_func='x')", "PlanObjective.use_value_func is 'x'"),
    _line("ICEM(elite_ratio=0.0)", "ICEM.elite_ratio is 0.0", "in (0, 1]"),
    _line("ICEM(n_samples=5)", "n_samples", "elites", "at least 2"),
    _line("CEM(momentum=1.0)", "CEM.momentum is 1.0", "in [0, 1)"),
    _line("MPPI(min_std=2.0, max_std=1.0)", "max_std", "1.0", "at least min_std 2.0"),
    _line("levels(partial(PlannerLevel, horizon=0))", "PlannerLevel.horizon is 0", "at least 1"),
    _line("levels(partial(PlannerLevel, planner='cem'))", "PlannerLevel.planner is 'cem'"),
    _line("levels(partial(TDMPC2Level, settings='5M'))", "TDMPC2Level.settings is '5M'"),
    _line("TDMPC2Settings(tau=7)", "TDMPC2Settings.tau is 7", "in (0, 1]"),
    _line("TDMPC2Settings(lr=float('nan'))", "TDMPC2Settings.lr is nan", "above 0"),
    _line("WorldModelSettings(latent_dim=12)", "latent_dim", "12", "simnorm_dim"),
    _line("PlanningSettings(acts_by='luck')", "acts_by is 'luck'", "'plan', 'policy'"),
    _line("EncoderNet((3,), 2, -1)", "EncoderNet.context_dim is -1", "at least 0"),
    _line("get_default_predictor_factory(n_modes=0)", "n_modes is 0", "at least 1"),
    _line("alf.config('maze2d_alf.load', goal_radius=0)", "goal_radius is 0", "above 0"),
    _line("alf.config('maze2d_alf.load', action_noise=-1.0)", "action_noise is -1.0"),
    _line("alf.config('create_environment', env_name='Maze3D-v0')", "Maze3D-v0"),
    _line("levels()", "levels is empty"),
    _line("levels(RandomLevel, RandomLevel)", "0 joints for 2 levels"),
    _line("levels(RandomLevel, joints=[skill(2)])", "1 joints for 1 levels"),
    _line("levels(RandomLevel, joint_end='stop')", "joint_end is 'stop'", "bootstrap"),
    _line("levels(RandomLevel, SacLevel, joints=[subgoal('goal')])", "'goal'", "achieved_goal"),
    _line("levels(RandomLevel, observation_maps=[select('speed')])", "'speed'", "achieved_goal"),
    _line("levels(partial(ConstantLevel, action=[0.0, 7.0]))", "7.0", "-1.0", "1.0"),
)

COMMANDS = (
    _param("TrainerConfig.num_iterations=2.5", "num_iterations is 2.5", "conf_param"),
    _param("TrainerConfig.num_iterations=ten", "'ten'", "allowed: a literal"),
    _param("TrainerConfig.num_iterations", "not of the form NAME=VALUE"),
    _param("TrainerConfig.num_iterationz=3", "num_iterationz", "num_iterations"),
    _param("TrainerConfig.algorithm_ctor=__import__('os').getcwd", "no value", "code belongs"),
    _param("TrainerConfig.algorithm_ctor=torch.hub.load", "torch.hub.load", "code belongs"),
)

SEARCHES = (
    _search({"parameters": {"a": "__import__('os').getpid()"}}, "a is", "allowed: a list"),
    _search({"parameters": {"a": []}}, "a is []", "allowed: a list"),
    _search({"parameters": {"a": [1]}, "repeats": 1.5}, "repeats is 1.5", "whole number"),
    _search({"parameters": {"a": [1]}, "worker": 2}, "unknown fields ['worker']"),
    _search("{'parameters': 1", "no json"),
    _search([1], "[1]", "a dictionary"),
)

CASES = (*SETTINGS, *PLUGIN, *COMMANDS, *SEARCHES)


def message_of(case: Malformed, folder: Path) -> str:
    """What the program says of a malformed configuration; "" if it says nothing."""
    alf.close_env()
    alf.reset_configs()
    try:
        if case.kind == KINDS[2]:
            path = folder / "search.json"
            path.write_text(case.text, encoding="utf-8")
            read_search(str(path))
        else:
            _assemble(case, folder)
    except Exception as error:
        return _program.on_one_screen(f"error: {_program._message(error)}")
    finally:
        alf.close_env()
        alf.reset_configs()
    return ""


def _assemble(case: Malformed, folder: Path) -> None:
    """All that a training does before its first step."""
    conf = folder / "malformed_conf.py"
    is_line = case.kind == KINDS[0]
    conf.write_text(f"{CONF}\n{case.text if is_line else ''}\n", encoding="utf-8")
    alf.parse_config(str(conf), [] if is_line else [case.text])
    config = TrainerConfig(root_dir=str(folder))
    assert config.algorithm_ctor is not None
    env = alf.get_env()
    config.algorithm_ctor(
        observation_spec=env.observation_spec(),
        action_spec=env.action_spec(),
        reward_spec=env.reward_spec(),
        env=env,
        config=config,
        debug_summaries=False,
    )


def faults_of(case: Malformed, message: str) -> list[str]:
    """What is wrong with the message of a malformed configuration."""
    lines = message.splitlines()
    faults = [f"does not say {name!r}" for name in case.names if name not in message]
    if len(lines) > MOST_LINES:
        faults.append(f"has {len(lines)} lines")
    if lines and max(map(len, lines)) > LONGEST_LINE:
        faults.append(f"has a line of {max(map(len, lines))} characters")
    return faults


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    """One row for each kind; all 100 take seconds, so `short` leaves out none."""
    del short, seed
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        return [_row(kind, [c for c in CASES if c.kind == kind], folder) for kind in KINDS]
    finally:
        logging.set_verbosity(verbosity)


def _row(kind: str, cases: Sequence[Malformed], folder: Path) -> Row:
    faults = {case.text: faults_of(case, message_of(case, folder)) for case in cases}
    wrong = {text: found for text, found in faults.items() if found}
    # The corrected command goes on.
    survived = message_of(Malformed(KINDS[0], "", ()), folder) == ""
    notes = "; ".join(f"{text} {found[0]}" for text, found in wrong.items())
    noticed = len(cases) - len(wrong)
    return Row(kind, len(cases), noticed, len(cases) if survived else 0, len(wrong), notes)
