"""Model-based RL: plans are imagined with a learnt model of the dynamics, of features or latents.

Axis letters: B rows, K candidate plans, H horizon, A action, P particles, n replicas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.dynamics_learning_algorithm import DynamicsLearningAlgorithm
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.planning_algorithm import PlanAlgorithm
from alf.algorithms.predictive_representation_learner import PredictiveRepresentationLearner
from alf.algorithms.reward_learning_algorithm import RewardEstimationAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, namedtuple
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import math_ops
from alf.utils._run_numbers import get_epsilon_greedy
from alf.utils.spec_utils import zeros_from_spec

__all__ = [
    "AlgStep",
    "Experience",
    "LatentMbrlAlgorithm",
    "LossInfo",
    "MbrlAlgorithm",
    "MbrlInfo",
    "MbrlState",
    "TimeStep",
]

MbrlState = namedtuple("MbrlState", ["dynamics", "reward", "planner"], default_value=())
MbrlState.__doc__ = """The states of the three modules."""

MbrlInfo = namedtuple("MbrlInfo", ["dynamics", "reward", "planner"], default_value=())
MbrlInfo.__doc__ = """What the three modules learn from."""


@configurable
class MbrlAlgorithm(OffPolicyAlgorithm):
    """Plans at every step with learnt dynamics and a function for rewards.

    A plan is unrolled by each of n models, P times (particles matter where the model is
    stochastic); its cost is minus the mean of the summed rewards. Every trajectory keeps its model:
    TS-infinity of Chua et al. 2018, arXiv:1805.12114, section 5.

    The dynamics learn from two steps that follow each other: use
    ``TrainerConfig.use_rollout_state=True``, or ``mini_batch_length`` of at least 2.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: BoundedTensorSpec,
        reward_module: RewardEstimationAlgorithm,
        planner_module_ctor: Callable[..., PlanAlgorithm],
        feature_spec: TensorSpec | None = None,
        dynamics_module_ctor: Callable[..., DynamicsLearningAlgorithm] | None = None,
        reward_spec: TensorSpec = TensorSpec(()),
        particles_per_replica: int = 1,
        epsilon_greedy: float | None = None,
        env: Any = None,
        config: TrainerConfig | None = None,
        dynamics_optimizer: torch.optim.Optimizer | None = None,
        reward_optimizer: torch.optim.Optimizer | None = None,
        planner_optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "MbrlAlgorithm",
    ) -> None:
        """Build the modules.

        Args:
            action_spec: one action of rank 1.
            reward_module: tells rewards of observations and actions.
            planner_module_ctor: called with ``feature_spec`` and ``action_spec``.
            feature_spec: of what is predicted; None: ``observation_spec``.
            dynamics_module_ctor: called with ``feature_spec`` and ``action_spec``.
            particles_per_replica: P.
            epsilon_greedy: share of the steps of ``predict_step`` with a uniform action; None takes
                ``TrainerConfig.epsilon_greedy``.
            dynamics_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other two. None leaves that part to the ``optimizer`` of a
                parent.

        Raises:
            ValueError: there is no ``dynamics_module_ctor``.
        """
        if dynamics_module_ctor is None and type(self)._cost is MbrlAlgorithm._cost:
            raise ValueError(f"{name} needs a dynamics_module_ctor, got None")
        feature_spec = observation_spec if feature_spec is None else feature_spec
        optimizers = own_optimizers(dynamics_optimizer, reward_optimizer, planner_optimizer)
        if epsilon_greedy is None:
            epsilon_greedy = get_epsilon_greedy(config)
        specs = {"feature_spec": feature_spec, "action_spec": action_spec}
        dynamics = None if dynamics_module_ctor is None else dynamics_module_ctor(**specs)
        planner = planner_module_ctor(**specs)
        parts = (dynamics, reward_module, planner)
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=MbrlState(
                *(() if part is None else part.train_state_spec for part in parts)
            ),
            reward_spec=reward_spec,
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._epsilon_greedy = epsilon_greedy
        self._particles_per_replica = particles_per_replica
        for part, optimizer in zip(parts, optimizers, strict=True):
            if part is not None and optimizer is not None:
                self.add_optimizer(optimizer, [part])
        self._dynamics_module = dynamics
        self._reward_module = reward_module
        self._planner_module = planner
        planner.set_action_sequence_cost_func(self._cost)

    # Acting

    def predict_step(self, time_step: TimeStep, state: MbrlState) -> AlgStep:
        return self._act(time_step, state, self._epsilon_greedy)

    def rollout_step(self, time_step: TimeStep, state: MbrlState) -> AlgStep:
        return self._act(time_step, state, 0.0)

    @torch.no_grad()
    def _act(self, time_step: TimeStep, state: MbrlState, epsilon_greedy: float) -> AlgStep:
        action, planner = self._planner_module.predict_plan(
            time_step, state.planner, epsilon_greedy
        )
        state = state._replace(planner=planner)
        if self._dynamics_module is not None:
            dynamics = self._dynamics_module.update_state(time_step, state.dynamics)
            state = state._replace(dynamics=dynamics)
        return AlgStep(output=action, state=state, info=MbrlInfo())

    def _cost(self, observation: Tensor, plans: Tensor) -> Tensor:
        """Costs [B, K] of plans [B, K, H, A] from observations [B, ...]."""
        B, K, H = plans.shape[:3]
        P, dynamics = self._particles_per_replica, self._dynamics_module
        n = dynamics.num_replicas
        actions = plans.flatten(0, 1).repeat_interleave(P, dim=0)
        step = TimeStep(observation=observation.repeat_interleave(K * P, dim=0))
        state = zeros_from_spec(dynamics.train_state_spec, B * K * P)
        state = dynamics.update_state(step, state)
        reward_state = zeros_from_spec(self._reward_module.train_state_spec, B * K * P * n)
        total = torch.zeros(B * K * P * n, device=plans.device)
        for t in range(H):
            action = actions[:, t]
            imagined = dynamics.predict_step(step._replace(prev_action=action), state)
            state, feature = imagined.state, imagined.output
            if n > 1:  # [B K P, n, ...]
                feature, action = feature.flatten(0, 1), action.repeat_interleave(n, dim=0)
            reward, reward_state = self._reward_module.compute_reward(feature, action, reward_state)
            total = total + reward
        return -total.reshape(B, K, P * n).mean(-1)

    # Training

    def train_step(self, inputs: TimeStep, state: MbrlState, rollout_info: Any = None) -> AlgStep:
        """What the modules learn from."""
        dynamics = self._dynamics_module.train_step(inputs, state.dynamics)
        reward = self._reward_module.train_step(inputs, state.reward)
        planner = self._planner_module.train_step(inputs, state.planner)
        return AlgStep(
            state=MbrlState(dynamics.state, reward.state, planner.state),
            info=MbrlInfo(dynamics.info, reward.info, planner.info),
        )

    def calc_loss(self, training_info: MbrlInfo) -> LossInfo:
        """The sum of the modules' losses."""
        loss, scalar_loss, extra = (), (), {}
        parts = (self._dynamics_module, self._reward_module, self._planner_module)
        for field, part, info in zip(MbrlInfo._fields, parts, training_info, strict=True):
            if info == ():
                continue
            one = part.calc_loss(info)
            loss = math_ops.add_ignore_empty(loss, one.loss)
            scalar_loss = math_ops.add_ignore_empty(scalar_loss, one.scalar_loss)
            extra[field] = one.extra
        return LossInfo(loss=loss, scalar_loss=scalar_loss, extra=extra)

    def after_update(self, root_inputs: Any, training_info: MbrlInfo) -> None:
        self._planner_module.after_update(root_inputs, training_info.planner)


@configurable
class LatentMbrlAlgorithm(MbrlAlgorithm):
    """Plans in the latent space of a `PredictiveRepresentationLearner`, which foretells rewards.

    It is the RL algorithm of an `Agent` whose representation learner that is: the `Agent` calls
    `set_latent_predictive_representation_module()`. All learning is that of the representation.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: BoundedTensorSpec,
        planner_module_ctor: Callable[..., PlanAlgorithm],
        reward_spec: TensorSpec = TensorSpec(()),
        env: Any = None,
        config: TrainerConfig | None = None,
        planner_optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "LatentMbrlAlgorithm",
    ) -> None:
        """Build the planner.

        Args:
            observation_spec: of latents, of rank 1.
            action_spec: one action of rank 1.
            planner_module_ctor: called with ``feature_spec`` and ``action_spec``.
            planner_optimizer: see `MbrlAlgorithm`.
        """
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_module=RewardEstimationAlgorithm(),
            planner_module_ctor=planner_module_ctor,
            reward_spec=reward_spec,
            env=env,
            config=config,
            planner_optimizer=planner_optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._latent_pred_rep_module: PredictiveRepresentationLearner | None = None

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_latent_pred_rep_module"]

    def set_latent_predictive_representation_module(
        self, latent_pred_rep_module: PredictiveRepresentationLearner
    ) -> None:
        """Say what predicts rewards.

        Args:
            latent_pred_rep_module: its observations' representation is what this algorithm gets,
                and one of its decoders has the target "reward".

        Raises:
            ValueError: it cannot predict rewards from its representations.
        """
        latent_pred_rep_module.check_predicts("reward")
        self._latent_pred_rep_module = latent_pred_rep_module

    def _cost(self, observation: Tensor, plans: Tensor) -> Tensor:
        B, K, H = plans.shape[:3]
        module = self._latent_pred_rep_module
        if module is None:
            raise ValueError(
                f"{self.name} cannot plan before set_latent_predictive_representation_module() was "
                "called; an Agent calls it if its representation learner is a "
                "PredictiveRepresentationLearner"
            )
        latent = observation.repeat_interleave(K, dim=0)
        rewards = module.predict_multi_step(latent, plans.flatten(0, 1), target_field="reward")
        # The first is the reward that has been earned already.
        return -rewards.reshape(H + 1, B, K)[1:].sum(0)

    def train_step(self, exp: TimeStep, state: MbrlState, rollout_info: Any = None) -> AlgStep:
        """Nothing to learn here."""
        return AlgStep(state=state, info=MbrlInfo())

    def calc_loss(self, training_info: MbrlInfo) -> LossInfo:
        return LossInfo()
