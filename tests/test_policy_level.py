"""`PolicyLevel`: functions and TorchScript files as levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from alf_layered import Hierarchy, PolicyLevel, SacLevel
from tests.test_library_hierarchy import QUICK, _two_numbers, counting, roll


class Follow(torch.nn.Module):
    """Half the first number of what was asked for above."""

    def __init__(self) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, observation: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        return self.share * asked[:, :1] + 0 * observation[:, :1]


def test_a_function_decides_from_what_its_map_shows() -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    level = PolicyLevel.options(policy=lambda o: (o[:, :1] + 1) / 10)
    h = Hierarchy([level], env)
    obs, _ = env.reset()
    np.testing.assert_allclose(h.get_action(obs), [[0.1], [0.1]])
    assert h.levels[0].training_options is None


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("as_file", [False, True])
def test_a_module_acts_below_a_learner_and_stays_as_it_is(as_file: bool, tmp_path: Path) -> None:
    policy: Any = Follow()
    if as_file:
        torch.jit.script(policy).save(str(tmp_path / "follow.pt"))
        policy = tmp_path / "follow.pt"
    env = counting(AutoresetMode.SAME_STEP)
    levels = [
        SacLevel.options(training=QUICK),
        PolicyLevel.options(policy=policy, control_interval=2),
    ]
    h = Hierarchy(levels, env, joints=[_two_numbers])
    obs = roll(h, env, 12)
    h.learn()
    action = h.get_action(obs)
    asked = h.inspect(0)[1].input
    torch.testing.assert_close(torch.as_tensor(action[0]), asked[:1] * 0.1)
    h.save(tmp_path / "run")
    assert Hierarchy.load(tmp_path / "run", env=env, levels=levels, joints=[_two_numbers])


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    env = counting(AutoresetMode.NEXT_STEP)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Hierarchy([PolicyLevel.options(policy=str(tmp_path / "none.pt"))], env)
    with pytest.raises(ValueError, match=r"PolicyLevel\.policy is 3"):
        Hierarchy([PolicyLevel.options(policy=3)], env)
    h = Hierarchy([PolicyLevel.options(policy=lambda o: o)], env)
    with pytest.raises(ValueError, match="output of rollout_step of level 'PolicyLevel'"):
        h.get_action(env.reset()[0])
