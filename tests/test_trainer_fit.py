"""Settings of the trainer without effect on a hierarchy, and what no run can reach, are said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import (
    DataTransformer,
    FrameStacker,
    HindsightExperienceTransformer,
    ObservationNormalizer,
    RewardClipping,
    RewardNormalizer,
    create_data_transformer,
)
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import Experience
from alf.environments.suite_unittest import ActionType, PolicyUnittestEnv
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.optimizers import Adam
from alf.utils.normalizers import ScalarAdaptiveNormalizer
from alf_layered import (
    AlgorithmLevel,
    Goal,
    HierarchyAgent,
    OnPolicyOptions,
    RandomLevel,
    SacLevel,
    TDMPC2Level,
    TDMPC2Settings,
    TrainingOptions,
    model_of_size,
    select,
    subgoal,
)
from alf_layered.environments import maze2d_alf
from alf_layered.hierarchy.trainer_fit import check_config
from tests.small_learners import ppo

SMALL = TDMPC2Settings(model=model_of_size("small"))
# Without a normalizer it asks for the reward of the configured environment.
REWARD_NORMALIZER = partial(RewardNormalizer, normalizer=ScalarAdaptiveNormalizer())


class Doubled(DataTransformer):
    """One that acts when data are sampled, as third parties may write them."""

    def __init__(self, observation_spec: Any) -> None:
        super().__init__(observation_spec, ())

    def transform_timestep(self, timestep: Any, state: Any) -> Any:
        return timestep, state

    def transform_experience(self, experience: Experience) -> Experience:
        return experience


class Impatient(RandomLevel):
    """Returns control by a rule of its own."""

    def returns_control(self, step: Any, decisions: torch.Tensor) -> torch.Tensor:
        return decisions >= 2


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    alf.close_env()
    alf.reset_configs()


def _config(transformers: Any = None, **settings: Any) -> TrainerConfig:
    config = TrainerConfig(root_dir="", **settings)
    if transformers is not None:
        env = maze2d_alf.load("Maze2D-UMaze-v0", batch_size=2)
        config.data_transformer = create_data_transformer(transformers, env.observation_spec())
    return config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mini_batch_size", 32),
        ("replay_buffer_length", 500),
        ("initial_collect_steps", 100),
        ("num_updates_per_train_iter", 2),
        ("unroll_with_grad", True),
        ("priority_replay", True),
        ("rl_train_every_update_steps", 2),
    ],
)
def test_a_setting_without_effect_is_refused_with_what_has_one(name: str, value: Any) -> None:
    config = _config(whole_replay_buffer_training=False, mini_batch_length=2, **{name: value})
    with pytest.raises(ValueError, match=rf"{name}={value!r} has no effect on a hierarchy") as e:
        check_config(config)
    assert "allowed: " in str(e.value)
    assert len(str(e.value)) < 300


def test_alfs_defaults_and_what_alf_wants_of_off_policy_learners_are_fine() -> None:
    check_config(None)
    check_config(_config())
    check_config(
        _config(whole_replay_buffer_training=False, clear_replay_buffer=False, mini_batch_length=2)
    )


@pytest.mark.parametrize(
    ("ctor", "words"),
    [
        (HindsightExperienceTransformer, r"Hindsight.* give a level Goal\(hindsight=0\.8\)"),
        (REWARD_NORMALIZER, r"RewardNormalizer\(update_mode='replay'\) would never learn"),
        (
            partial(ObservationNormalizer, fields=["observation"]),
            "ObservationNormalizer.*'rollout'",
        ),
        (Doubled, r"Doubled\.transform_experience\(\) would never be called"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_transformers_that_act_on_samples_are_refused_by_name(
    ctor: Any, words: str, many: bool
) -> None:
    with pytest.raises(ValueError, match=words) as e:
        check_config(_config([ctor, RewardClipping] if many else ctor))
    assert len(str(e.value)) < 300


def test_transformers_of_time_steps_are_fine() -> None:
    check_config(
        _config(
            [
                partial(FrameStacker, fields=["observation"]),
                RewardClipping,
                partial(REWARD_NORMALIZER, update_mode="rollout"),
                partial(ObservationNormalizer, fields=["desired_goal"], update_mode="rollout"),
            ]
        )
    )


def _agent(training: TrainingOptions, num_envs: int = 4, **settings: Any) -> HierarchyAgent:
    env = maze2d_alf.load("Maze2D-UMaze-v0", batch_size=num_envs)
    sac = partial(
        SacAlgorithm,
        actor_network_cls=partial(ActorDistributionNetwork, fc_layer_params=(8,)),
        critic_network_cls=partial(CriticNetwork, joint_fc_layer_params=(8,)),
        actor_optimizer=Adam(lr=1e-3),
        critic_optimizer=Adam(lr=1e-3),
        alpha_optimizer=Adam(lr=1e-3),
    )
    return HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=[partial(AlgorithmLevel, name="sac", algorithm_ctor=sac, training=training)],
        observation_maps=[select("observation")],
        env=env,
        config=TrainerConfig(root_dir="", **settings),
    )


def test_a_hierarchy_trains_without_settings_of_replay_buffers() -> None:
    torch.manual_seed(0)
    agent = _agent(TrainingOptions(mini_batch_size=8, warm_up=8, replay_buffer_length=50))
    steps = [agent.train_iter() for _ in range(3)]
    assert steps[-1] > 0


def test_a_batch_that_never_fits_is_an_error_at_the_start() -> None:
    options = TrainingOptions(mini_batch_size=128, replay_buffer_length=8)
    with pytest.raises(
        ValueError, match=r"'sac': mini_batch_size=128.*never has more than 28 spans"
    ):
        _agent(options)


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        ({"warm_up": 500, "replay_buffer_length": 20}, {}, "warm_up=500 transitions do not fit"),
        ({"warm_up": 100}, {"num_iterations": 3}, "no update in this run: warm_up=100.*96 env"),
        (
            {"warm_up": 0, "updates_per_transition": 0.01},
            {"num_iterations": 3},
            "no update in this run: it makes one in 100 transitions.*96 env",
        ),
        (
            {"warm_up": 7},
            {},
            "'sac': its first batches of mini_batch_size=8.*a warm_up of 8 avoids",
        ),
        ({"warm_up": 0}, {"priority_replay_beta": 0.9}, "priority_replay_beta has no effect"),
        (
            {"warm_up": 0},
            {"normalize_importance_weights_by_max": True},
            "normalize_importance_weights_by_max has no effect",
        ),
        ({"warm_up": 0}, {"mini_batch_length": 5}, r"mini_batch_length=5 has no .*here 2 \(sac\)"),
    ],
)
def test_what_a_run_does_not_reach_is_said(
    options: dict[str, Any], settings: dict[str, Any], words: str, caplog: Any
) -> None:
    _agent(TrainingOptions(mini_batch_size=8, **options), **settings)
    said = [bool(re.search(words, record.getMessage())) for record in caplog.records]
    assert sum(said) == 1


def test_nothing_is_said_of_a_first_batch_that_is_filled(caplog: Any) -> None:
    _agent(TrainingOptions(mini_batch_size=8, warm_up=8))
    assert "first batches" not in caplog.text


def test_a_round_that_no_run_fills_is_said(caplog: Any) -> None:
    env = PolicyUnittestEnv(4, 6, action_type=ActionType.Discrete)
    for transitions in (33, 32):
        caplog.clear()
        training = OnPolicyOptions(transitions=transitions)
        HierarchyAgent(
            env.observation_spec(),
            env.action_spec(),
            levels=[partial(AlgorithmLevel, algorithm_ctor=ppo(), training=training)],
            env=env,
            config=TrainerConfig(root_dir="", unroll_length=8, num_iterations=1),
        )
        assert ("one in 33 transitions, and the run has 32" in caplog.text) == (transitions == 33)


@pytest.mark.parametrize("length", [None, 2])
def test_nothing_is_said_of_a_length_that_the_levels_use(length: int | None, caplog: Any) -> None:
    _agent(TrainingOptions(mini_batch_size=8, warm_up=0), mini_batch_length=length)
    assert "mini_batch_length" not in caplog.text


@pytest.mark.parametrize(
    ("kind", "options", "once"),
    [
        (SacLevel, {}, True),
        (SacLevel, {"goal": Goal(radius=0.1, returns_control=False)}, True),
        (SacLevel, {"goal": Goal(radius=0.1)}, False),
        (SacLevel, {"control_interval": 5}, False),
        (TDMPC2Level, {"settings": SMALL}, True),
        (TDMPC2Level, {"settings": SMALL, "goal": Goal(radius=0.1)}, False),
        (RandomLevel, {}, True),
        (Impatient, {}, False),
    ],
)
def test_a_level_that_would_decide_once_an_episode_is_named(
    kind: Any, options: dict[str, Any], once: bool, caplog: Any
) -> None:
    if kind is not RandomLevel and kind is not Impatient:
        options = {"training": TrainingOptions(mini_batch_size=8, warm_up=0), **options}
    env = maze2d_alf.load("Maze2D-UMaze-v0", batch_size=2)
    position = select("achieved_goal")
    HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=[partial(RandomLevel, name="top"), partial(kind, name="low", **options)],
        joints=[subgoal("achieved_goal", minimum=-1.0, maximum=1.0)],
        observation_maps=[position, position],
        env=env,
        config=_config(num_iterations=3),
    )
    env.close()
    assert caplog.text.count("level 'top' decides once an episode: level 'low' below it") == once
