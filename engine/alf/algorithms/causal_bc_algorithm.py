"""Causal behavior cloning: imitation where noise that lasts has moved the expert's actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from alf.algorithms.bc_algorithm import greedy_action, offline_only
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.networks.actor_networks import ActorNetwork
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils
from alf.utils._run_numbers import get_epsilon_greedy
from alf.utils.tensor_utils import tensor_extend_zero

__all__ = [
    "AlgStep",
    "BcInfo",
    "BcLossInfo",
    "BcState",
    "CausalBcAlgorithm",
    "LossInfo",
    "TimeStep",
]

BcState = namedtuple("BcState", ["actor"], default_value=())

BcInfo = namedtuple("BcInfo", ["actor", "discriminator", "target"], default_value=())
BcInfo.__doc__ = """What is learnt from.

Fields:
    actor: [B, A], the policy's action.
    discriminator: [B, A].
    target: [B, A], the data's action.
"""

BcLossInfo = namedtuple("LossInfo", ["actor", "discriminator"], default_value=())


@configurable
class CausalBcAlgorithm(OffPolicyAlgorithm):
    """ResiduIL: imitation with the observation of the step before as an instrument.

    Where the noise in an expert's actions is correlated in time, the state holds the last noise,
    and behavior cloning learns to repeat it. The observation before it is free of that: a
    discriminator f, which sees only it, looks for what the policy's error has in common with it
    (Swamy et al. 2022, "Causal Imitation Learning under Temporally Correlated Noise", section 4.2).
    With e[t] = a[t] - pi(s[t]):

        min_pi max_f E[2 e[t] f(s[t-1]) - f(s[t-1])^2]

    Its data are the replay buffers of ``TrainerConfig.offline_buffer_dir``, in sequences of at
    least two steps (``mini_batch_length``). It never learns from what it does itself: keep
    ``rl_train_after_update_steps`` above the number of iterations.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_cls: Callable[..., Network] = ActorNetwork,
        discriminator_network_cls: Callable[..., Network] = EncodingNetwork,
        actor_optimizer: torch.optim.Optimizer | None = None,
        discriminator_optimizer: torch.optim.Optimizer | None = None,
        f_norm_penalty_weight: float = 1e-3,
        bc_regulatization_weight: float = 5e-2,
        env: Any = None,
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        epsilon_greedy: float | None = None,
        name: str = "CausalBcAlgorithm",
    ) -> None:
        """Build policy and discriminator.

        Args:
            action_spec: one continuous action of rank 1.
            reward_spec: not used.
            actor_network_cls: called with ``input_tensor_spec`` and ``action_spec``; gives
                actions, or distributions of whom the mode is trained.
            discriminator_network_cls: called with ``input_tensor_spec``; its output has the shape
                of the action.
            actor_optimizer: must be without parameters; each algorithm uses its own copy. The same
                holds for the other one. None leaves that part to the ``optimizer`` of a parent.
            f_norm_penalty_weight: weight of the norm of the discriminator's output.
            bc_regulatization_weight: weight of the squared error of behavior cloning.
            epsilon_greedy: share of the steps of ``predict_step`` with a sample instead of the
                mode; None takes ``TrainerConfig.epsilon_greedy``.

        Raises:
            ValueError: the action is nested, discrete or not of rank 1, or the discriminator's
                output is not like it.
        """
        if nest.is_nested(action_spec) or action_spec.is_discrete or action_spec.ndim != 1:
            raise ValueError(f"{name} needs one continuous action of rank 1, got {action_spec}.")
        if epsilon_greedy is None:
            epsilon_greedy = get_epsilon_greedy(config)
        actor_optimizer, discriminator_optimizer = own_optimizers(
            actor_optimizer, discriminator_optimizer
        )
        actor_network = actor_network_cls(
            input_tensor_spec=observation_spec, action_spec=action_spec
        )
        discriminator_network = discriminator_network_cls(input_tensor_spec=observation_spec)
        found = discriminator_network.output_spec
        if tuple(found.shape) != tuple(action_spec.shape):
            raise ValueError(
                f"{name}: the output of the discriminator has the shape {tuple(found.shape)}, it "
                f"must be that of the action, {tuple(action_spec.shape)}"
            )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=BcState(actor=actor_network.state_spec),
            reward_spec=reward_spec,
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._epsilon_greedy = epsilon_greedy
        self._f_norm_penalty_weight = f_norm_penalty_weight
        self._bc_regularization_weight = bc_regulatization_weight
        self._actor_network = actor_network
        self._discriminator_network = discriminator_network
        if actor_optimizer is not None:
            self.add_optimizer(actor_optimizer, [actor_network])
        if discriminator_optimizer is not None:
            self.add_optimizer(discriminator_optimizer, [discriminator_network])

    def predict_step(self, inputs: TimeStep, state: BcState) -> AlgStep:
        policy, actor = self._actor_network(inputs.observation, state.actor)
        action = greedy_action(policy, self._epsilon_greedy)
        return AlgStep(output=action, state=BcState(actor=actor))

    def rollout_step(self, inputs: TimeStep, state: BcState) -> AlgStep:
        raise offline_only(self)

    def train_step_offline(
        self, inputs: TimeStep, state: BcState, rollout_info: Any, pre_train: bool = False
    ) -> AlgStep:
        """The policy's action, the discriminator and the data's action, which is the output."""
        policy, actor = self._actor_network(inputs.observation, state.actor)
        if isinstance(policy, td.Distribution):
            policy = dist_utils.get_rmode(policy)
        discriminator, _ = self._discriminator_network(inputs.observation)
        target = rollout_info.action
        info = BcInfo(actor=policy, discriminator=discriminator, target=target)
        return AlgStep(output=target, state=BcState(actor=actor), info=info)

    def residuIL_loss(
        self, targets: Tensor, predictions: Tensor, pred_residuals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The losses [T, B] of policy and discriminator; steps and discriminators are paired.

        Args:
            targets: a, [T, B, A].
            predictions: pi(s), [T, B, A].
            pred_residuals: f of the steps before, [T, B, A].
        """
        error = targets - predictions
        actor = (2 * error * pred_residuals.detach()).mean(-1)
        actor = actor + self._bc_regularization_weight * error.square().mean(-1)
        gain = (2 * error.detach() * pred_residuals - pred_residuals.square()).mean(-1)
        return actor, self._f_norm_penalty_weight * pred_residuals.norm() - gain

    def calc_loss_offline(self, info: BcInfo, pre_train: bool = False) -> LossInfo:
        """The losses [T, B]; the last row, whose next step is not there, is 0."""
        if len(info.target) < 2:
            raise ValueError(
                f"{self.name} learns from two steps that follow each other: it needs "
                "TrainerConfig.mini_batch_length of at least 2"
            )
        losses = self.residuIL_loss(info.target[1:], info.actor[1:], info.discriminator[:-1])
        actor, discriminator = map(tensor_extend_zero, losses)
        return LossInfo(
            loss=actor + discriminator,
            extra=BcLossInfo(actor=actor, discriminator=discriminator),
        )
