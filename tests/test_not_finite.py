"""NaN stops a run by name before it is saved, whoever learns and wherever it appears."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from alf.environments import suite_gym
from alf.utils.finite_checks import NotFiniteError, skipped
from alf_layered.environments import gymnasium_loader
from alf_layered.planners.finite_scores import check_scores
from benchmarks.torture import not_finite
from benchmarks.torture.smoke import fresh, trainer_of

SHORT = not_finite.cases(short=True)
LONG = [case for case in not_finite.cases() if case not in SHORT]


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    yield
    fresh()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("learner", "place"), [*SHORT, *(pytest.param(*c, marks=pytest.mark.slow) for c in LONG)]
)
def test_nan_is_named_and_never_saved_and_the_run_goes_on(
    learner: str, place: str, tmp_path: Path
) -> None:
    error = not_finite.inject(learner, place, tmp_path)
    assert any(words in error for words in not_finite.PLACES[place][1]), error
    assert not_finite.newest_is_finite(tmp_path)
    assert not_finite.goes_on(learner, tmp_path)


@pytest.mark.parametrize(
    "score", [[-torch.inf, 1.0, -torch.inf], [torch.nan, 1.0, torch.inf]], ids=["lost", "nan"]
)
def test_a_search_of_which_all_plans_lose_names_its_environments(score: list[float]) -> None:
    env_id = torch.tensor([4, 5, 9])
    with pytest.raises(ValueError, match=r"level 'top': of all plans .* environment 4, 9 none has"):
        check_scores(torch.tensor(score), env_id, owner="level 'top'")
    check_scores(torch.tensor([1.0, -3.0]), owner="level 'top'")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("conf", "part", "words"),
    [
        ("tdmpc2_goal_maze2d", "world_model.q.", "of all plans of the search|not finite"),
        ("muzero_cartpole", "_value_layer", "search at iteration .*the value of all plans"),
        ("muzero_over_sac_maze2d", "_value_layer", "search at iteration .*the value of all plans"),
    ],
)
def test_planners_with_a_broken_value_name_the_parameter(
    conf: str, part: str, words: str, tmp_path: Path
) -> None:
    trainer: Any = trainer_of(conf, tmp_path, 20)
    algorithm = trainer._algorithm
    _train(algorithm, 8)
    with torch.no_grad():
        broken = [p for name, p in algorithm.named_parameters() if part in name]
        for parameter in broken:
            parameter.fill_(torch.nan)
    assert broken
    with pytest.raises(ValueError, match=words) as caught:
        _train(algorithm, 8)
    assert part in str(caught.value)


def test_an_error_before_the_update_names_the_parameter_too(tmp_path: Path) -> None:
    """MuZero searches anew in what it has stored, before its loss."""
    trainer: Any = trainer_of("muzero_over_sac_maze2d", tmp_path, 40)
    injected = not_finite._injected(trainer, not_finite.last_parameter, 20)
    with injected, pytest.raises(NotFiniteError, match=r"update at .* not finite: parameter"):
        trainer.train()
    assert not_finite.newest_is_finite(tmp_path)


@pytest.mark.parametrize("conf", ["sac_maze2d", "sac_over_sac_maze2d"])
def test_env_info_may_be_nan_and_the_run_is_saved_and_goes_on(conf: str, tmp_path: Path) -> None:
    trainer: Any = trainer_of(conf, tmp_path, 6)
    with not_finite._injected(trainer, not_finite.nan_env_info, 2):
        trainer.train()
    saved = tmp_path / "train" / "algorithm" / "ckpt-6"
    leaves = torch.load(saved, weights_only=True)["continuation"]["interaction"]["time_step"]
    assert any(bool(leaf.isnan().any()) for leaf in leaves if leaf.is_floating_point())
    fresh()
    again = trainer_of(conf, tmp_path, 8)
    again.train()
    assert again.current_iterations() == 8


def _train(algorithm: Any, iterations: int) -> None:
    for _ in range(iterations):
        algorithm.train_iter()


class Broken(gymnasium.Env):
    """Episodes of 9 steps, of which one in 17 of the process is not finite."""

    observation_space = gymnasium.spaces.Dict(
        {
            name: gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
            for name in ("achieved_goal", "desired_goal", "observation")
        }
    )
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, what: str, value: float) -> None:
        self._bad, self._steps, self._time = (what, value), 0, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._time = 0
        return self._observed(np.zeros(2, np.float32)), {}

    def step(self, action: Any) -> Any:
        self._time += 1
        self._steps += 1
        observation, reward = np.full(2, 0.1 * self._time, np.float32), 1.0
        what, value = self._bad
        if self._steps % 17 == 0:
            observation[1] = value if what == "observation" else observation[1]
            reward = value if what == "reward" else reward
        return self._observed(observation), reward, False, self._time == 9, {}

    def _observed(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return dict.fromkeys(self.observation_space.spaces, observation)


@pytest.mark.parametrize("load", [gymnasium_loader.load, suite_gym.load], ids=["plugin", "engine"])
@pytest.mark.parametrize(
    ("what", "value"), [("reward", math.nan), ("reward", math.inf), ("observation", math.nan)]
)
def test_each_loader_leaves_it_to_the_checks_what_follows(
    load: Any, what: str, value: float, tmp_path: Path
) -> None:
    gymnasium.register("Broken-v0", lambda **_: Broken(what, value))
    try:
        settings = {"create_environment.env_load_fn": load, "FiniteChecks.bad_episode": "skip"}
        settings |= {"create_environment.env_name": "Broken-v0"}
        trainer = trainer_of("sac_maze2d", tmp_path, 12, settings)
        before = skipped["episodes"]
        trainer.train()
        assert 4 <= skipped["episodes"] - before <= 8  # 48 steps of each of 4, some of them resets
        assert trainer.current_iterations() == 12
    finally:
        gymnasium.registry.pop("Broken-v0")
