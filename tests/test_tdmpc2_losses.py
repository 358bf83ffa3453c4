"""The losses of TD-MPC2: hand numbers, what does not count, and who learns from what."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alf.data_structures import StepType
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import TDMPC2Algorithm, TDMPC2Settings, model_of_size
from alf_layered.tdmpc2 import losses
from alf_layered.tdmpc2.losses import Spans
from alf_layered.tdmpc2.records import TDMPC2Info

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))


def _algorithm(**options: Any) -> TDMPC2Algorithm:
    torch.manual_seed(0)
    settings = TDMPC2Settings(model=model_of_size("small"), horizon=3)
    return TDMPC2Algorithm(
        TensorSpec((3,)),
        BoundedTensorSpec((2,), minimum=[-2.0, 0.0], maximum=[2.0, 4.0]),
        settings=settings,
        **options,
    )


def _info(kinds: list[list[int]], discounts: list[list[float]]) -> TDMPC2Info:
    """Spans `[T, B]`, given row by row; the reward says where it comes from."""
    step_type = torch.tensor(kinds, dtype=torch.int32).T
    T, B = step_type.shape
    torch.manual_seed(1)
    return TDMPC2Info(
        observation=torch.randn(T, B, 3),
        prev_action=torch.rand(T, B, 2),
        reward=torch.arange(1.0, T + 1)[:, None] + 10 * torch.arange(B),
        discount=torch.tensor(discounts).T.contiguous(),
        step_type=step_type,
    )


def test_spans_hold_what_follows_an_action() -> None:
    info = _info([[FIRST, MID, LAST, FIRST]], [[1, 0.5, 0, 1]])
    info = info._replace(prev_action=torch.tensor([0.0, -2, 2, 1])[:, None, None].expand(4, 1, 2))
    spans = _algorithm(gamma=0.9).spans(info)
    assert spans.reward[:, 0].tolist() == [2, 3, 4]
    assert spans.discount[:, 0].tolist() == pytest.approx([0.45, 0, 0.9])
    assert spans.is_transition[:, 0].tolist() == [True, True, False]
    assert spans.action[:, 0, 0].tolist() == [-1, 1, 0.5]
    assert spans.action[:, 0, 1].tolist() == [-2, 0, -0.5]  # outside its bounds [0, 4] once


def test_targets_bootstrap_at_truncations_and_not_at_terminations() -> None:
    info = _info([[MID, MID], [MID, LAST], [MID, LAST]], [[1, 1], [1, 0], [1, 1]])
    spans = _algorithm(gamma=0.9).spans(info)
    target = losses.td_target(spans.reward, spans.discount, torch.full((1, 3), 100.0))
    assert target[0].tolist() == pytest.approx([2 + 90, 12, 22 + 90])


def test_errors_are_averaged_over_transitions_and_weighted_by_time() -> None:
    error = torch.tensor([[1.0, 3.0, float("inf")], [4.0, 8.0, 6.0], [float("nan")] * 3])
    valid = torch.tensor([[True, True, False], [True] * 3, [False] * 3])
    assert float(losses.over_spans(error, valid, 0.5)) == pytest.approx((2 + 0.5 * 6 + 0) / 3)


def test_policy_loss_by_hand() -> None:
    learning = losses.PolicyLearning(
        q=torch.tensor([[2.0, 4.0], [6.0, 6.0]]), log_prob=torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    )
    loss = losses.policy_loss(learning, torch.tensor(2.0), entropy_coef=0.1, rho=0.5)
    assert float(loss) == pytest.approx(((0.1 - 1.5) + 0.5 * (0.1 - 3)) / 2)


def _model_losses(algorithm: TDMPC2Algorithm, spans: Spans) -> losses.ModelLearning:
    torch.manual_seed(2)
    settings = TDMPC2Settings(model=model_of_size("small", dropout=0.0), horizon=len(spans.reward))
    model = algorithm.world_model
    model.settings = settings.model
    return losses.world_model_losses(model, algorithm._target_q, spans, settings=settings)


def _wake(algorithm: TDMPC2Algorithm) -> None:
    """Gives the heads that start at zero something to say."""
    torch.manual_seed(3)
    model = algorithm.world_model
    for weight in (model._reward.weight, model.q.weights[-1], algorithm._target_q.weights[-1]):
        torch.nn.init.normal_(weight, std=0.3)


def test_losses_equal_those_of_a_loop_over_spans_and_time() -> None:
    algorithm = _algorithm(gamma=0.9)
    _wake(algorithm)
    model = algorithm.world_model
    info = _info(
        [[FIRST, MID, MID, MID], [MID, LAST, FIRST, MID], [MID, MID, MID, LAST]],
        [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0]],
    )
    spans = algorithm.spans(info)
    found = _model_losses(algorithm, spans).losses

    torch.manual_seed(2)
    noise = torch.randn(3, 3, 2)
    members = model.two_members()
    H, B = 3, 3
    sums = {name: torch.zeros(H) for name in found._fields}
    counts = torch.zeros(H)
    for b in range(B):
        z = model.encode(info.observation[0, b])
        for t in range(H):
            after = model.encode(info.observation[t + 1, b]).detach()
            if info.step_type[t, b] == LAST:
                z = after
                continue
            action = spans.action[t, b]
            next_action = model.pi(after, noise[t, b]).action
            logits = model.Q(after, next_action, network=algorithm._target_q)[members]
            bootstrap = model.two_hot.decode(logits).min()
            target = spans.reward[t, b] + 0.9 * info.discount[t + 1, b] * bootstrap
            step = model.step(z, action)
            ended = float(info.discount[t + 1, b] == 0)
            p = torch.sigmoid(step.termination_logit)
            counts[t] += 1
            sums["consistency"][t] += (step.latent - after).square().mean()
            sums["reward"][t] += model.two_hot.cross_entropy(step.reward_logits, spans.reward[t, b])
            sums["value"][t] += model.two_hot.cross_entropy(model.Q(z, action), target).mean()
            sums["termination"][t] -= torch.log(p if ended else 1 - p)
            z = step.latent
    for name, value in sums.items():
        rho = 1.0 if name == "termination" else 0.5
        expected = (rho ** torch.arange(3) * value / counts).mean()
        torch.testing.assert_close(getattr(found, name), expected, rtol=1e-4, atol=1e-5)


def test_from_the_end_of_an_episode_to_the_next_start_nothing_is_learned() -> None:
    algorithm = _algorithm()
    _wake(algorithm)
    info = _info([[MID, LAST, FIRST, MID]], [[1, 0, 1, 1]])
    spans = algorithm.spans(info)
    before = _model_losses(algorithm, spans)
    action, reward = spans.action.clone(), spans.reward.clone()
    action[1], reward[1] = 0.77, 1234.0
    after = _model_losses(algorithm, spans._replace(action=action, reward=reward))
    torch.testing.assert_close(before.losses, after.losses)
    # Prediction starts anew from what the next episode shows.
    model = algorithm.world_model
    torch.testing.assert_close(before.latent[2], model.encode(info.observation[2]).detach())


def test_policy_and_model_learn_from_their_own_losses_alone() -> None:
    algorithm = _algorithm()
    _wake(algorithm)
    model = algorithm.world_model
    spans = algorithm.spans(_info([[FIRST, MID, MID, MID]] * 4, [[1.0] * 4] * 4))
    policy = list(model.policy.parameters())
    learned = _model_losses(algorithm, spans)
    learning = losses.policy_value(model, learned.latent, learned.goal)
    losses.policy_loss(learning, torch.ones(()), entropy_coef=1e-4, rho=0.5).backward()
    own = {id(p) for p in policy}
    assert all((p.grad is not None) == (id(p) in own) for p in model.parameters())
    model.zero_grad()
    torch.stack(learned.losses).sum().backward()
    assert all((p.grad is None) == (id(p) in own) for p in model.parameters())
    assert all(p.grad is None for p in algorithm._target_q.parameters())
