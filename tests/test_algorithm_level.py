"""An ALF algorithm as a level: the same algorithm, on the level's semi-MDP."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import TimeStep
from alf.networks import ActorDistributionNetwork, CriticNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf_layered import AlgorithmLevel, HierarchyAgent, LevelObservation, TrainingOptions, option
from alf_layered.networks.flat_observation import flat_spec, flatten_observation

OBSERVATION = TensorSpec((3,))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)


def _sac(gamma: float = 0.9) -> Any:
    return partial(
        SacAlgorithm,
        actor_network_cls=partial(ActorDistributionNetwork, fc_layer_params=(8,)),
        critic_network_cls=partial(CriticNetwork, joint_fc_layer_params=(8,)),
        critic_loss_ctor=partial(OneStepTDLoss, gamma=gamma),
        actor_optimizer=Adam(lr=1e-2),
        critic_optimizer=Adam(lr=1e-2),
        alpha_optimizer=Adam(lr=1e-2),
    )


def _steps(observation: Any) -> TimeStep:
    """Two records of 5 environments, `[T, B]` flattened to `[10]`."""
    return TimeStep(
        step_type=torch.tensor([0] * 5 + [1] * 3 + [2] * 2, dtype=torch.int32),
        reward=torch.arange(10.0),
        discount=torch.tensor([1.0] * 9 + [0.0]),
        observation=observation,
        prev_action=torch.zeros(10, 2),
        env_id=torch.arange(5, dtype=torch.int32).repeat(2),
    )


def _losses(algorithm: Any, observation: Any, action: torch.Tensor) -> tuple[float, list[float]]:
    """The SAC losses on fixed data, and the parameters after one update."""
    steps = _steps(observation)
    torch.manual_seed(5)
    state = algorithm.get_initial_rollout_state(10)
    rollout = algorithm.rollout_step(steps, state)
    info = rollout.info
    if hasattr(info, "action"):
        info = info._replace(action=action)
    torch.manual_seed(6)
    steps, info = algorithm.preprocess_experience(steps, info, ())
    train = algorithm.train_step(steps, state, info)
    loss = algorithm.calc_loss(_as_time_major(train.info))
    algorithm.update_with_gradient(loss)
    return float(loss.loss.detach().sum()), [
        float(p.detach().sum()) for p in algorithm.parameters()
    ]


def _as_time_major(info: Any) -> Any:
    spec = dist_utils.extract_spec(info)
    params = dist_utils.distributions_to_params(info)
    params = alf.nest.map_structure(lambda x: x.reshape(2, 5, *x.shape[1:]), params)
    return dist_utils.params_to_distributions(params, spec)


def test_a_sac_level_has_the_losses_of_flat_sac() -> None:
    torch.manual_seed(0)
    observation, action = torch.randn(10, 3), torch.rand(10, 2)
    config = TrainerConfig(root_dir="", mini_batch_length=2, whole_replay_buffer_training=False)
    torch.manual_seed(1)
    flat = _sac()(observation_spec=OBSERVATION, action_spec=ACTION, config=config)
    torch.manual_seed(1)
    level = AlgorithmLevel(OBSERVATION, ACTION, algorithm_ctor=_sac(), config=config)
    expected = _losses(flat, observation, action)
    found = _losses(level, LevelObservation(observation=observation), action)
    assert found == expected


def test_the_discount_factor_is_the_losses_own() -> None:
    level = AlgorithmLevel(OBSERVATION, ACTION, algorithm_ctor=_sac(gamma=0.8))
    assert level.gamma == pytest.approx(0.8)


def test_two_discount_factors_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"level 'low'.*gamma=0.5.*\[0.8\]"):
        AlgorithmLevel(OBSERVATION, ACTION, algorithm_ctor=_sac(gamma=0.8), gamma=0.5, name="low")


def test_levels_keep_settings_of_their_own_and_leave_the_trainers_alone() -> None:
    config = TrainerConfig(root_dir="", mini_batch_length=3)
    agent = HierarchyAgent(
        OBSERVATION,
        ACTION,
        levels=[
            partial(
                AlgorithmLevel,
                algorithm_ctor=_sac(),
                training=TrainingOptions(mini_batch_size=size, replay_buffer_length=10 * size),
            )
            for size in (4, 8)
        ],
        joints=[ACTION],
        config=config,
    )
    assert [level._config.mini_batch_size for level in agent.levels] == [4, 8]
    assert [level._config.replay_buffer_length for level in agent.levels] == [40, 80]
    assert not any(level._config.whole_replay_buffer_training for level in agent.levels)
    assert [level._config.mini_batch_length for level in agent.levels] == [2, 2]
    assert config.mini_batch_length == 3
    assert config.mini_batch_size is None
    assert config.whole_replay_buffer_training


def test_observation_comes_before_input_and_options_are_one_hot() -> None:
    spec = LevelObservation(
        observation={"b": TensorSpec((2,)), "a": TensorSpec(())}, input=option(3)
    )
    observation = LevelObservation(
        observation={"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor([9.0])},
        input=torch.tensor([1]),
    )
    assert flat_spec(spec).shape == (6,)
    assert flatten_observation(observation, spec).tolist() == [[9, 1, 2, 0, 1, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mini_batch_size": 0}, "mini_batch_size is 0; allowed: a whole number of at least 1"),
        ({"warm_up": -1}, "warm_up is -1"),
        ({"replay_buffer_length": 1}, "shorter than mini_batch_length"),
    ],
)
def test_bad_training_options_are_errors(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**arguments)
