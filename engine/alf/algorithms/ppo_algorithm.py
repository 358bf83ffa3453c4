"""Proximal policy optimization (arXiv:1707.06347)."""

from __future__ import annotations

from typing import Any

import torch

from alf.algorithms.actor_critic_algorithm import (
    ActorCriticAlgorithm,
    ActorCriticInfo,
    ActorCriticState,
)
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.ppo_loss import PPOLoss
from alf.config_util import configurable
from alf.data_structures import AlgStep, TimeStep, namedtuple

__all__ = ["PPOAlgorithm", "PPOInfo", "PPOLoss"]

PPOInfo = namedtuple(
    "PPOInfo",
    [
        "step_type",
        "discount",
        "reward",
        "action",
        "rollout_log_prob",
        "rollout_action_distribution",
        "returns",
        "advantages",
        "action_distribution",
        "value",
        "reward_weights",
    ],
    default_value=(),
)

# What a loss needs that computes advantages by itself.
_PPOInfoWithValue = namedtuple(
    "PPOInfoWithValue", [*PPOInfo._fields, "rollout_value"], default_value=()
)


@configurable
class PPOAlgorithm(ActorCriticAlgorithm):
    """Several epochs of mini batches on each unroll, by the clipped surrogate objective.

    Give ``loss_class=PPOLoss``, and train with ``TrainerConfig.whole_replay_buffer_training`` and
    ``clear_replay_buffer`` (their defaults): ``num_updates_per_train_iter`` is the number of
    epochs, ``mini_batch_length`` may be 1.

    The newest step of each environment has no successor yet: its advantage is 0 and its return the
    value of the rollout, so that it learns nothing but from normalized advantages and the entropy.
    The buffer keeps it for the next iteration, where its outcome is known.
    """

    @property
    def on_policy(self) -> bool | None:
        return False

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: ActorCriticInfo, batch_info: Any
    ) -> tuple[TimeStep, PPOInfo]:
        """Returns and advantages [B, T] by the values of the rollout.

        Raises:
            ValueError: the loss is not one for several updates from the same data.
        """
        if type(self._loss) is ActorCriticLoss:
            raise ValueError(
                f"{self.name} cannot train with ActorCriticLoss, which takes its data for the "
                "present policy's; give loss_class=PPOLoss."
            )
        info = PPOInfo(
            action=rollout_info.action,
            rollout_log_prob=rollout_info.log_prob,
            rollout_action_distribution=rollout_info.action_distribution,
            reward_weights=rollout_info.reward_weights,
        )
        if getattr(self._loss, "_compute_advantages_internally", False):
            info = _PPOInfoWithValue(**info._asdict(), rollout_value=rollout_info.value)
        else:
            returns, advantages = self._returns_and_advantages(root_inputs, rollout_info)
            info = info._replace(returns=returns, advantages=advantages)
        return root_inputs, info

    @torch.no_grad()
    def _returns_and_advantages(
        self, inputs: TimeStep, rollout_info: ActorCriticInfo
    ) -> tuple[Any, Any]:
        """By the settings of the loss."""
        rows = (inputs.reward, inputs.step_type, inputs.discount, rollout_info.value)
        reward, step_type, discount, value = (x.transpose(0, 1) for x in rows)
        info = ActorCriticInfo(reward=reward, step_type=step_type, discount=discount)
        returns, advantages = ActorCriticLoss._returns_and_advantages(self._loss, info, value)
        return returns.transpose(0, 1), advantages.transpose(0, 1)

    def train_step(
        self, inputs: TimeStep, state: ActorCriticState, rollout_info: PPOInfo
    ) -> AlgStep:
        distribution, actor_state = self._actor_network(inputs.observation, state.actor)
        value, value_state = self._value_network(inputs.observation, state.value)
        info = rollout_info._replace(
            step_type=inputs.step_type,
            discount=inputs.discount,
            reward=inputs.reward,
            action_distribution=distribution,
            value=value,
        )
        state = ActorCriticState(actor=actor_state, value=value_state)
        return AlgStep(output=rollout_info.action, state=state, info=info)
