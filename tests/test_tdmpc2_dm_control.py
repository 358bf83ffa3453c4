"""DeepMind Control tasks as gymnasium's and ALF's environments, where dm_control is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from alf_layered.environments.dm_control import DMControlEnv, load

needed = pytest.mark.skipif(
    importlib.util.find_spec("dm_control") is None, reason="dm_control is not installed"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_task_has_a_domain_and_a_name() -> None:
    with pytest.raises(ValueError, match="domain-task, got 'walker'"):
        DMControlEnv("walker")
    with pytest.raises(ValueError, match="action_repeat is 0"):
        DMControlEnv("walker-walk", action_repeat=0)


@pytest.mark.skipif(
    importlib.util.find_spec("dm_control") is not None, reason="dm_control is installed"
)
def test_without_the_package_the_message_says_how_to_get_it() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"alf-layered\[dm_control\]"):
        DMControlEnv("walker-walk")


@needed
def test_actions_are_repeated_and_the_time_limit_truncates() -> None:
    env = DMControlEnv("cartpole-swingup")
    observation, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    assert np.array_equal(observation, again)
    assert env.observation_space.contains(observation)
    steps, total = 0, 0.0
    over = False
    while not over:
        observation, reward, terminated, over, _ = env.step(np.zeros(1, np.float32))
        assert not terminated
        steps, total = steps + 1, total + reward
    assert steps == 500
    assert 0 <= total <= 1000


@needed
def test_it_is_a_batched_environment_for_alf() -> None:
    env = load("walker-walk", batch_size=2)
    step = env.reset()
    assert step.observation.shape == (2, 24)
    step = env.step(env.action_spec().sample((2,)))
    assert step.reward.shape == (2,)
