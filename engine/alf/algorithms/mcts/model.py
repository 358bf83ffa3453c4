"""The interface of models that trees are searched with, and the loss they learn by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.algorithms.mcts.tuples import ModelOutput, ModelState, ModelTarget
from alf.config_util import configurable
from alf.data_structures import LossInfo
from alf.nest import nest
from alf.networks.network import Network
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils
from alf.utils._policy_state import expand_dims_as
from alf.utils.losses import MeanSquaredLoss, ScalarPredictionLoss, SquareLoss
from alf.utils.spec_utils import zeros_from_spec

PUBLIC_MODULE = "alf.algorithms.mcts_models"  # under which these names are configured


@dataclasses.dataclass(frozen=True)
class _Weights:
    value: float
    reward: float
    policy: float
    game_over: float
    repr_prediction: float
    initial: float | None


@configurable
class MCTSModel(nn.Module):
    """A latent model: representation, dynamics, prediction (MuZero, section 3, arXiv:1911.08265).

    All rewards and values are those of player 0.

    Args:
        num_unroll_steps: R, steps that are unrolled in training.
        representation_net: from observation to latent state.
        dynamics_net: from a pair of latent state and action to the next latent state.
        prediction_net: from latent state to ``(value, reward, action_distribution,
            game_over_logit)``; may be recurrent.
        train_reward_function: whether rewards are predicted.
        train_game_over_function: whether the end of the game is predicted.
        train_repr_prediction: also learn to predict the latent states of later observations.
        train_policy: whether a policy is learnt; a search needs one.
        predict_reward_sum: predict the sum of rewards since the observation, not each one. That of
            the observation itself is part of it if it is to be predicted and sums are not reset.
        value_loss_weight: and the next four: weights of the parts of the loss.
        initial_alpha: weight of the policy's entropy at first; ``policy_loss_weight`` does not
            count for it.
        reward_loss: how ``reward`` of the prediction is understood and learnt.
        value_loss: the same for ``value``.
        repr_loss: of predicted and true latent states [B, R + 1, ...], gives [B, R + 1]; may have
            parameters.
        target_entropy: adjust alpha so that the entropy is no less; None: alpha stays.
        alpha_adjust_rate: how much alpha grows in an update per missing entropy.
        initial_loss_weight: weight of the loss at the first step; all others have 1 / R. None: it
            too.
        predict_initial_reward: whether the reward before the first step is to be predicted.
        reset_reward_sum_period: start the sum anew, and the prediction network's state, after so
            many steps; 0: never.
        apply_beyond_episode_end_mask: steps behind the end of an episode do not count for the
            prediction of latent states.
        apply_partial_trajectory_mask: steps behind the end of an unfinished episode do not count.
            Without it they are learnt like the last one.
        debug_summaries: write more summaries.
        name: name of the model.
    """

    _alpha: Tensor

    def __init__(
        self,
        num_unroll_steps: int,
        representation_net: Network,
        dynamics_net: Network,
        prediction_net: Network,
        train_reward_function: bool,
        train_game_over_function: bool,
        train_repr_prediction: bool = False,
        train_policy: bool = True,
        predict_reward_sum: bool = False,
        value_loss_weight: float = 1.0,
        reward_loss_weight: float = 1.0,
        policy_loss_weight: float = 1.0,
        game_over_loss_weight: float = 1.0,
        repr_prediction_loss_weight: float = 1.0,
        initial_alpha: float = 0.0,
        reward_loss: ScalarPredictionLoss = SquareLoss(),
        value_loss: ScalarPredictionLoss = SquareLoss(),
        repr_loss: Callable = MeanSquaredLoss(batch_dims=2),
        target_entropy: float | None = None,
        alpha_adjust_rate: float = 0.001,
        initial_loss_weight: float | None = 1,
        predict_initial_reward: bool = True,
        reset_reward_sum_period: int = 0,
        apply_beyond_episode_end_mask: bool = False,
        apply_partial_trajectory_mask: bool = False,
        debug_summaries: bool = False,
        name: str = "MCTSModel",
    ) -> None:
        super().__init__()
        if predict_reward_sum and not train_reward_function:
            raise ValueError("predict_reward_sum=True needs train_reward_function=True")
        self._num_unroll_steps = num_unroll_steps
        self._representation_net = representation_net
        self._dynamics_net = dynamics_net
        self._prediction_net = prediction_net
        self._train_reward_function = train_reward_function
        self._train_game_over_function = train_game_over_function
        self._train_repr_prediction = train_repr_prediction
        self._train_policy = train_policy
        self._predict_reward_sum = predict_reward_sum
        self._weights = _Weights(
            value_loss_weight,
            reward_loss_weight,
            policy_loss_weight,
            game_over_loss_weight,
            repr_prediction_loss_weight,
            initial_loss_weight,
        )
        self._reward_loss = reward_loss
        self._value_loss = value_loss
        self._repr_loss = repr_loss
        self._target_entropy = target_entropy
        # Without a target alpha stays as it is.
        self._has_entropy_term = target_entropy is not None or initial_alpha != 0
        self._alpha_adjust_rate = alpha_adjust_rate
        self._predict_initial_reward = predict_initial_reward
        self._reset_reward_sum_period = reset_reward_sum_period
        self._apply_beyond_episode_end_mask = apply_beyond_episode_end_mask
        self._apply_partial_trajectory_mask = apply_partial_trajectory_mask
        self._debug_summaries = debug_summaries
        self._name = name
        self.register_buffer("_alpha", torch.tensor(float(initial_alpha)))

    @property
    def pred_state_spec(self) -> Any:
        """Nest of specs of the state of the prediction network."""
        return self._prediction_net.state_spec

    @property
    def repr_spec(self) -> TensorSpec:
        """Spec of the latent state."""
        return self._representation_net.output_spec

    # ---- acting in the mind ---------------------------------------------------------------------

    def initial_representation(self, observation: Any) -> Tensor:
        """The latent state [B, ...] of an observation."""
        return self._representation_net(observation)[0]

    def initial_predict(self, latent: Tensor, pred_state: Any = ()) -> ModelOutput:
        """What the model says of the latent state of an observation.

        Args:
            latent: [B, ...].
            pred_state: ``state.pred_state`` of the observation before; (): zeros.
        """
        B = latent.shape[0]
        if not nest.flatten(pred_state):
            pred_state = zeros_from_spec(self.pred_state_spec, B)
        output = self.prediction_model(latent, pred_state)
        prev_sum = ()
        if self._predict_reward_sum:  # a sum, also where the latent state has half precision
            prev_sum = latent.new_zeros(B, dtype=torch.float32)
            if self._predict_initial_reward:  # then the first of the predicted sums
                prev_sum = prev_sum + output.reward
        step = torch.zeros(B, dtype=torch.int64, device=latent.device)
        return output._replace(
            state=output.state._replace(step=step, prev_reward_sum=prev_sum),
        )

    def initial_inference(self, observation: Any) -> ModelOutput:
        """What the model says of an observation."""
        return self.initial_predict(self.initial_representation(observation))

    def recurrent_inference(self, state: ModelState, action: Any) -> ModelOutput:
        """What the model says of the state after ``action`` in ``state``."""
        latent = self._dynamics_net((state.state, action))[0]
        pred_state, prev_sum = state.pred_state, state.prev_reward_sum
        if self._reset_reward_sum_period > 0:
            goes_on = state.step % self._reset_reward_sum_period != 0
            pred_state, prev_sum = nest.map_structure(
                lambda x: x * expand_dims_as(goes_on, x).to(x.dtype), (pred_state, prev_sum)
            )
        output = self.prediction_model(latent, pred_state)
        if self._predict_reward_sum:
            total = output.reward
            output = output._replace(reward=total - prev_sum)
            prev_sum = total
        state = output.state._replace(step=state.step + 1, prev_reward_sum=prev_sum)
        return output._replace(state=state)

    def prediction_model(self, dyn_state: Tensor, pred_state: Any) -> ModelOutput:
        """What the model says of a latent state.

        A subclass gives ``value``, ``value_pred``, ``action_probs``, ``action_distribution``,
        ``state`` with ``state`` and ``pred_state``; what is predicted of ``reward``,
        ``reward_pred``, ``game_over``, ``game_over_logit``; and ``actions`` if they are sampled.
        """
        raise NotImplementedError(f"{type(self).__name__}.prediction_model()")

    # ---- learning -------------------------------------------------------------------------------

    def calc_loss(self, model_output: ModelOutput, target: ModelTarget) -> LossInfo:
        """The loss [B] of what was said at R + 1 steps.

        Args:
            model_output: [B, R + 1, ...], of a model in training mode.
            target: see `ModelTarget`.

        Returns:
            Its ``extra`` has the sums [B] of ``value``, ``reward``, ``policy``, ``game_over`` and
            ``repr_prediction``, () for what is not learnt, before their weights and the entropy's;
            and ``td_error`` [B], the absolute error of the first value.

        Raises:
            ValueError: the output is that of a model in evaluation mode.
        """
        if isinstance(model_output.value_pred, tuple):
            raise ValueError(
                f"{self._name}.calc_loss() needs value_pred, which models in evaluation mode do "
                "not give; call train() before"
            )
        B, steps = target.value.shape
        w = self._weights
        weight = self._step_weights(steps, target.value)
        if self._apply_partial_trajectory_mask:
            unknown = target.is_partial_trajectory.unsqueeze(1) & target.beyond_episode_end
            weight = weight * (~unknown).to(weight.dtype)
        losses = {
            "value": self._scalar_loss(self._value_loss, model_output.value_pred, target.value)
        }
        scales = {"value": w.value}
        if self._train_reward_function:
            losses["reward"] = self._reward_losses(model_output, target)
            scales["reward"] = w.reward
        if self._train_policy:
            losses["policy"] = self._policy_losses(model_output, target)
            scales["policy"] = w.policy
        if self._train_game_over_function:
            losses["game_over"] = F.binary_cross_entropy_with_logits(
                model_output.game_over_logit,
                target.game_over.to(model_output.game_over_logit.dtype),
                reduction="none",
            )
            scales["game_over"] = w.game_over
        if self._train_repr_prediction:
            losses["repr_prediction"] = self._repr_losses(model_output, target)
            scales["repr_prediction"] = w.repr_prediction
        assert all(x.shape == (B, steps) for x in losses.values())
        sums = {name: (x * weight).sum(dim=1) for name, x in losses.items()}
        loss = sum(scales[name] * x for name, x in sums.items())
        if self._train_policy and self._has_entropy_term:
            loss = loss + (self._entropy_losses(model_output) * weight).sum(dim=1)
        extra = dict.fromkeys(("value", "reward", "policy", "game_over", "repr_prediction"), ())
        extra |= {name: x.detach() for name, x in sums.items()}
        extra["td_error"] = self._td_errors(model_output, target)
        return LossInfo(loss=loss, extra=extra)

    @torch.no_grad()
    def _td_errors(self, model_output: ModelOutput, target: ModelTarget) -> Tensor:
        """Absolute errors [B] of the values of the first steps."""
        value = self._value_loss.calc_expectation(model_output.value_pred[:, 0])
        return (value - target.value[:, 0]).abs()

    def _step_weights(self, steps: int, like: Tensor) -> Tensor:
        rest = 1 / max(steps - 1, 1)
        weight = like.new_full((steps,), rest)
        weight[0] = rest if self._weights.initial is None else self._weights.initial
        return weight

    @staticmethod
    def _scalar_loss(loss: ScalarPredictionLoss, pred: Tensor, target: Tensor) -> Tensor:
        return loss(pred.flatten(0, 1), target.flatten()).unflatten(0, target.shape)

    def _reward_losses(self, model_output: ModelOutput, target: ModelTarget) -> Tensor:
        reward = target.reward
        if self._predict_reward_sum:
            reward = self._reward_sums(reward)
        loss = self._scalar_loss(self._reward_loss, model_output.reward_pred, reward)
        if not self._predict_initial_reward:
            loss = torch.cat([torch.zeros_like(loss[:, :1]), loss[:, 1:]], dim=1)
        return loss

    def _reward_sums(self, reward: Tensor) -> Tensor:
        """Sums [B, R + 1] of the rewards so far, as they are predicted."""
        period = self._reset_reward_sum_period
        if period == 0 and self._predict_initial_reward:
            return reward.cumsum(dim=1)
        total = reward[:, 1:].cumsum(dim=1)
        if period > 0:
            index = torch.arange(total.shape[1], device=total.device)
            before = torch.cat([torch.zeros_like(total[:, :1]), total], dim=1)
            total = total - before[:, index // period * period]
        return torch.cat([reward[:, :1], total], dim=1)

    def _policy_losses(self, model_output: ModelOutput, target: ModelTarget) -> Tensor:
        policy = target.action_policy
        distribution = model_output.action_distribution
        if nest.flatten(target.action):
            # Candidates first: [K, B, R + 1, ...]
            action = nest.map_structure(lambda x: x.movedim(2, 0), target.action)
            log_prob = dist_utils.compute_log_probability(distribution, action).movedim(0, 2)
        else:
            log_prob = distribution.logits.log_softmax(dim=-1)
        # What cannot happen has no part in the loss, however improbable it is to the model.
        loss = -torch.where(policy > 0, policy * log_prob, 0.0).sum(dim=2)
        if self._train_game_over_function:
            loss = loss * (~target.game_over).to(loss.dtype)
        return loss

    def _entropy_losses(self, model_output: ModelOutput) -> Tensor:
        """Minus alpha times the entropy of the policy, [B, R + 1]; adjusts alpha."""
        entropy = dist_utils.entropy_with_fallback(model_output.action_distribution)[0]
        if self._target_entropy is not None and torch.is_grad_enabled():
            missing = self._target_entropy - entropy.detach().mean()
            self._alpha.add_(self._alpha_adjust_rate * missing).clamp_(min=0)
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                summary.scalar("alpha", self._alpha)
                summary.scalar("entropy", entropy.mean())
        return -self._alpha.clone() * entropy

    def _repr_losses(self, model_output: ModelOutput, target: ModelTarget) -> Tensor:
        B, steps = target.value.shape
        observation = nest.map_structure(lambda x: x.flatten(0, 1), target.observation)
        with torch.no_grad():
            truth = self.initial_representation(observation).unflatten(0, (B, steps))
        loss = self.calc_repr_prediction_loss(model_output.state.state, truth)
        mask = torch.ones_like(target.value)
        mask[:, 0] = 0  # where nothing is predicted yet
        if self._apply_beyond_episode_end_mask:
            mask = mask * (~target.beyond_episode_end).to(mask.dtype)
        return loss * mask

    def calc_repr_prediction_loss(self, repr: Tensor, target_repr: Tensor) -> Tensor:
        """Loss [B, R + 1] of predicted latent states [B, R + 1, ...]."""
        loss = self._repr_loss(repr, target_repr)
        return loss.loss if isinstance(loss, LossInfo) else loss
