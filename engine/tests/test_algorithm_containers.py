"""Algorithms made of others act and train as the same algorithm written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_rl import ACTION_SPEC, OBSERVATION_SPEC, CountingEnv, make_config
from torch import nn

from alf import networks
from alf.algorithms.actor_critic_algorithm import ActorCriticInfo
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.algorithm import Algorithm, Loss
from alf.algorithms.containers import EchoAlg, RLAlgWrapper, SequentialAlg
from alf.data_structures import AlgStep, LossInfo
from alf.layers import FC
from alf.nest import nest
from alf.networks import ActorDistributionNetwork, ValueNetwork
from alf.optimizers import SGD
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils


def _predictor() -> Algorithm:
    return SequentialAlg(
        predicted=networks.EncodingNetwork(TensorSpec((2,)), fc_layer_params=(2,)),
        delayed=networks.Delay(TensorSpec((2,))),
        error=(("delayed", "input"), lambda xy: (xy[0] - xy[1]).square().sum(-1)),
        loss=Loss(),
        output="predicted",
    )


def test_algorithms_of_the_same_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"several algorithms are named \['LossAlg'\]"):
        SequentialAlg(Loss(), Loss())
    SequentialAlg(Loss(), other=Loss())


def test_a_sequence_passes_results_by_name() -> None:
    alg = _predictor()
    net = alg._steps[0][2]
    x = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]])
    state: Any = alg.get_initial_rollout_state(1)
    assert alg.rollout_step(x[0], state).info["loss"] == ()  # off-policy nothing is learned yet
    alg.set_on_policy(True)
    assert alg.train_state_spec == {"delayed": TensorSpec((2,))}
    first = alg.rollout_step(x[0], state)
    second = alg.rollout_step(x[1], first.state)
    torch.testing.assert_close(first.output, net(x[0])[0])
    torch.testing.assert_close(first.info["loss"], x[0].square().sum(-1))
    torch.testing.assert_close(second.info["loss"], (first.output - x[1]).square().sum(-1))
    torch.testing.assert_close(second.state["delayed"], net(x[1])[0])
    loss = alg.calc_loss(nest.map_structure(lambda *xs: torch.stack(xs), first.info, second.info))
    assert loss.loss.shape == (2, 1)
    assert set(loss.extra) == {"loss"}
    assert alg.predict_step(x[0], state).info == {"loss": ()}


def _actor_critic() -> Algorithm:
    return SequentialAlg(
        is_on_policy=True,
        value=("input.observation", ValueNetwork(OBSERVATION_SPEC, fc_layer_params=(4,))),
        action_dist=(
            "input.observation",
            ActorDistributionNetwork(OBSERVATION_SPEC, ACTION_SPEC, fc_layer_params=(4,)),
        ),
        action=dist_utils.sample_action_distribution,
        loss=(
            ActorCriticInfo(
                reward="input.reward",
                step_type="input.step_type",
                discount="input.discount",
                action_distribution="action_dist",
                action="action",
                value="value",
            ),
            ActorCriticLoss(),
        ),
        output="action",
    )


def test_the_documented_actor_critic_trains() -> None:
    config = make_config(unroll_length=4)
    inner = _actor_critic()
    alg = RLAlgWrapper(
        OBSERVATION_SPEC,
        ACTION_SPEC,
        inner,
        env=CountingEnv(),
        config=config,
        optimizer=SGD(lr=0.01),
    )
    assert alg.on_policy
    before = nn.utils.parameters_to_vector(inner.parameters()).detach().clone()
    assert alg.train_iter() == 8
    after = nn.utils.parameters_to_vector(inner.parameters())
    assert (after != before).any()
    names = [name for name, _ in alg.named_parameters()]
    assert len(names) == len({id(p) for p in alg.parameters()})


class _Adds(Algorithm):
    """Counts: the output is input + echo, both ways; its loss is the square of a parameter."""

    def __init__(self) -> None:
        super().__init__(train_state_spec=TensorSpec((2,)))
        self.w = nn.Parameter(torch.ones(()))
        self.seen: list[str] = []

    def rollout_step(self, inputs: Any, state: Any) -> AlgStep:
        total = inputs["input"] + inputs["echo"]
        return AlgStep(
            output={"output": total, "echo": total},
            state=state + 1,
            info=LossInfo(loss=self.w**2 * torch.ones(total.shape[0])),
        )

    predict_step = rollout_step

    def train_step(self, inputs: Any, state: Any, rollout_info: Any) -> AlgStep:
        return self.rollout_step(inputs, state)

    def after_update(self, root_inputs: Any, info: Any) -> None:
        self.seen.append("after_update")

    def after_train_iter(self, root_inputs: Any, rollout_info: Any) -> None:
        self.seen.append("after_train_iter")


def test_an_echo_comes_back_as_the_next_input() -> None:
    inner = _Adds()
    alg = EchoAlg(inner, TensorSpec((2,)))
    state = alg.get_initial_train_state(3)
    for step in (alg.rollout_step, alg.predict_step, lambda x, s: alg.train_step(x, s, ())):
        result = step(torch.ones(3, 2), state)
        assert result.output.eq(1).all()
        result = step(torch.ones(3, 2), result.state)
        assert result.output.eq(2).all()
        assert result.state[0].eq(2).all()
    alg.set_on_policy(True)
    assert inner.on_policy
    alg.set_path("a.b")
    assert inner.path == "a.b"


def test_a_container_trains_off_policy_from_its_replay_buffer() -> None:
    inner = _Adds()
    alg = SequentialAlg(
        ("input.observation", EchoAlg(inner, TensorSpec((2,)))),
        lambda x: x[:, :1],
    )
    wrapper = RLAlgWrapper(
        OBSERVATION_SPEC,
        ACTION_SPEC,
        alg,
        env=CountingEnv(),
        config=make_config(),
        optimizer=SGD(lr=0.125),
    )
    wrapper.set_on_policy(False)
    wrapper.set_path("")
    assert inner.path == "0"
    for _ in range(3):
        wrapper.train_iter()
    # three iterations of two updates, of which the first had too few data; the loss is w^2
    num_updates = inner.seen.count("after_update")
    assert num_updates == 4
    assert inner.seen.count("after_train_iter") == 3
    assert 0.75**num_updates <= inner.w.item() < 1


def test_sub_algorithms_may_not_disagree_about_the_policy() -> None:
    on, off = _Adds(), _Adds()
    on.set_on_policy(True)
    off.set_on_policy(False)
    assert SequentialAlg(on).on_policy is True
    assert SequentialAlg(_Adds()).on_policy is None
    with pytest.raises(ValueError, match="all that are not None must be the same"):
        SequentialAlg(on, other=off)
    with pytest.raises(ValueError, match="is_on_policy is True"):
        SequentialAlg(off, is_on_policy=True)


def test_names_of_modules_are_checked() -> None:
    with pytest.raises(ValueError, match="no module can be named"):
        SequentialAlg(input=FC(2, 2))
    with pytest.raises(ValueError, match="needs at least one module"):
        SequentialAlg()
