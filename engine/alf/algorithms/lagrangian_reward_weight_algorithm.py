"""Reward weights as Lagrange multipliers: more weight for the rewards that are too low."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable, get_config_value
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils.averager import EMAverager

__all__ = [
    "AlgStep",
    "LagInfo",
    "LagrangianPredRewardWeightAlgorithm",
    "LagrangianRewardWeightAlgorithm",
    "LossInfo",
]

LagInfo = namedtuple("LagInfo", ["rollout_reward"], default_value=())


def _raw_reward(inputs: TimeStep) -> Tensor:
    """The reward before any transformation; without transformers that is the reward."""
    return (inputs if inputs.untransformed == () else inputs.untransformed).reward


def _inverse_softplus(weights: Tensor) -> Tensor:
    return torch.where(weights > 20, weights, weights.expm1().log())


_INVERSES: dict[Any, Callable[[Tensor], Tensor]] = {
    F.softplus: _inverse_softplus,
    torch.exp: torch.log,
}


@configurable
class LagrangianRewardWeightAlgorithm(Algorithm):
    """Adapts the weights of a vector reward to thresholds of its mean per step.

    After each training iteration one step of gradient descent lowers

        mean over steps of sum_d (reward[d] - threshold[d]) * weight[d]

    so that a weight falls while its reward is above the threshold and grows while it is below. The
    rewards are those of the rollout before any transformation; more is better. A weight belongs to
    the whole task: it does not depend on the state, and a threshold constrains no single step.
    """

    def __init__(
        self,
        reward_spec: TensorSpec,
        reward_thresholds: Sequence[float | None],
        optimizer: torch.optim.Optimizer,
        init_weights: float | Sequence[float] = 1.0,
        max_weight: float | None = None,
        reward_weight_normalization: bool = True,
        lambda_transform: Callable[[Tensor], Tensor] = F.softplus,
        debug_summaries: bool = False,
        name: str = "LagrangianRewardWeightAlgorithm",
    ) -> None:
        """Set the initial weights.

        Args:
            reward_spec: of rank 1.
            reward_thresholds: the wanted mean of each reward; None: its weight is not adapted.
            optimizer: must be without parameters; the algorithm uses its own copy.
            init_weights: of all rewards, or of each; positive.
            max_weight: upper bound of each weight, before normalization.
            reward_weight_normalization: divide the weights by their sum.
            lambda_transform: of the parameters into positive weights: ``F.softplus`` or
                ``torch.exp``.

        Raises:
            ValueError: the settings do not fit the reward, or are not allowed.
        """
        thresholds = list(reward_thresholds)
        num = reward_spec.numel
        if len(reward_spec.shape) != 1:
            raise ValueError(f"{name}.reward_spec is {reward_spec}; allowed: rank 1")
        if len(thresholds) != num:
            raise ValueError(
                f"{name}.reward_thresholds has {len(thresholds)} entries; allowed: {num}, one for "
                "each reward"
            )
        if lambda_transform not in _INVERSES:
            raise ValueError(
                f"{name}.lambda_transform is {lambda_transform}; allowed: "
                "torch.nn.functional.softplus, torch.exp"
            )
        weights = init_weights if isinstance(init_weights, Sequence) else [init_weights] * num
        if len(weights) != num or not all(0 < w < float("inf") for w in weights):
            raise ValueError(
                f"{name}.init_weights is {init_weights}; allowed: one positive number, or {num}"
            )
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(optimizer=optimizer, debug_summaries=debug_summaries, name=name)
        inverse = _INVERSES[lambda_transform]
        self._lambda_transform = lambda_transform
        self._normalizes = reward_weight_normalization
        self._lambdas = nn.Parameter(inverse(torch.tensor([float(w) for w in weights])))
        self.register_buffer(
            "_thresholds", torch.tensor([0.0 if t is None else float(t) for t in thresholds])
        )
        self.register_buffer("_is_adapted", torch.tensor([t is not None for t in thresholds]))
        self._max_lambda = (
            None if max_weight is None else float(inverse(torch.tensor(float(max_weight))))
        )

    _thresholds: Tensor
    _is_adapted: Tensor

    @property
    def reward_weights(self) -> Tensor:
        """The weights [n], without their graph."""
        weights = self._lambda_transform(self._lambdas.detach())
        return weights / weights.sum() if self._normalizes else weights

    def predict_step(self, inputs: TimeStep, state: Any = None) -> AlgStep:
        return AlgStep()

    def rollout_step(self, inputs: TimeStep, state: Any = None) -> AlgStep:
        return AlgStep(info=LagInfo(rollout_reward=_raw_reward(inputs)))

    def after_train_iter(self, root_inputs: Any, train_info: LagInfo | None) -> None:
        """One step of the weights.

        Args:
            train_info: rewards [T, B, n] of an unroll; None, if there was none: nothing is done.
        """
        if train_info is not None:
            self._train(train_info.rollout_reward)

    def _train(self, rewards: Tensor, share: Any = 1.0) -> None:
        """One step by rewards [..., n]; ``share`` scales the loss."""
        with torch.enable_grad():
            excess = rewards.detach().reshape(-1, rewards.shape[-1]).mean(0) - self._thresholds
            weights = self._lambda_transform(self._lambdas)
            loss = (excess * weights * self._is_adapted).sum() * share
            self.update_with_gradient(LossInfo(loss=loss))
        if self._max_lambda is not None:
            with torch.no_grad():
                self._lambdas.clamp_(max=self._max_lambda)
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                for i, weight in enumerate(self.reward_weights.unbind()):
                    summary.scalar(f"reward_weight/{i}", weight)
                    summary.scalar(f"excess/{i}", excess[i])


@configurable
class LagrangianPredRewardWeightAlgorithm(LagrangianRewardWeightAlgorithm):
    """Adapts the weights to the rewards of predict steps, which have no noise of exploration.

    Evaluation makes these steps, so it has to run in the process that trains. Their moving average
    stands for them until the next ones.
    """

    _has_rewards: Tensor

    def __init__(
        self,
        reward_spec: TensorSpec,
        reward_thresholds: Sequence[float | None],
        optimizer: torch.optim.Optimizer,
        init_weights: float | Sequence[float] = 1.0,
        max_weight: float | None = None,
        reward_weight_normalization: bool = True,
        pred_rewards_averager_ctor: Callable[..., Any] | None = partial(
            EMAverager, update_rate=1e-4
        ),
        debug_summaries: bool = False,
        name: str = "LagrangianPredRewardWeightAlgorithm",
    ) -> None:
        """As ``LagrangianRewardWeightAlgorithm``, and:

        Args:
            pred_rewards_averager_ctor: called with the ``reward_spec``; None is the default.

        Raises:
            ValueError: there is no evaluation, or it runs in another process.
        """
        super().__init__(
            reward_spec,
            reward_thresholds,
            optimizer,
            init_weights=init_weights,
            max_weight=max_weight,
            reward_weight_normalization=reward_weight_normalization,
            debug_summaries=debug_summaries,
            name=name,
        )
        for setting, wanted in (("evaluate", True), ("async_eval", False)):
            value = get_config_value(f"TrainerConfig.{setting}")
            if value != wanted:
                raise ValueError(
                    f"TrainerConfig.{setting} is {value}; {name} learns from evaluations in this "
                    f"process, allowed: {wanted}"
                )
        ctor = pred_rewards_averager_ctor or partial(EMAverager, update_rate=1e-4)
        self._averager = ctor(reward_spec)
        self.register_buffer("_has_rewards", torch.zeros(()))

    def predict_step(self, inputs: TimeStep, state: Any = None) -> AlgStep:
        self._averager.update(_raw_reward(inputs))
        self._has_rewards.fill_(1.0)
        return AlgStep()

    def rollout_step(self, inputs: TimeStep, state: Any = None) -> AlgStep:
        return AlgStep()

    def after_train_iter(self, root_inputs: Any, train_info: Any) -> None:
        """One step of the weights by the average; none before there is one."""
        self._train(self._averager.get(), self._has_rewards)
