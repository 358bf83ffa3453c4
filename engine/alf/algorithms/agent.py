"""An RL algorithm with the parts that feed it: representation, goals, intrinsic reward, entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.agent_helpers import AgentHelper
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.entropy_target_algorithm import (
    EntropyTargetAlgorithm,
    NestedEntropyTargetAlgorithm,
)
from alf.algorithms.mbrl_algorithm import LatentMbrlAlgorithm
from alf.algorithms.predictive_representation_learner import PredictiveRepresentationLearner
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

AgentState = namedtuple(
    "AgentState", ["rl", "irm", "goal_generator", "repr", "rw"], default_value=()
)
AgentInfo = namedtuple(
    "AgentInfo",
    ["rl", "irm", "goal_generator", "entropy_target", "repr", "rw", "rewards"],
    default_value=(),
)


@configurable
class Agent(RLAlgorithm):
    """An RL algorithm and, around it, the parts it can do without.

    In the order of a step: the representation learner turns the observation into what everybody
    else sees; the goal generator adds a goal, ``[observation, goal]``; the intrinsic reward module
    adds reward; the RL algorithm acts; the entropy target adjusts the weight of the policy's
    entropy. After an iteration the reward weight algorithm sets the RL algorithm's reward weights.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        env: Any = None,
        config: TrainerConfig | None = None,
        rl_algorithm_cls: Callable[..., RLAlgorithm] = ActorCriticAlgorithm,
        reward_weight_algorithm_cls: Callable[..., Algorithm] | None = None,
        representation_learner_cls: Callable[..., Algorithm] | None = None,
        representation_use_rl_state: bool = False,
        goal_generator: Algorithm | None = None,
        intrinsic_reward_module: Algorithm | None = None,
        intrinsic_reward_coef: float = 1.0,
        extrinsic_reward_coef: float = 1.0,
        enforce_entropy_target: bool = False,
        entropy_target_cls: Callable[..., Algorithm] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "AgentAlgorithm",
    ) -> None:
        """Build the parts.

        Args:
            rl_algorithm_cls: called with ``observation_spec``, ``action_spec``, ``reward_spec``,
                ``config`` and ``debug_summaries``.
            reward_weight_algorithm_cls: called with ``reward_spec`` and ``debug_summaries``; its
                ``reward_weights`` replace those of the RL algorithm. For vector rewards.
            representation_learner_cls: called as ``rl_algorithm_cls``; its ``output_spec`` is the
                observation of the other parts.
            representation_use_rl_state: hand the RL algorithm's previous state, not its own, to the
                representation learner when acting.
            goal_generator: outputs a pair of goal and reward, which can be (); its ``action_spec``
                is the spec of the goal.
            intrinsic_reward_module: outputs a reward [B].
            extrinsic_reward_coef: weight of the environment's reward.
            enforce_entropy_target: keep the entropy above its target by (Nested)
                EntropyTargetAlgorithm; do not also use ``entropy_regularization`` in the loss.
            entropy_target_cls: use this instead; called with the action spec and
                ``debug_summaries``.
            optimizer: for all parameters that no part claims; the agent uses its own copy.

        Raises:
            TypeError: ``goal_generator`` or ``intrinsic_reward_module`` is no Algorithm, or the RL
                algorithm is a `LatentMbrlAlgorithm` and the representation learner no
                `PredictiveRepresentationLearner`.
            ValueError: reward weights are to be learnt but the reward is a scalar.
        """
        for option, part in (
            ("goal_generator", goal_generator),
            ("intrinsic_reward_module", intrinsic_reward_module),
        ):
            if part is not None and not isinstance(part, Algorithm):
                raise TypeError(f"Agent.{option} must be an Algorithm or None, got {part!r}.")
        if reward_weight_algorithm_cls is not None and tuple(reward_spec.shape) == ():
            raise ValueError(
                "Agent.reward_weight_algorithm_cls needs a vector reward (a reward_spec of rank "
                f"1); got {reward_spec}."
            )
        common_arguments = {
            "action_spec": action_spec,
            "reward_spec": reward_spec,
            "config": config,
            "debug_summaries": debug_summaries,
        }
        representation_learner = None
        if representation_learner_cls is not None:
            representation_learner = representation_learner_cls(
                observation_spec=observation_spec, **common_arguments
            )
        rl_observation_spec = observation_spec
        if representation_learner is not None:
            rl_observation_spec = representation_learner.output_spec
        if goal_generator is not None:
            rl_observation_spec = [rl_observation_spec, goal_generator.action_spec]
        rl_algorithm = rl_algorithm_cls(observation_spec=rl_observation_spec, **common_arguments)
        if isinstance(rl_algorithm, LatentMbrlAlgorithm):
            if not isinstance(representation_learner, PredictiveRepresentationLearner):
                raise TypeError(
                    "LatentMbrlAlgorithm plans with a PredictiveRepresentationLearner; "
                    f"Agent.representation_learner_cls made {representation_learner!r:.100}"
                )
            rl_algorithm.set_latent_predictive_representation_module(representation_learner)
        reward_weight_algorithm = None
        if reward_weight_algorithm_cls is not None:
            reward_weight_algorithm = reward_weight_algorithm_cls(
                reward_spec=reward_spec, debug_summaries=debug_summaries
            )
            rl_algorithm.set_reward_weights(reward_weight_algorithm.reward_weights)
        if entropy_target_cls is None and enforce_entropy_target:
            nested = nest.is_nested(action_spec)
            entropy_target_cls = NestedEntropyTargetAlgorithm if nested else EntropyTargetAlgorithm
        entropy_target = None
        if entropy_target_cls is not None:
            entropy_target = entropy_target_cls(action_spec, debug_summaries=debug_summaries)

        parts = {
            "repr": representation_learner,
            "goal_generator": goal_generator,
            "irm": intrinsic_reward_module,
            "rl": rl_algorithm,
            "entropy_target": entropy_target,
            "rw": reward_weight_algorithm,
        }
        helper = AgentHelper(AgentState)
        for field, part in parts.items():
            if part is not None:
                helper.register_algorithm(part, field)
                if part.on_policy is None:
                    part.set_on_policy(rl_algorithm.on_policy)
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            **helper.state_specs(),
            is_on_policy=rl_algorithm.on_policy,
            env=env,
            config=config,
            optimizer=optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._representation_learner = representation_learner
        self._goal_generator = goal_generator
        self._irm = intrinsic_reward_module
        self._rl_algorithm = rl_algorithm
        self._entropy_target_algorithm = entropy_target
        self._reward_weight_algorithm = reward_weight_algorithm
        self._representation_use_rl_state = representation_use_rl_state
        self._reward_coefs = {
            "extrinsic": extrinsic_reward_coef,
            "irm": intrinsic_reward_coef,
            "goal_generator": 1.0,
        }
        self._agent_helper = helper
        self._parts = [part for part in parts.values() if part is not None]
        self._learners = [
            part for field, part in parts.items() if part is not None and field != "rw"
        ]
        if rl_algorithm.use_rollout_state:
            self.use_rollout_state = True  # it learns from states that the agent has to store

    def set_path(self, path: str) -> None:
        super().set_path(path)
        self._agent_helper.set_path(path)

    def offline_rollout_info(self, action: Any) -> AgentInfo:
        return AgentInfo(rl=self._rl_algorithm.offline_rollout_info(action))

    # Acting

    def predict_step(self, time_step: TimeStep, state: AgentState) -> AlgStep:
        info = AgentInfo()
        observation = time_step.observation
        if self._representation_learner is not None:
            step = self._representation_learner.predict_step(time_step, self._repr_state(state))
            state = self._with_repr_state(state, step)
            info = info._replace(repr=step.info)
            observation = step.output
        if self._goal_generator is not None:
            step = self._goal_generator.predict_step(
                time_step._replace(observation=observation), state.goal_generator
            )
            state = state._replace(goal_generator=step.state)
            info = info._replace(goal_generator=step.info)
            observation = [observation, step.output[0]]
        if self._reward_weight_algorithm is not None:
            step = self._reward_weight_algorithm.predict_step(time_step, state.rw)
            state = state._replace(rw=step.state)
        rl_step = self._rl_algorithm.predict_step(
            time_step._replace(observation=observation), state.rl
        )
        return AlgStep(
            output=rl_step.output,
            state=state._replace(rl=rl_step.state),
            info=info._replace(rl=rl_step.info),
        )

    def rollout_step(self, time_step: TimeStep, state: AgentState) -> AlgStep:
        """Act; ``info.rewards`` has the rewards of goal generator and intrinsic module."""
        info, rewards = AgentInfo(), {}
        observation, step_type = time_step.observation, time_step.step_type
        if self._representation_learner is not None:
            step = self._representation_learner.rollout_step(time_step, self._repr_state(state))
            state = self._with_repr_state(state, step)
            info = info._replace(repr=step.info)
            observation = step.output
        if self._goal_generator is not None:
            step = self._goal_generator.rollout_step(
                time_step._replace(observation=observation), state.goal_generator
            )
            state = state._replace(goal_generator=step.state)
            info = info._replace(goal_generator=step.info)
            goal, goal_reward = step.output
            observation = [observation, goal]
            if isinstance(goal_reward, torch.Tensor):
                rewards["goal_generator"] = goal_reward
        if self._irm is not None:
            step = self._irm.rollout_step(time_step._replace(observation=observation), state.irm)
            state = state._replace(irm=step.state)
            info = info._replace(irm=step.info)
            rewards["irm"] = step.output
        if self._reward_weight_algorithm is not None:
            step = self._reward_weight_algorithm.rollout_step(time_step, state.rw)
            state = state._replace(rw=step.state)
            info = info._replace(rw=step.info)

        reward = time_step.reward
        if self.on_policy:
            reward = self._overall_reward(reward, rewards, "rollout_reward")
        rl_step = self._rl_algorithm.rollout_step(
            time_step._replace(observation=observation, reward=reward), state.rl
        )
        info = info._replace(rl=rl_step.info, rewards=rewards or ())
        if self._entropy_target_algorithm is not None and self.on_policy:
            step = self._entropy_target_algorithm.rollout_step(
                (_action_distribution(rl_step), step_type), None
            )
            info = info._replace(entropy_target=step.info)
        return AlgStep(output=rl_step.output, state=state._replace(rl=rl_step.state), info=info)

    def _repr_state(self, state: AgentState) -> Any:
        return state.rl if self._representation_use_rl_state else state.repr

    def _with_repr_state(self, state: AgentState, step: AlgStep) -> AgentState:
        return state if self._representation_use_rl_state else state._replace(repr=step.state)

    # Training

    def train_step(
        self, time_step: TimeStep, state: AgentState, rollout_info: AgentInfo
    ) -> AlgStep:
        return self._train_parts(time_step, state, rollout_info, "train_step")

    def train_step_offline(
        self,
        time_step: TimeStep,
        state: AgentState,
        rollout_info: AgentInfo,
        pre_train: bool,
    ) -> AlgStep:
        return self._train_parts(time_step, state, rollout_info, "train_step_offline", pre_train)

    def _train_parts(
        self,
        time_step: TimeStep,
        state: AgentState,
        rollout_info: AgentInfo,
        method: str,
        *arguments: bool,
    ) -> AlgStep:
        info = AgentInfo()

        def train(field: str, part: Algorithm, observation: Any) -> Any:
            nonlocal info, state
            step = getattr(part, method)(
                time_step._replace(observation=observation),
                getattr(state, field),
                getattr(rollout_info, field),
                *arguments,
            )
            info = info._replace(**{field: step.info})
            state = state._replace(**{field: step.state})
            return step

        observation = time_step.observation
        if self._representation_learner is not None:
            observation = train("repr", self._representation_learner, observation).output
        if self._goal_generator is not None:
            step = train("goal_generator", self._goal_generator, observation)
            observation = [observation, step.output[0]]
        if self._irm is not None:
            train("irm", self._irm, observation)
        rl_step = train("rl", self._rl_algorithm, observation)
        if self._entropy_target_algorithm is not None:
            step = self._entropy_target_algorithm.train_step(
                (_action_distribution(rl_step), time_step.step_type), None, None
            )
            info = info._replace(entropy_target=step.info)
        return AlgStep(output=rl_step.output, state=state, info=info)

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: AgentInfo, batch_info: Any
    ) -> tuple[TimeStep, AgentInfo]:
        """Add the rewards of the parts, then let representation and RL algorithm prepare [B, T]."""
        rewards = rollout_info.rewards or {}
        reward = self._overall_reward(root_inputs.reward, rewards, "training_reward")
        root_inputs = root_inputs._replace(reward=reward)
        for field, part in (("repr", self._representation_learner), ("rl", self._rl_algorithm)):
            if part is not None:
                root_inputs, part_info = part.preprocess_experience(
                    root_inputs, getattr(rollout_info, field), batch_info
                )
                rollout_info = rollout_info._replace(**{field: part_info})
        return root_inputs, rollout_info

    def _overall_reward(self, extrinsic: Any, rewards: dict[str, Any], prefix: str) -> Any:
        if not rewards and self._reward_coefs["extrinsic"] == 1.0:
            return extrinsic
        named = {"extrinsic": extrinsic, **rewards}
        return self._agent_helper.accumulate_algorithm_rewards(
            list(named.values()),
            [self._reward_coefs[name] for name in named],
            list(named),
            prefix,
            self.summarize_reward,
        )

    def calc_loss(self, info: AgentInfo) -> LossInfo:
        return self._agent_helper.accumulate_loss_info(self._learners, info)

    def calc_loss_offline(self, info: AgentInfo, pre_train: bool) -> LossInfo:
        return self._agent_helper.accumulate_loss_info(
            self._learners, info, offline=True, pre_train=pre_train
        )

    def after_update(self, experience: Any, train_info: AgentInfo) -> None:
        self._agent_helper.after_update(self._learners, experience, train_info)

    def after_train_iter(self, experience: Any, info: AgentInfo | None) -> None:
        self._agent_helper.after_train_iter(self._parts, experience, info)
        if self._reward_weight_algorithm is not None:
            self._rl_algorithm.set_reward_weights(self._reward_weight_algorithm.reward_weights)

    def summarize_rollout(self, experience: Experience) -> None:
        """Summarize the rollout, and the RL algorithm's part if it has summaries of its own."""
        super().summarize_rollout(experience)
        if type(self._rl_algorithm).summarize_rollout is not RLAlgorithm.summarize_rollout:
            self._rl_algorithm.summarize_rollout(
                experience._replace(rollout_info=experience.rollout_info.rl)
            )


def _action_distribution(rl_step: AlgStep) -> Any:
    distribution = getattr(rl_step.info, "action_distribution", ())
    if isinstance(distribution, tuple) and not distribution:
        raise ValueError(
            "An entropy target needs an RL algorithm whose info has action_distribution; "
            f"got {type(rl_step.info).__name__}."
        )
    return distribution
