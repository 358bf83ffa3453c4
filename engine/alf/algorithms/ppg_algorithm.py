"""Phasic policy gradient (arXiv:2009.04416)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.ppg.disjoint_policy_value_network import DisjointPolicyValueNetwork
from alf.algorithms.ppg.ppg_aux_algorithm import PPGAuxAlgorithm, PPGAuxOptions
from alf.algorithms.ppg.ppg_utils import (
    PPGRolloutInfo,
    PPGTrainInfo,
    evaluate,
    ppg_network_forward,
)
from alf.algorithms.ppo_loss import PPOLoss
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, make_experience
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = ["AlgStep", "LossInfo", "PPGAlgorithm", "TimeStep"]


@configurable
class PPGAlgorithm(OffPolicyAlgorithm):
    """PPO in two phases.

    * Policy phase, each iteration: PPO's loss, by ``policy_optimizer``. Advantages are computed in
      the loss: configure ``PPOLoss.compute_advantages_internally=True``, and sequences
      (``TrainerConfig.mini_batch_length``) of more than one step; None is whole unrolls.
    * Auxiliary phase, every ``aux_options.interval`` iterations: the value's targets are learned by
      the value and by an auxiliary value on the policy's encoder, while the policy stays where it
      is; from all steps since the last auxiliary phase, by ``aux_optimizer``.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        env: Any = None,
        config: TrainerConfig | None = None,
        aux_options: Any = PPGAuxOptions(),
        encoding_network_ctor: Callable[..., Network] = EncodingNetwork,
        policy_optimizer: torch.optim.Optimizer | None = None,
        aux_optimizer: torch.optim.Optimizer | None = None,
        epsilon_greedy: float | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "PPGAlgorithm",
    ) -> None:
        """Build the network of both phases.

        Args:
            reward_spec: rank 0.
            config: None makes an algorithm that can act but not learn.
            aux_options: how the auxiliary phase trains, see ``PPGAuxAlgorithm``.
            encoding_network_ctor: called with ``input_tensor_spec``, once for the policy and once
                for the value.
            policy_optimizer: must be without parameters; the algorithm uses its own copy.
            aux_optimizer: the same for the auxiliary phase, where it is enabled.
            epsilon_greedy: share of sampled instead of greedy actions in ``predict_step``; None
                takes ``TrainerConfig.epsilon_greedy``.

        Raises:
            ValueError: there are several rewards, or the auxiliary phase has no optimizer, or its
                rollouts would be in another process.
        """
        if reward_spec.numel > 1:
            raise ValueError(f"{name}.reward_spec is {reward_spec}; allowed: a single reward")
        (policy_optimizer,) = own_optimizers(policy_optimizer)
        network = DisjointPolicyValueNetwork(
            observation_spec, action_spec, encoding_network_ctor=encoding_network_ctor
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=network.state_spec,
            env=env,
            config=config,
            optimizer=policy_optimizer,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._network = network
        self._epsilon_greedy = (
            get_epsilon_greedy(config) if epsilon_greedy is None else epsilon_greedy
        )
        self._loss = PPOLoss(debug_summaries=debug_summaries)
        self._aux_algorithm: Any = None
        if config is not None and aux_options.enabled:
            if config.async_unroll:
                raise ValueError(
                    f"TrainerConfig.async_unroll=True: {name} keeps what its own rollouts see for "
                    "the auxiliary phase; allowed with aux_options=PPGAuxOptions(enabled=False)"
                )
            self._aux_algorithm = PPGAuxAlgorithm(
                observation_spec=observation_spec,
                action_spec=action_spec,
                reward_spec=reward_spec,
                config=config,
                optimizer=aux_optimizer,
                dual_actor_value_network=network,
                aux_options=aux_options,
                debug_summaries=debug_summaries,
            )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_aux_algorithm"]

    def set_path(self, path: str) -> None:
        super().set_path(path)
        if self._aux_algorithm is not None:
            self._aux_algorithm.set_path(f"{path}._aux_algorithm" if path else "_aux_algorithm")

    def activate_ddp(self, rank: int) -> None:
        super().activate_ddp(rank)
        if self._aux_algorithm is not None:
            self._aux_algorithm.activate_ddp(rank)

    @property
    def on_policy(self) -> bool | None:
        return False

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return ppg_network_forward(
            self._network, inputs, state, epsilon_greedy=self._epsilon_greedy
        )

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        """Act, and keep the step for the auxiliary phase."""
        step = ppg_network_forward(self._network, inputs, state)
        if self._aux_algorithm is not None:
            self._aux_algorithm.observe_for_aux_replay(make_experience(inputs, step, state))
        return step

    def train_step(
        self, inputs: TimeStep, state: Any, plain_rollout_info: PPGRolloutInfo
    ) -> AlgStep:
        info, state = evaluate(self._network, inputs, state, require_aux=False)
        rollout = PPGTrainInfo(
            action=plain_rollout_info.action,
            rollout_log_prob=plain_rollout_info.log_prob,
            rollout_value=plain_rollout_info.value,
            rollout_action_distribution=plain_rollout_info.action_distribution,
        )
        return AlgStep(output=plain_rollout_info.action, state=state, info=rollout.absorbed(info))

    def calc_loss(self, info: PPGTrainInfo) -> LossInfo:
        """PPO's loss.

        Raises:
            ValueError: ``PPOLoss`` is not configured to compute advantages.
        """
        if not hasattr(info, "advantages") and not self._loss._compute_advantages_internally:
            raise ValueError(
                f"{self.name} has no advantages for its PPOLoss; configure "
                "PPOLoss.compute_advantages_internally=True"
            )
        return self._loss(info)

    def after_train_iter(self, experience: Experience | None, info: Any) -> None:
        """Train the auxiliary phase where its time has come."""
        aux = self._aux_algorithm
        if aux is None or int(summary.get_global_counter()) % aux.interval != 0:
            return
        aux._set_training(True)
        aux.train_from_replay_buffer()
