"""Actor-critic whose policy moves no farther than a trust region allows in one update."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, StepType, TimeStep, namedtuple
from alf.nest import nest
from alf.optimizers.trusted_updater import TrustedUpdater
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils

__all__ = ["Experience", "TimeStep", "TracAlgorithm", "TracExperience", "TracInfo"]

TracExperience = namedtuple(
    "TracExperience", ["observation", "step_type", "state", "action_param", "prev_action"]
)

# ``ac`` is the info of the wrapped algorithm without its action distribution, ``state`` what acting
# needs of the state before the step.
TracInfo = namedtuple(
    "TracInfo",
    ["action_distribution", "observation", "state", "ac", "prev_action"],
    default_value=(),
)


@configurable
class TracAlgorithm(RLAlgorithm):
    """An actor-critic algorithm with updates of its actor that are shortened where they go too far.

    After each update the mean distance between the policy before it and after it, on the steps that
    it was made from, is brought down to at most ``sqrt(action_dist_clip_per_dim * dims)``:

        w = w_old + 0.9 * allowed / distance * (w_new - w_old)

    again and again until it is. The squared distance of two categorical distributions is that of
    their normalized logits: their divergence can be small although the logits are far apart, where
    the entropy is small. That of other distributions is ``KL(p || q) + KL(q || p)``. Each action of
    a nest has a trust region of its own.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        env: Any = None,
        config: TrainerConfig | None = None,
        ac_algorithm_cls: Callable[..., ActorCriticAlgorithm] = ActorCriticAlgorithm,
        action_dist_clip_per_dim: float = 0.01,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "TracAlgorithm",
    ) -> None:
        """Build the wrapped algorithm.

        Args:
            ac_algorithm_cls: called with ``observation_spec``, ``action_spec``, ``reward_spec``,
                ``config`` and ``debug_summaries``.
            action_dist_clip_per_dim: squared distance allowed for each dimension of an action; for
                a discrete one, for each of its choices.

        Raises:
            ValueError: the wrapped algorithm is no ActorCriticAlgorithm.
        """
        ac = ac_algorithm_cls(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
        )
        if not isinstance(ac, ActorCriticAlgorithm):
            raise ValueError(
                f"{name}.ac_algorithm_cls makes a {type(ac).__name__}; allowed: what makes an "
                "ActorCriticAlgorithm or PPOAlgorithm"
            )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=ac.train_state_spec,
            rollout_state_spec=ac.rollout_state_spec,
            predict_state_spec=ac.predict_state_spec,
            is_on_policy=ac.on_policy,
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._ac_algorithm = ac
        self._allowed_distances = nest.map_structure(
            lambda spec: math.sqrt(action_dist_clip_per_dim * _dimensions(spec)), action_spec
        )
        self._updater: TrustedUpdater | None = None

    def convert_train_state_to_predict_state(self, state: Any) -> Any:
        return self._ac_algorithm.convert_train_state_to_predict_state(state)

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        return self._ac_algorithm.predict_step(time_step, state)

    def rollout_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        step = self._ac_algorithm.rollout_step(time_step, state)
        return step._replace(info=self._wrap(step.info, time_step, state))

    def train_step(self, exp: TimeStep, state: Any, rollout_info: TracInfo) -> AlgStep:
        step = self._ac_algorithm.train_step(exp, state, rollout_info.ac)
        return step._replace(info=self._wrap(step.info, exp, state))

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: TracInfo, batch_info: Any
    ) -> tuple[TimeStep, TracInfo]:
        root_inputs, ac = self._ac_algorithm.preprocess_experience(
            root_inputs, _unwrap(rollout_info), batch_info
        )
        return root_inputs, rollout_info._replace(ac=ac._replace(action_distribution=()))

    def calc_loss(self, info: TracInfo) -> LossInfo:
        # The update comes next: these are the parameters from which its step is measured.
        self._updater = TrustedUpdater(self._ac_algorithm._actor_network.parameters())
        return self._ac_algorithm.calc_loss(_unwrap(info))

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: TracInfo) -> None:
        """Shorten the actor's step, then do what the wrapped algorithm does."""
        assert self._updater is not None, "after_update() without calc_loss()"
        exp = TracExperience(
            observation=info.observation,
            step_type=info.ac.step_type,
            state=info.state.actor,
            action_param=dist_utils.distributions_to_params(info.action_distribution),
            prev_action=info.prev_action,
        )
        exp = nest.map_structure(lambda x: x.detach().flatten(0, 1), exp)
        spec = dist_utils.extract_spec(info.action_distribution, from_dim=2)
        before = dist_utils.params_to_distributions(exp.action_param, spec)
        distances, shortened = self._updater.adjust_step(
            lambda: self._distances(exp, before), self._allowed_distances
        )
        self._updater = None
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                for i, distance in enumerate(nest.flatten(distances)):
                    summary.scalar(f"unadjusted_action_dist/{i}", distance)
                summary.scalar("adjust_steps", shortened)
        self._ac_algorithm.after_update(root_inputs, _unwrap(info))

    def after_train_iter(self, root_inputs: Any, rollout_info: TracInfo | None) -> None:
        info = rollout_info if rollout_info is None else _unwrap(rollout_info)
        self._ac_algorithm.after_train_iter(root_inputs, info)

    def _wrap(self, info: Any, time_step: TimeStep, state: Any) -> TracInfo:
        return TracInfo(
            action_distribution=info.action_distribution,
            observation=time_step.observation,
            state=self.convert_train_state_to_predict_state(state),
            ac=info._replace(action_distribution=()),
            prev_action=time_step.prev_action,
        )

    def _distances(self, exp: TracExperience, before: Any) -> Any:
        """For each action the distance [] of the actor's present policy from ``before``."""
        now = self._ac_algorithm._actor_network(exp.observation, exp.state)[0]
        valid = exp.step_type != StepType.LAST

        def distance(p: Any, q: Any) -> Tensor:
            return (_squared_distance(p, q) * valid).mean().sqrt()

        return nest.map_structure(distance, before, now)


def _unwrap(info: TracInfo) -> Any:
    return info.ac._replace(action_distribution=info.action_distribution)


def _dimensions(spec: BoundedTensorSpec) -> int:
    """Numbers that describe the distribution of an action: with choices, a logit for each."""
    if not spec.is_discrete:
        return spec.numel
    return int((spec.maximum - spec.minimum + 1).max()) * spec.numel


def _squared_distance(p: Any, q: Any) -> Tensor:
    """The squared distance [B] of distributions, or of actions [B, ...] without one."""
    if isinstance(p, Tensor):
        return _sum_rows((p - q).square())
    base = dist_utils.get_base_dist(p)
    if isinstance(base, td.Categorical | td.OneHotCategorical):
        return _sum_rows((base.logits - dist_utils.get_base_dist(q).logits).square())
    return _sum_rows(td.kl_divergence(p, q) + td.kl_divergence(q, p))


def _sum_rows(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1).sum(1)
