"""How soft actor-critic acts: to predict, to collect experience, and to learn from its policy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.sac import values
from alf.algorithms.sac.critics import Critics
from alf.algorithms.sac.data import ActionType, SacActionState, SacInfo, SacState
from alf.algorithms.sac.kinds import ActionKind
from alf.algorithms.sac.policies import ContinuousPolicy, Policy, draw
from alf.algorithms.sac.representation import Representation
from alf.algorithms.sac.temperatures import Temperatures
from alf.algorithms.training.row_layout import ReadsRowLayout
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec
from alf.utils import dist_utils

__all__ = ["SacActing"]


class SacActing(ReadsRowLayout, OffPolicyAlgorithm):
    """What acts by a soft actor-critic policy.

    Networks and temperatures are attributes by ALF's names, by which checkpoints and optimizers
    know them; a variant may put others there at any time. `_policy`, `_critics`, `_temperatures`
    and `_representation` are made of what is there now.
    """

    # These are None where there are none, and then nobody calls them.
    _actor_network: Any
    _critic_networks: Any
    _target_critic_networks: Any
    _repr_alg: Any
    _target_repr_alg: Any
    _log_alpha: Any
    _training_started: Tensor
    _kind: ActionKind
    _has_critic_state: bool
    _num_critic_replicas: int
    _target_entropies: Sequence[float]
    _max_log_alpha: float
    _epsilon_greedy: float
    _reproduce_locomotion: bool
    _has_trained: bool

    # How the critics' output is read, and what of it counts; a variant can put others here.
    _split_heads = staticmethod(values.split_heads)
    _least_replica = staticmethod(values.least_replica)
    _scalarize = staticmethod(values.scalarize)

    @property
    def _critics(self) -> Critics:
        return Critics(
            online=self._critic_networks,
            target=self._target_critic_networks,
            has_state=self._has_critic_state,
            num_replicas=self._num_critic_replicas,
            reward_shape=self._reward_spec.shape,
            reward_weights=self.reward_weights,
            split_heads=self._split_heads,
            least_replica=self._least_replica,
            weighted_sum=self._scalarize,
        )

    @property
    def _temperatures(self) -> Temperatures:
        own = self._log_alpha
        log_alphas = list(own) if isinstance(own, nn.ParameterList) else [own]
        return Temperatures(log_alphas, self._target_entropies, self._max_log_alpha)

    @property
    def _policy(self) -> Policy:
        return self._kind.policy(
            self.action_spec, self._actor_network, self._critics, self._temperatures
        )

    @property
    def _representation(self) -> Representation:
        return Representation(self._repr_alg, self._target_repr_alg)

    def _predict_action(
        self,
        observation: Any,
        state: SacActionState,
        epsilon_greedy: float | None = None,
        eps_greedy_sampling: bool = False,
        rollout: bool = False,
    ) -> tuple[Any, Any, Any, SacActionState]:
        """The policy's distribution and action.

        Args:
            observation: [B, ...].
            epsilon_greedy: share of sampled instead of greedy actions, with
                ``eps_greedy_sampling``; None is that of evaluation.
            eps_greedy_sampling: act; otherwise learn: actions are drawn with their gradients.
            rollout: whether the action goes to an environment to be learned from.

        Returns:
            distribution, action, the critics' values [B, R, A, ...] of all discrete actions (None
            without any), and the next state.
        """
        choose: Callable = draw
        if eps_greedy_sampling:
            eps = self._epsilon_greedy if epsilon_greedy is None else epsilon_greedy
            choose = functools.partial(dist_utils.epsilon_greedy_sample, eps=eps)
        return self._policy.act(observation, state, choose)

    def _rows_without_policy(self, num_rows: int) -> int:
        """How many rows, the first ones, are known not to train the policy."""
        if not self._reproduce_locomotion or self._kind.type is not ActionType.Continuous:
            return 0
        layout = self.sequences_of(num_rows)
        return 0 if layout is None else layout.batch_size

    def _act_to_learn(
        self, observation: Any, state: SacState
    ) -> tuple[Any, Any, Any, SacActionState]:
        """``_predict_action()`` for training, without gradients where none are wanted."""
        first = self._rows_without_policy(nest.flatten(observation)[0].shape[0])
        policy = self._policy
        overridden = type(self)._predict_action is not SacActing._predict_action
        if overridden or not isinstance(policy, ContinuousPolicy) or nest.flatten(state.action):
            first = 0
        if first == 0:
            return self._predict_action(observation, state=state.action)
        distribution, action = policy.act_trained_by(slice(first, None), observation)
        return distribution, action, None, state.action

    def predict_step(self, inputs: TimeStep, state: SacState) -> AlgStep:
        inputs, repr_step = self._representation.encode("predict_step", inputs, state)
        distribution, action, _, action_state = self._predict_action(
            inputs.observation,
            state=state.action,
            epsilon_greedy=self._epsilon_greedy,
            eps_greedy_sampling=True,
        )
        return AlgStep(
            output=action,
            state=SacState(action=action_state, repr=repr_step.state),
            info=SacInfo(action_distribution=distribution),
        )

    def rollout_step(self, inputs: TimeStep, state: SacState) -> AlgStep:
        """Sample an action; if states are stored, recurrent critics go along."""
        raw = inputs
        inputs, repr_step = self._representation.encode("rollout_step", inputs, state)
        distribution, action, _, action_state = self._predict_action(
            inputs.observation,
            state=state.action,
            epsilon_greedy=1.0,
            eps_greedy_sampling=True,
            rollout=True,
        )
        if self._reproduce_locomotion and not self._is_training_known_to_have_started():
            action = nest.map_structure(self._uniform_before_training, action, self.action_spec)
        state = state._replace(action=action_state, repr=repr_step.state)
        if self.need_full_rollout_state():
            _, target = self._representation.encode_for_targets(raw, inputs, state)
            state = self._policy.carry_states(inputs.observation, action, state)
            state = state._replace(target_repr=target)
        info = SacInfo(action=action, action_distribution=distribution, repr=repr_step.info)
        return AlgStep(output=action, state=state, info=info)

    def observe_for_replay(self, exp: Experience) -> None:
        """Store a record, without the policy it was drawn from where nobody will look at that."""
        if not self._sees_rollout_policy():
            exp = exp._replace(rollout_info=exp.rollout_info._replace(action_distribution=()))
        super().observe_for_replay(exp)

    def _init_training_started(self) -> None:
        self._has_trained = False
        self.register_buffer("_training_started", torch.zeros((), dtype=torch.bool))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # Checkpoints of earlier versions lack it; they hold an algorithm that was trained.
        started = torch.ones((), dtype=torch.bool)
        super()._load_from_state_dict(
            {f"{prefix}_training_started": started, **state_dict}, prefix, *args
        )

    def _sees_rollout_policy(self) -> bool:
        """Whether what a variant overrides is given the policy of the rollout."""
        for cls in type(self).__mro__:
            if "train_step" in cls.__dict__ or "preprocess_experience" in cls.__dict__:
                return not cls.__dict__.get("_ignores_rollout_policy", False)
        return True

    def _is_training_known_to_have_started(self) -> bool:
        """Looked up where that does not mean to wait for an accelerator."""
        started = self._training_started
        return started.device.type == "cpu" and bool(started)

    def _has_started_training(self) -> bool:
        """Asks an accelerator only until training starts."""
        return self._has_trained or bool(self._training_started)

    def _uniform_before_training(self, action: Tensor, spec: BoundedTensorSpec) -> Tensor:
        uniform = spec.sample(outer_dims=(action.shape[0],)).to(action.device)
        return torch.where(self._training_started, action, uniform)
