"""Models that trees are searched with: latent states, their rewards, values and policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.algorithms.mcts.model import MCTSModel
from alf.algorithms.mcts.nets import (
    SimplePredictionNet,
    create_simple_dynamics_net,
    create_simple_encoding_net,
    create_simple_prediction_net,
    get_unique_num_actions,
)
from alf.algorithms.mcts.tuples import ModelOutput, ModelState, ModelTarget
from alf.config_util import configurable
from alf.data_structures import LossInfo
from alf.layers import FC
from alf.nest import nest
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec

__all__ = [
    "LossInfo",
    "MCTSModel",
    "ModelOutput",
    "ModelState",
    "ModelTarget",
    "SimpleMCTSModel",
    "SimplePredictionNet",
    "create_simple_dynamics_net",
    "create_simple_encoding_net",
    "create_simple_prediction_net",
    "get_unique_num_actions",
]


class _Consistency(nn.Module):
    """Minus the cosine between predicted and true latent states (Ye et al., arXiv:2111.00210).

    Args:
        size: of the latent state.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._projection = nn.Sequential(FC(size, size, activation=torch.relu_), FC(size, size))
        self._prediction = nn.Sequential(FC(size, size, activation=torch.relu_), FC(size, size))

    def forward(self, predicted: Tensor, truth: Tensor) -> Tensor:
        x = self._prediction(self._projection(predicted.flatten(2)))
        with torch.no_grad():
            y = self._projection(truth.flatten(2))
        return -F.cosine_similarity(x, y, dim=-1)


@configurable
class SimpleMCTSModel(MCTSModel):
    """A model of three simple networks.

    Other settings of `MCTSModel` are configured under that name. In evaluation mode outputs lack
    ``value_pred`` and ``reward_pred``, which only the loss needs.

    Args:
        observation_spec: of the observations.
        action_spec: of the actions.
        num_unroll_steps: see `MCTSModel`.
        num_sampled_actions: K, candidates of each state. Of a discrete scalar action the most
            probable ones, fewer than there are; of others samples, all as probable (Hubert et al.
            2021, "Learning and planning in complex action spaces", arXiv:2104.06303, with the
            policy itself as proposal). None: all values of a discrete scalar action.
        encoding_net_ctor: called with the observation spec.
        dynamics_net_ctor: called with ``(latent_spec, action_spec)``.
        prediction_net_ctor: called with latent spec and action spec.
        game_over_logit_thresh: the game is over where the logit is greater.
        initial_alpha: see `MCTSModel`, as are the others.
        train_repr_prediction: learn to predict the latent states of later observations, by minus
            the cosine between ``prediction(projection(x))`` and ``projection(y)``.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        num_unroll_steps: int,
        num_sampled_actions: int | None = None,
        encoding_net_ctor: Callable[..., Network] = create_simple_encoding_net,
        dynamics_net_ctor: Callable[..., Network] = create_simple_dynamics_net,
        prediction_net_ctor: Callable[..., Network] = create_simple_prediction_net,
        game_over_logit_thresh: float = 1.0,
        initial_alpha: float = 0.0,
        target_entropy: float | None = None,
        alpha_adjust_rate: float = 0.001,
        train_reward_function: bool = True,
        train_game_over_function: bool = True,
        train_policy: bool = True,
        train_repr_prediction: bool = False,
        debug_summaries: bool = False,
        name: str = "SimpleMCTSModel",
    ) -> None:
        is_scalar = isinstance(action_spec, TensorSpec) and (
            action_spec.is_discrete and action_spec.ndim == 0
        )
        if num_sampled_actions is None and not is_scalar:
            raise ValueError(
                f"num_sampled_actions is None, which needs one discrete scalar action; the "
                f"action_spec is {action_spec}"
            )
        if is_scalar and num_sampled_actions is not None:
            count = get_unique_num_actions(action_spec)
            if num_sampled_actions >= count:
                raise ValueError(
                    f"num_sampled_actions is {num_sampled_actions}; of {count} discrete actions at "
                    f"most {count - 1} can be sampled, None takes all"
                )
        representation_net = encoding_net_ctor(observation_spec)
        latent_spec = representation_net.output_spec
        more = {}
        if train_repr_prediction:
            more["repr_loss"] = _Consistency(latent_spec.numel)
        super().__init__(
            num_unroll_steps,
            representation_net,
            dynamics_net_ctor((latent_spec, action_spec)),
            prediction_net_ctor(latent_spec, action_spec),
            train_reward_function=train_reward_function,
            train_game_over_function=train_game_over_function,
            train_repr_prediction=train_repr_prediction,
            train_policy=train_policy,
            initial_alpha=initial_alpha,
            target_entropy=target_entropy,
            alpha_adjust_rate=alpha_adjust_rate,
            debug_summaries=debug_summaries,
            name=name,
            **more,
        )
        self._num_sampled_actions = num_sampled_actions
        self._is_scalar = is_scalar
        self._game_over_logit_thresh = game_over_logit_thresh

    @property
    def repr_spec(self) -> TensorSpec:
        return super().repr_spec

    def prediction_model(self, dyn_state: Tensor, pred_state: Any) -> ModelOutput:
        (value, reward, policy, logit), pred_state = self._prediction_net(dyn_state, pred_state)
        output = ModelOutput(
            value=self._value_loss.calc_expectation(value),
            state=ModelState(state=dyn_state, pred_state=pred_state),
            action_distribution=policy,
            value_pred=value if self.training else (),
        )
        if self._train_reward_function:
            output = output._replace(
                reward=self._reward_loss.calc_expectation(reward),
                reward_pred=reward if self.training else (),
            )
        if self._train_game_over_function:
            output = output._replace(
                game_over=logit > self._game_over_logit_thresh, game_over_logit=logit
            )
        if self._train_policy:
            actions, probs = self._candidates(policy)
            output = output._replace(actions=actions, action_probs=probs)
        return output

    @torch.no_grad()
    def _candidates(self, policy: Any) -> tuple[Any, Tensor]:
        """Actions [B, K, ...], () for all, and their prior probabilities [B, K]."""
        K = self._num_sampled_actions
        if self._is_scalar:
            probs = policy.logits.softmax(dim=1)
            if K is None:
                return (), probs
            probs, actions = probs.topk(K, dim=1)
            return actions, probs / probs.sum(dim=1, keepdim=True)
        actions = nest.map_structure(lambda dist: dist.sample((K,)).movedim(0, 1), policy)
        like = nest.flatten(actions)[0]
        return actions, torch.full(like.shape[:2], 1 / like.shape[1], device=like.device)
