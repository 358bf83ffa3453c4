"""Models for tree search: sums of rewards and their losses, by hand numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alf.algorithms.mcts_models import (
    MCTSModel,
    ModelOutput,
    ModelState,
    ModelTarget,
    SimpleMCTSModel,
)
from alf.data_structures import LossInfo
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


class Counter(MCTSModel):
    """The latent state is the sum of the actions, and that is the predicted sum of rewards too.

    The state of its prediction network counts how often it was asked.
    """

    def __init__(self, **options: Any) -> None:
        nets: Any = {
            "representation_net": lambda observation: (observation, ()),
            "dynamics_net": lambda pair: (pair[0] + pair[1], ()),
            "prediction_net": SimpleNamespace(state_spec=TensorSpec(())),
        }
        super().__init__(
            num_unroll_steps=4,
            **nets,
            train_reward_function=True,
            train_game_over_function=False,
            train_policy=False,
            **options,
        )

    def prediction_model(self, dyn_state: torch.Tensor, pred_state: Any) -> ModelOutput:
        return ModelOutput(
            value=torch.zeros_like(dyn_state),
            reward=dyn_state,
            state=ModelState(state=dyn_state, pred_state=pred_state + 1),
            value_pred=torch.zeros_like(dyn_state),
            reward_pred=dyn_state,
        )


def unrolled(model: MCTSModel, actions: list[float], first: float = 0.0) -> list[ModelOutput]:
    outputs = [model.initial_inference(torch.full((2,), first))]
    for action in actions:
        outputs.append(model.recurrent_inference(outputs[-1].state, torch.full((2,), action)))
    return outputs


def second(values: list[torch.Tensor]) -> list[float]:
    return [float(x[1]) for x in values]


def test_a_reward_is_the_difference_of_two_predicted_sums() -> None:
    """Sums 1, 3, 6, 10 are made of the rewards 1, 2, 3, 4."""
    outputs = unrolled(Counter(predict_reward_sum=True), [1.0, 2.0, 3.0, 4.0])
    assert second([x.reward for x in outputs]) == [0, 1, 2, 3, 4]
    assert second([x.state.pred_state for x in outputs]) == [1, 2, 3, 4, 5]
    assert second([x.state.step for x in outputs]) == [0, 1, 2, 3, 4]


def test_the_sum_starts_anew_after_each_period() -> None:
    """Predicted are 1, 3, then from zero 6, 10: rewards 1, 3 - 1, 6, 10 - 6."""
    model = Counter(predict_reward_sum=True, reset_reward_sum_period=2)
    outputs = unrolled(model, [1.0, 2.0, 3.0, 4.0])
    assert second([x.reward for x in outputs]) == [0, 1, 2, 6, 4]
    assert second([x.state.pred_state for x in outputs]) == [1, 1, 2, 1, 2]


def test_without_sums_the_period_resets_the_prediction_network_alone() -> None:
    outputs = unrolled(Counter(reset_reward_sum_period=3), [1.0, 2.0, 3.0, 4.0])
    assert second([x.reward for x in outputs]) == [0, 1, 3, 6, 10]
    assert second([x.state.pred_state for x in outputs]) == [1, 1, 2, 3, 1]
    assert outputs[-1].state.prev_reward_sum == ()


def reward_loss(model: MCTSModel, said: list[float], rewards: list[float]) -> float:
    zeros = torch.zeros(1, len(rewards))
    output = ModelOutput(value_pred=zeros, reward_pred=torch.tensor([said]))
    target = ModelTarget(reward=torch.tensor([rewards]), value=zeros)
    loss = model.calc_loss(output, target)
    assert torch.equal(loss.loss, loss.extra["reward"])
    return float(loss.extra["reward"])


REWARDS = [9.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("options", "sums"),
    [
        ({}, [9, 1, 2, 3, 4]),
        ({"predict_reward_sum": True}, [9, 10, 12, 15, 19]),
        ({"predict_reward_sum": True, "reset_reward_sum_period": 1}, [9, 1, 2, 3, 4]),
        ({"predict_reward_sum": True, "reset_reward_sum_period": 2}, [9, 1, 3, 3, 7]),
        ({"predict_reward_sum": True, "reset_reward_sum_period": 3}, [9, 1, 3, 6, 4]),
        ({"predict_reward_sum": True, "reset_reward_sum_period": 9}, [9, 1, 3, 6, 10]),
    ],
    ids=str,
)
def test_sums_are_learnt_as_they_are_predicted(options: dict[str, Any], sums: list[float]) -> None:
    """Off by 2 at a later one of 4 steps costs 4 / 4; a new sum does not begin with the root's."""
    model = Counter(**options)
    assert reward_loss(model, sums, REWARDS) == 0
    for i, cost in enumerate([4, 1, 1, 1, 1]):
        wrong = list(sums)
        wrong[i] += 2
        assert reward_loss(model, wrong, REWARDS) == cost


@pytest.mark.parametrize("period", [0, 1, 2, 3])
@pytest.mark.parametrize("initial", [True, False])
def test_predicted_sums_give_back_the_rewards_that_they_were_learnt_from(
    period: int, initial: bool
) -> None:
    """What `recurrent_inference()` takes apart is what the loss has put together."""
    model = Counter(
        predict_reward_sum=True, reset_reward_sum_period=period, predict_initial_reward=initial
    )
    rewards = torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
    sums = model._reward_sums(rewards)[0]
    if not initial:
        sums[0] = 0.0  # as nothing is predicted there
    found = [float(x.reward[0]) for x in unrolled(model, sums.diff().tolist(), float(sums[0]))[1:]]
    assert found == rewards[0, 1:].tolist()


def test_the_reward_before_the_first_step_need_not_be_predicted() -> None:
    model = Counter(predict_reward_sum=True, predict_initial_reward=False)
    assert reward_loss(model, [100.0, 1, 3, 6, 10], REWARDS) == 0


def test_sums_have_single_precision_where_latent_states_do_not() -> None:
    model = Counter(predict_reward_sum=True)
    state = model.initial_inference(torch.zeros(2, dtype=torch.bfloat16)).state
    assert state.prev_reward_sum.dtype == torch.float32


def test_reward_sums_without_rewards_are_refused() -> None:
    net: Any = torch.nn.Identity()
    with pytest.raises(ValueError, match="train_reward_function=True"):
        MCTSModel(1, net, net, net, False, False, predict_reward_sum=True)


class Chooser(MCTSModel):
    """Two actions; says of all steps that the policy has `logits`."""

    def __init__(self, **options: Any) -> None:
        net: Any = torch.nn.Identity()
        super().__init__(2, net, net, net, False, True, **options)


def policy_loss(model: MCTSModel, target: ModelTarget) -> tuple[LossInfo, torch.Tensor]:
    """The loss of two rows that are certain of all but their policy; -log of its two chances."""
    logits = torch.tensor([2.0, -1.0]).expand(2, 3, 2)
    output = ModelOutput(
        value_pred=target.value,
        game_over_logit=torch.where(target.game_over, 100.0, -100.0),
        action_distribution=torch.distributions.Categorical(logits=logits),
    )
    return model.calc_loss(output, target), -logits[0, 0].log_softmax(dim=0)


def over_and_cut_off() -> ModelTarget:
    """Row 0 is over at its last step; the episode of row 1 was cut off before its last step."""
    no = torch.zeros(2, 3, dtype=torch.bool)
    over, beyond = no.clone(), no.clone()
    over[0, 2] = beyond[1, 2] = True
    return ModelTarget(
        is_partial_trajectory=torch.tensor([False, True]),
        beyond_episode_end=beyond,
        action_policy=torch.tensor([1.0, 0.0]).expand(2, 3, 2),
        game_over=over,
        value=torch.zeros(2, 3),
    )


def test_no_policy_is_learnt_where_the_game_is_over() -> None:
    """Weights 1, 1/2, 1/2: the finished row lacks its last half."""
    loss, (cost, _) = policy_loss(Chooser(), over_and_cut_off())
    torch.testing.assert_close(loss.extra["policy"], torch.stack([1.5 * cost, 2.0 * cost]))
    torch.testing.assert_close(loss.loss, loss.extra["policy"])


def test_steps_behind_an_unfinished_episode_count_only_if_asked_to() -> None:
    masked, (cost, _) = policy_loss(Chooser(apply_partial_trajectory_mask=True), over_and_cut_off())
    torch.testing.assert_close(masked.extra["policy"], torch.stack([1.5 * cost, 1.5 * cost]))


def test_entropy_is_a_term_of_the_loss_with_its_own_weight() -> None:
    """Of all steps, also those of a game that is over; the reported policy loss lacks it."""
    model = Chooser(initial_alpha=0.1, policy_loss_weight=3.0)
    loss, cost = policy_loss(model, over_and_cut_off())
    entropy = (cost * (-cost).exp()).sum()
    torch.testing.assert_close(loss.extra["policy"], torch.stack([1.5 * cost[0], 2.0 * cost[0]]))
    torch.testing.assert_close(loss.loss, 3.0 * loss.extra["policy"] - 0.1 * 2.0 * entropy)


def test_the_error_of_the_first_value_is_reported() -> None:
    """2 - 5 is an error of 3; what is not learnt is reported as ()."""
    target = ModelTarget(reward=torch.zeros(1, 3), value=torch.tensor([[5.0, 9.0, 9.0]]))
    output = ModelOutput(value_pred=torch.full((1, 3), 2.0), reward_pred=torch.zeros(1, 3))
    extra = Counter().calc_loss(output, target).extra
    assert extra["td_error"].tolist() == [3.0]
    assert [key for key, x in extra.items() if isinstance(x, tuple)] == [
        "policy",
        "game_over",
        "repr_prediction",
    ]


def test_a_model_in_evaluation_mode_predicts_nothing_to_learn_from() -> None:
    model = SimpleMCTSModel(TensorSpec((3,)), BoundedTensorSpec((), torch.int64, 0, 2), 2).eval()
    output = model.initial_inference(torch.zeros(2, 3))
    assert output.value_pred == output.reward_pred == ()
    assert output.value.shape == output.reward.shape == (2,)
    with pytest.raises(ValueError, match=r"call train\(\) before"):
        model.calc_loss(output, ModelTarget(value=torch.zeros(2, 1)))


def test_candidates_are_fewer_than_all_actions() -> None:
    spec = BoundedTensorSpec((), torch.int64, 0, 2)
    with pytest.raises(ValueError, match=r"num_sampled_actions is 3.*at most 2"):
        SimpleMCTSModel(TensorSpec((3,)), spec, 2, num_sampled_actions=3)
