"""Behavior cloning: the policy imitates the actions of offline data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.networks.actor_networks import ActorNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = [
    "AlgStep",
    "BcAlgorithm",
    "BcInfo",
    "BcLossInfo",
    "BcState",
    "LossInfo",
    "TimeStep",
]

BcState = namedtuple("BcState", ["actor"], default_value=())
BcInfo = namedtuple("BcInfo", ["actor"], default_value=())
BcLossInfo = namedtuple("LossInfo", ["actor"], default_value=())


@configurable
class BcAlgorithm(OffPolicyAlgorithm):
    """Maximizes the likelihood of the actions of offline data (Pomerleau 1988).

    Its data are the replay buffers of ``TrainerConfig.offline_buffer_dir``. It never learns from
    what it does itself: keep ``rl_train_after_update_steps`` above the number of iterations.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_cls: Callable[..., Network] = ActorNetwork,
        actor_optimizer: torch.optim.Optimizer | None = None,
        env: Any = None,
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        epsilon_greedy: float | None = None,
        name: str = "BcAlgorithm",
    ) -> None:
        """Build the policy.

        Args:
            reward_spec: not used.
            actor_network_cls: called with ``input_tensor_spec`` and ``action_spec``; gives
                distributions, trained by ``-log pi(a|s)``, or actions, trained by half their
                squared error (the same for a normal distribution of deviation 1).
            actor_optimizer: must be without parameters; each algorithm uses its own copy. None
                leaves the policy to the ``optimizer`` of a parent.
            epsilon_greedy: share of the steps of ``predict_step`` with a sample instead of the
                mode; None takes ``TrainerConfig.epsilon_greedy``.
        """
        if epsilon_greedy is None:
            epsilon_greedy = get_epsilon_greedy(config)
        (actor_optimizer,) = own_optimizers(actor_optimizer)
        actor_network = actor_network_cls(
            input_tensor_spec=observation_spec, action_spec=action_spec
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
        self._actor_network = actor_network
        if actor_optimizer is not None:
            self.add_optimizer(actor_optimizer, [actor_network])

    def predict_step(self, inputs: TimeStep, state: BcState) -> AlgStep:
        policy, actor = self._actor_network(inputs.observation, state.actor)
        action = greedy_action(policy, self._epsilon_greedy)
        return AlgStep(output=action, state=BcState(actor=actor))

    def rollout_step(self, inputs: TimeStep, state: BcState) -> AlgStep:
        raise offline_only(self)

    def train_step_offline(
        self, inputs: TimeStep, state: BcState, rollout_info: Any, pre_train: bool = False
    ) -> AlgStep:
        """The loss [B] of the data's action, which is the output."""
        policy, actor = self._actor_network(inputs.observation, state.actor)
        action = rollout_info.action
        losses = nest.map_structure(_imitation_loss, policy, action)
        loss = torch.stack(nest.flatten(losses)).sum(0)
        info = BcInfo(actor=LossInfo(loss=loss, extra=BcLossInfo(actor=loss)))
        return AlgStep(output=action, state=BcState(actor=actor), info=info)

    def calc_loss_offline(self, info: BcInfo, pre_train: bool = False) -> LossInfo:
        return LossInfo(loss=info.actor.loss, extra=BcLossInfo(actor=info.actor.extra))


def offline_only(alg: OffPolicyAlgorithm) -> ValueError:
    """The error of an algorithm that is to learn from what it does."""
    return ValueError(
        f"{alg.name} learns from offline data alone: set TrainerConfig.offline_buffer_dir, and "
        "rl_train_after_update_steps above the number of iterations"
    )


def greedy_action(policy: Any, epsilon_greedy: float) -> Any:
    """The modes of distributions, sampled in a share of the rows; actions as they are."""
    if isinstance(nest.flatten(policy)[0], td.Distribution):
        return dist_utils.epsilon_greedy_sample(policy, epsilon_greedy)
    return policy


def _imitation_loss(policy: td.Distribution | Tensor, action: Tensor) -> Tensor:
    """The loss [B] of imitating actions [B, ...]."""
    if isinstance(policy, td.Distribution):
        return -policy.log_prob(action)
    return 0.5 * (policy - action).square().flatten(1).sum(1)
