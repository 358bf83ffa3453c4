"""What action values learn where a skill ends, by their learners' own targets; and priorities."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf_layered import HierarchyAgent, SkillOptions, TrainingOptions
from alf_layered.tdmpc2 import losses
from alf_layered.tdmpc2.skill_tdmpc2 import SkillTDMPC2Algorithm
from tests.skill_points import Points, sac, skill_agent
from tests.test_skill_tdmpc2 import SETTINGS

# A skill's last decision earns 2; a state is worth 10 times the first number of the skill, which
# is 1 for all that are followed and 0.5 for all that the prior draws.
GAMMA, OWN, DRAWN = 0.99, 10.0, 5.0
FOLLOWS = {"nothing": 0.0, "average": DRAWN, "same": OWN}


class _Half:
    """A prior of nothing but (0.5, 0)."""

    def sample(self, rows: Any, **_: Any) -> torch.Tensor:
        return torch.tensor([0.5, 0.0]).expand(*rows, 2)


def _options(after: str) -> SkillOptions:
    return SkillOptions(clip_low=2.0, clip_high=2.0, normalize=False, after_skill=after)  # type: ignore[arg-type]


def _followed(steps: Any) -> Any:
    """The same spans, had all skills been (1, 0)."""
    skills = torch.tensor([1.0, 0.0]).expand_as(steps.observation.input)
    return steps._replace(observation=steps.observation._replace(input=skills))


def _wanted(steps: Any, info: Any, after: str, interval: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets `[B, T - 1]` of spans by hand, and which ones are ends of skills by their time."""
    ended = steps.is_last()[:, 1:] & (info.step[:, :-1] == interval - 1)
    reward = torch.where(ended, 2.0, 0.0)
    value = torch.where(ended, FOLLOWS[after], OWN)
    return reward + GAMMA * steps.discount[:, 1:] * value, ended


# ---- SAC ----------------------------------------------------------------------------------------


class _TenTimesSkill(torch.nn.Module):
    """Values of two critics: 10 times the first number of the skill, after three of the speed."""

    def forward(self, inputs: Any, state: Any = ()) -> Any:
        observation, _ = inputs
        return 10 * observation[:, 3:4].expand(-1, 2), state


class _Learned:
    """One update of SAC from many spans: the spans, and the targets that it computed for them."""

    def __init__(self, after: str, **training: Any) -> None:
        self.spans: Any = None
        self.target: torch.Tensor = torch.empty(0)
        options: dict[str, Any] = {"mini_batch_size": 200, "warm_up": 10, **training}
        self._rows: int = options["mini_batch_size"]
        agent = skill_agent(
            algorithm_ctor=partial(
                sac,
                use_entropy_reward=False,
                calculate_priority="priority_replay" in training,
                critic_loss_ctor=partial(OneStepTDLoss, gamma=GAMMA, td_error_loss_fn=self._error),
            ),
            options=_options(after),
            prior=_Half(),
            training=TrainingOptions(replay_buffer_length=100, **options),
        )
        Points(agent, [7, 5, 3]).live(40)
        level: Any = agent.levels[-1]
        level.algorithm._target_critic_networks = _TenTimesSkill()
        for parameter in level.algorithm._critic_networks.parameters():
            torch.nn.init.zeros_(parameter)
        self._prepare, level.preprocess_experience = level.preprocess_experience, self._prepared
        level._update_clock.debt.fill_(1.0)
        self.buffer = level._replay_buffer
        self.interval = level.control_interval
        level.train_from_replay_buffer()

    def _prepared(self, steps: Any, info: Any, batch: Any) -> Any:
        self.spans = _followed(steps), info, batch
        return self._prepare(*self.spans)

    def _error(self, target: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        # Two critics learn the same, in one call here, in two on ALF.
        self.target = target.flatten()[: self._rows]
        assert float(value.detach().abs().max()) == 0
        return (target - value).square()


@pytest.mark.parametrize("after", FOLLOWS)
def test_sac_s_target_at_the_end_of_a_skill_is_what_the_option_says(after: str) -> None:
    found = _Learned(after)
    steps, info, _ = found.spans
    wanted, ended = _wanted(steps, info, after, found.interval)
    is_transition = ~steps.is_last()[:, 0]
    torch.testing.assert_close(found.target[is_transition], wanted[is_transition, 0])
    at_joint = ended[:, 0] & (steps.discount[:, 1] > 0)
    end_value = {"nothing": 2.0, "average": 2 + 0.99 * 5, "same": 2 + 0.99 * 10}[after]
    torch.testing.assert_close(
        found.target[at_joint], torch.full((int(at_joint.sum()),), end_value)
    )
    assert bool(at_joint.any())


# ---- TD-MPC2 ------------------------------------------------------------------------------------


class _Shown(torch.nn.Module):
    """A goal encoder that shows the skill's first number first, and 15 zeros."""

    def forward(self, goal: Any, augment: bool = False) -> torch.Tensor:
        shown = goal.skill[..., :1]
        return torch.cat([shown, shown.new_zeros(*shown.shape[:-1], 15)], dim=-1)


class _TenTimesShown(torch.nn.Module):
    """Action values of two members: 10 times the first number of the goal."""

    def __init__(self, two_hot: Any) -> None:
        super().__init__()
        self._two_hot = two_hot

    def forward(self, latent: Any, action: Any, goal: torch.Tensor, **_: Any) -> torch.Tensor:
        logits = self._two_hot.encode(10 * goal[..., 0]).clamp(min=1e-30).log()
        return logits.expand(2, *logits.shape)


@pytest.mark.parametrize("after", FOLLOWS)
def test_td_mpc2_s_target_at_the_end_of_a_skill_is_what_the_option_says(
    after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = skill_agent(
        interval=5,
        algorithm_ctor=partial(SkillTDMPC2Algorithm, settings=SETTINGS),
        options=_options(after),
        prior=_Half(),
    )
    Points(agent, [12, 7]).live(40)
    level: Any = agent.levels[-1]
    model = level.algorithm.world_model
    model.goal_encoder = _Shown()
    level.algorithm._target_q = _TenTimesShown(model.two_hot)
    targets: list[torch.Tensor] = []
    original = losses.td_target

    def spy(*arguments: torch.Tensor) -> torch.Tensor:
        targets.append(original(*arguments))
        return targets[-1]

    monkeypatch.setattr(losses, "td_target", spy)
    experience, batch = level._replay_buffer.get_batch(100, SETTINGS.horizon + 1)
    steps, info = _followed(experience.time_step), experience.rollout_info
    seen, told = alf.nest.map_structure(
        lambda x: x.transpose(0, 1), level.preprocess_experience(steps, info, batch)
    )
    level.calc_loss(level.train_step(seen, (), told).info)
    wanted, ended = _wanted(steps, info, after, 5)
    is_transition = ~steps.is_last()[:, :-1]
    torch.testing.assert_close(targets[0].T[is_transition], wanted[is_transition])
    assert bool((ended & is_transition & (steps.discount[:, 1:] > 0)).any())


# ---- priorities ---------------------------------------------------------------------------------


def test_the_priority_of_a_span_is_its_own_error() -> None:
    found = _Learned("average", priority_replay=True)
    steps, info, batch = found.spans
    wanted, _ = _wanted(steps, info, "average", found.interval)
    wanted = torch.where(steps.is_last()[:, 0], 0.0, wanted[:, 0])  # nothing is learned from there
    config = TrainerConfig(root_dir="")
    alpha, eps = config.priority_replay_alpha(), config.priority_replay_eps  # type: ignore[operator]
    # ALF's: the root of both critics' squared error, a mean over the records that are not LAST
    count = (~steps.is_last()).sum(1).clamp(min=1)
    error = (2 * wanted.square() / count).sqrt()
    tree, rows = found.buffer._priorities, (batch.env_ids, batch.positions)
    kept = tree.tree[tree._rows(*rows)]
    torch.testing.assert_close(kept.float(), ((error + eps) ** alpha).float())
    place = found.buffer.get_field("time_step.observation.above.observation", *rows)
    assert torch.equal(place, steps.observation.above.observation[:, 0])
    assert len(kept.unique()) > 3


def _prioritised(algorithm_ctor: Any) -> HierarchyAgent:
    return skill_agent(
        algorithm_ctor=algorithm_ctor,
        training=TrainingOptions(
            mini_batch_size=8, warm_up=10, replay_buffer_length=100, priority_replay=True
        ),
    )


def test_priorities_of_an_algorithm_that_gives_none_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"priority_replay is True.*gives no priorities"):
        _prioritised(partial(SkillTDMPC2Algorithm, settings=SETTINGS))
    with pytest.raises(ValueError, match=r"priority_replay is True.*'skills' gives no priority"):
        Points(_prioritised(sac), [7, 5]).live(30, train=True)
