"""The auxiliary phase of phasic policy gradient: distill the values into the policy's encoder."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.ppg.disjoint_policy_value_network import DisjointPolicyValueNetwork
from alf.algorithms.ppg.ppg_aux_phase_loss import PPGAuxPhaseLoss
from alf.algorithms.ppg.ppg_utils import PPGRolloutInfo, PPGTrainInfo, evaluate
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, namedtuple
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = ["AlgStep", "LossInfo", "PPGAuxAlgorithm", "PPGAuxOptions", "TimeStep"]

PPGAuxOptions = namedtuple(
    "PPGAuxOptions",
    ["enabled", "interval", "mini_batch_length", "mini_batch_size", "num_updates_per_train_iter"],
    default_values=(True, 32, None, 8, 6),
)


@configurable
class PPGAuxAlgorithm(OffPolicyAlgorithm):
    """Trains a policy's network on all steps since the last auxiliary phase, then forgets them."""

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        config: TrainerConfig | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        dual_actor_value_network: DisjointPolicyValueNetwork | None = None,
        aux_options: Any = PPGAuxOptions(),
        debug_summaries: bool = False,
        name: str = "PPGAuxAlgorithm",
    ) -> None:
        """Take over a network.

        Args:
            config: of the policy phase; the auxiliary phase trains by a copy with the
                ``aux_options``.
            optimizer: must be without parameters; the algorithm uses its own copy.
            dual_actor_value_network: what is trained; it belongs to the policy phase too.
            aux_options: ``interval`` is the number of iterations between two auxiliary phases,
                ``num_updates_per_train_iter`` the number of epochs of each, ``mini_batch_length``
                the number of steps of a sequence; None: those of an unroll.

        Raises:
            ValueError: config, optimizer or network is missing.
        """
        given = {
            "config": config,
            "optimizer": optimizer,
            "dual_actor_value_network": dual_actor_value_network,
        }
        for key, value in given.items():
            if value is None:
                raise ValueError(f"{name}.{key} is None; the auxiliary phase needs it to train")
        for key in ("interval", "mini_batch_size", "num_updates_per_train_iter"):
            value = getattr(aux_options, key)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"PPGAuxOptions.{key} is {value!r}; allowed: int of at least 1")
        assert config is not None
        assert dual_actor_value_network is not None
        (optimizer,) = own_optimizers(optimizer)
        state_spec = dual_actor_value_network.state_spec
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=state_spec,
            config=_own_config(config, aux_options),
            optimizer=optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._network = dual_actor_value_network
        self._interval = aux_options.interval
        self._capacity = math.ceil(config.unroll_length) * aux_options.interval + 1
        self._loss = PPGAuxPhaseLoss()

    @property
    def interval(self) -> int:
        """Iterations from one auxiliary phase to the next."""
        return self._interval

    def observe_for_aux_replay(self, exp: Experience) -> None:
        """Store one step of each environment, [B, ...], as the policy saw it."""
        if self._replay_buffer_num_envs is None:
            self.set_replay_buffer(exp.env_id.shape[0], self._capacity)
        self.observe_for_replay(exp)

    def train_step(
        self, inputs: TimeStep, state: Any, plain_rollout_info: PPGRolloutInfo
    ) -> AlgStep:
        info, state = evaluate(self._network, inputs, state, require_aux=True)
        rollout = PPGTrainInfo(
            action=plain_rollout_info.action,
            rollout_value=plain_rollout_info.value,
            rollout_action_distribution=plain_rollout_info.action_distribution,
        )
        return AlgStep(output=plain_rollout_info.action, state=state, info=rollout.absorbed(info))

    def calc_loss(self, info: PPGTrainInfo) -> LossInfo:
        return self._loss(info)


def _own_config(config: TrainerConfig, options: Any) -> TrainerConfig:
    own = copy.copy(config)
    own.whole_replay_buffer_training = True
    own.clear_replay_buffer = True
    own.mini_batch_length = options.mini_batch_length or math.ceil(config.unroll_length)
    own.mini_batch_size = options.mini_batch_size
    own.num_updates_per_train_iter = options.num_updates_per_train_iter
    own.update_counter_every_mini_batch = False
    own.priority_replay = False
    own.data_transformer = None  # what is stored is transformed already
    return own
