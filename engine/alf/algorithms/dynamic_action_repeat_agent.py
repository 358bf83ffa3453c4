"""An agent that chooses how often to repeat its action (after arXiv:1702.06054)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import RewardNormalizer
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils.summary_utils import summarize_action

__all__ = ["ActionRepeatState", "DynamicActionRepeatAgent"]

ActionRepeatState = namedtuple(
    "ActionRepeatState",
    ["rl", "action", "steps", "k", "rl_discount", "rl_reward", "sample_rewards", "repr"],
    default_value=(),
)
"""State of the agent, and what it stores of a decision.

    rl: state (or info) of the RL algorithm.
    action: [B, ...], the action that is repeated.
    steps: [B], int64, for how many more environment steps it is repeated; counts down to 0.
    k: [B], int64, environment steps since it was chosen.
    rl_discount: [B], gamma^k times the environment's discounts since then.
    rl_reward: [B] or [B, n], discounted sum of the rewards since then.
    sample_rewards: [B] or [B, n], one of those rewards, each with the same probability.
    repr: state (or info) of the representation learner.

While it only predicts, the agent gathers no rewards: ``k``, ``rl_discount``, ``rl_reward`` and
``sample_rewards`` are absent.
"""

ActionRepeatInfo = namedtuple(
    "ActionRepeatInfo", ["decides", "time_step", "action", "info"], default_value=()
)
"""What a rollout step leaves behind for the replay buffer.

    decides: [B], bool, where a decision was over, and therefore the next one was made.
    time_step: the RL algorithm's TimeStep without its observation.
    action: [B, ...], the RL algorithm's action.
    info: ActionRepeatState of infos.
"""


class _Choice(NamedTuple):
    """Where a decision is made, and what comes of it.

    decides: [B], bool.
    action: the RL algorithm's, of all rows.
    state: the agent's next one.
    info: infos of both parts.
    """

    decides: Tensor
    action: Any
    state: ActionRepeatState
    info: ActionRepeatState

    def where(self, new: Any, old: Any) -> Any:
        """Rows of ``new`` where a decision is made, else of ``old``."""

        def row(x: Tensor, y: Tensor) -> Tensor:
            return torch.where(self.decides.reshape(-1, *(1,) * (y.dim() - 1)), x, y)

        return nest.map_structure(row, new, old)


@configurable
class DynamicActionRepeatAgent(OffPolicyAlgorithm):
    """An RL algorithm on the semi-MDP whose actions are pairs (repetitions - 1, action).

    A decision of k steps has the reward ``sum_{j<k} gamma^j r_j``, and a discount for which the
    critic loss's ``gamma * discount`` is gamma^k. The replay buffer has one record for each
    decision, with the reward as ``TrainerConfig.data_transformer_ctor`` makes it. Training waits
    until every environment has enough of them. In ``predict_step()`` the RL algorithm's time step
    has neither reward, discount nor previous action.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        reward_spec: TensorSpec = TensorSpec(()),
        env: Any = None,
        config: TrainerConfig | None = None,
        K: int = 5,
        rl_algorithm_cls: Callable[..., RLAlgorithm] = SacAlgorithm,
        representation_learner_cls: Callable[..., Algorithm] | None = None,
        reward_normalizer_ctor: Callable[..., RewardNormalizer] | None = None,
        gamma: float = 0.99,
        optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "DynamicActionRepeatAgent",
    ) -> None:
        """Build the parts.

        Args:
            action_spec: continuous actions.
            K: most repetitions.
            rl_algorithm_cls: called with ``observation_spec``, ``action_spec``, ``reward_spec``,
                ``config`` and ``debug_summaries``.
            representation_learner_cls: called in the same way; its ``output_spec`` is what the RL
                algorithm observes, by whose losses it is trained.
            reward_normalizer_ctor: makes a RewardNormalizer from ``observation_spec=()``. Its
                statistics are those of single steps.
            gamma: must be that of the RL algorithm's losses.
            optimizer: for all parameters that no part claims; the agent uses its own copy.

        Raises:
            ValueError: an action is discrete, K is not positive, or there are frames to stack.
        """
        if any(spec.is_discrete for spec in nest.flatten(action_spec)):
            raise ValueError(f"{name} needs continuous actions, got {action_spec}.")
        repeat_spec = BoundedTensorSpec((), torch.int64, minimum=0, maximum=K - 1)
        common_arguments = {
            "action_spec": (repeat_spec, action_spec),
            "reward_spec": reward_spec,
            "config": config,
            "debug_summaries": debug_summaries,
        }
        representation_learner, rl_observation_spec = None, observation_spec
        if representation_learner_cls is not None:
            representation_learner = representation_learner_cls(
                observation_spec=observation_spec, **common_arguments
            )
            representation_learner.set_on_policy(False)
            rl_observation_spec = representation_learner.output_spec
        rl = rl_algorithm_cls(observation_spec=rl_observation_spec, **common_arguments)
        count = TensorSpec((), torch.int64)

        def spec_of(kind: str, **more: Any) -> ActionRepeatState:
            learner = representation_learner
            return ActionRepeatState(
                rl=getattr(rl, kind), repr=() if learner is None else getattr(learner, kind), **more
            )

        repeated = {"action": action_spec, "steps": count}
        gathered = {
            "k": count,
            "rl_discount": TensorSpec(()),
            "rl_reward": reward_spec,
            "sample_rewards": reward_spec,
        }
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=spec_of("train_state_spec"),
            rollout_state_spec=spec_of("rollout_state_spec", **repeated, **gathered),
            predict_state_spec=spec_of("predict_state_spec", **repeated),
            env=env,
            config=config,
            optimizer=optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        if self._num_earliest_frames_ignored > 0:
            raise ValueError(
                f"{name} stores decisions, not frames: a data transformer that stacks frames "
                "cannot find them in its replay buffer."
            )
        self._rl = rl
        self._representation_learner = representation_learner
        self._gamma = gamma
        self._train_action_spec = (repeat_spec, action_spec)
        self._record_spec: Any = None
        self._reward_normalizer = None
        if reward_normalizer_ctor is not None:
            self._reward_normalizer = reward_normalizer_ctor(observation_spec=())
        if rl.use_rollout_state:
            self.use_rollout_state = True  # it learns from states that the agent has to store

    def set_path(self, path: str) -> None:
        super().set_path(path)
        prefix = f"{path}." if path else ""
        self._rl.set_path(prefix + "rl")
        if self._representation_learner is not None:
            self._representation_learner.set_path(prefix + "repr")

    # Acting

    def predict_step(self, time_step: TimeStep, state: ActionRepeatState) -> AlgStep:
        """The chosen action for as long as it was chosen; rewards do not count."""
        decision = time_step._replace(reward=(), discount=(), prev_action=())
        choice = self._choose(time_step, decision, state, "predict_step")
        return AlgStep(output=choice.state.action, state=choice.state)

    def rollout_step(self, time_step: TimeStep, state: ActionRepeatState) -> AlgStep:
        """The same, with what the replay buffer needs of a decision that is over."""
        ended = self._gather(time_step, state)
        decision = time_step._replace(
            reward=ended.rl_reward,
            discount=ended.rl_discount / self._gamma,
            prev_action=(state.steps + state.k, state.action),  # their sum never changes
        )
        choice = self._choose(time_step, decision, ended, "rollout_step")
        new_state = choice.state._replace(
            k=choice.where(torch.zeros_like(ended.k), ended.k),
            rl_discount=choice.where(torch.ones_like(ended.rl_discount), ended.rl_discount),
            rl_reward=choice.where(torch.zeros_like(ended.rl_reward), ended.rl_reward),
            sample_rewards=choice.where(
                torch.zeros_like(ended.sample_rewards), ended.sample_rewards
            ),
        )
        info = ActionRepeatInfo(
            decides=choice.decides,
            time_step=decision._replace(observation=(), untransformed=(), env_info=()),
            action=choice.action,
            info=choice.info._replace(sample_rewards=ended.sample_rewards),
        )
        return AlgStep(output=new_state.action, state=new_state, info=info)

    def _choose(
        self, time_step: TimeStep, decision: TimeStep, state: ActionRepeatState, method: str
    ) -> _Choice:
        """The next state where ``method`` of the RL algorithm decides; else one step less to go.

        Args:
            time_step: the environment's.
            decision: the RL algorithm's, with the environment's observation.
            state: only ``rl``, ``action``, ``steps`` and ``repr`` change.
        """
        decides = (state.steps <= 0) | decision.is_first() | decision.is_last()
        repr_step = AlgStep(state=state.repr)
        if self._representation_learner is not None:
            # It follows every step of the environment, so that its memory has no gaps.
            repr_step = getattr(self._representation_learner, method)(time_step, state.repr)
            decision = decision._replace(observation=repr_step.output)
        rl_step = getattr(self._rl, method)(decision, state.rl)
        repeat, action = rl_step.output
        choice = _Choice(
            decides=decides,
            action=rl_step.output,
            state=state,
            info=ActionRepeatState(rl=rl_step.info, repr=repr_step.info),
        )
        return choice._replace(
            state=state._replace(
                rl=choice.where(rl_step.state, state.rl),
                action=choice.where(action, state.action),
                steps=choice.where(repeat.to(state.steps.dtype), state.steps - 1),
                repr=repr_step.state,
            )
        )

    def _gather(self, time_step: TimeStep, state: ActionRepeatState) -> ActionRepeatState:
        """What the present decision has brought, one environment step later; nothing at FIRST."""
        is_first = time_step.is_first()
        reward, k = time_step.reward, state.k + 1

        def like_reward(x: Tensor) -> Tensor:
            return x.reshape(-1, *(1,) * (reward.dim() - 1))

        total = state.rl_reward + like_reward(state.rl_discount) * reward
        drawn = torch.rand(k.shape, device=k.device) * k < 1
        sample = torch.where(like_reward(drawn), reward, state.sample_rewards)
        discount = state.rl_discount * time_step.discount * self._gamma
        nothing = torch.zeros_like(total)
        return state._replace(
            k=torch.where(is_first, 0, k),
            rl_reward=torch.where(like_reward(is_first), nothing, total),
            sample_rewards=torch.where(like_reward(is_first), nothing, sample),
            rl_discount=torch.where(is_first, self._gamma, discount),
        )

    # Data

    def observe_for_replay(self, exp: Experience) -> None:
        """Store a record of each environment whose decision is over."""
        record = exp.rollout_info
        rows = record.decides.nonzero().squeeze(-1)
        if rows.numel() == 0:
            return
        info = dist_utils.distributions_to_params(record.info)
        kept = nest.map_structure(
            lambda x: x.index_select(0, rows),
            Experience(
                time_step=record.time_step._replace(observation=exp.time_step.observation),
                action=record.action,
                rollout_info=info,
                state=nest.prune_nest_like(exp.state, self.train_state_spec, value_to_match=())
                if self.use_rollout_state
                else (),
            ),
        )
        if self._record_spec is None:
            self._record_spec = dist_utils.extract_spec(record.info)
        super().observe_for_replay(kept)

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        """As usual, once each environment has enough decisions for one sequence."""
        buffer: Any = self._replay_buffer
        length = 1 if self._config is None else self._config.mini_batch_length or 1
        if buffer is not None and int(buffer._current_size.min()) < length:
            return 0
        return super().train_from_replay_buffer(update_global_counter)

    def transform_experience(self, experience: Experience) -> Experience:
        """Observations as usual; rewards were transformed before they were added up."""
        reward = experience.time_step.reward
        experience = super().transform_experience(experience)
        return experience._replace(time_step=experience.time_step._replace(reward=reward))

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: ActionRepeatState, batch_info: Any
    ) -> tuple[TimeStep, ActionRepeatState]:
        """Normalize rewards [B, T], if asked for, and let the RL algorithm prepare."""
        if self._record_spec is not None:
            rollout_info = dist_utils.params_to_distributions(rollout_info, self._record_spec)
        if self._reward_normalizer is not None:
            normalizer = self._reward_normalizer.normalizer
            normalizer.update(rollout_info.sample_rewards)
            reward = normalizer.normalize_without_update(
                root_inputs.reward, self._reward_normalizer.clip_value
            )
            root_inputs = root_inputs._replace(reward=reward)
        root_inputs, rl_info = self._rl.preprocess_experience(
            root_inputs, rollout_info.rl, batch_info
        )
        return root_inputs, rollout_info._replace(rl=rl_info)

    # Training

    def train_step(
        self, inputs: TimeStep, state: ActionRepeatState, rollout_info: ActionRepeatState
    ) -> AlgStep:
        info, new_state = ActionRepeatState(), ActionRepeatState()
        if self._representation_learner is not None:
            step = self._representation_learner.train_step(inputs, state.repr, rollout_info.repr)
            inputs = inputs._replace(observation=step.output)
            info, new_state = info._replace(repr=step.info), new_state._replace(repr=step.state)
        step = self._rl.train_step(inputs, state.rl, rollout_info.rl)
        return AlgStep(
            output=step.output,
            state=new_state._replace(rl=step.state),
            info=info._replace(rl=step.info),
        )

    def calc_loss(self, info: ActionRepeatState) -> LossInfo:
        return self._rl.calc_loss(info.rl)

    def after_update(self, root_inputs: Any, info: ActionRepeatState) -> None:
        self._rl.after_update(root_inputs, info.rl)

    def summarize_train(
        self, experience: Experience, train_info: Any, loss_info: LossInfo, params: Any
    ) -> None:
        """As usual; the actions that are trained on have their number of repetitions."""
        shown = self._debug_summaries
        self._debug_summaries = False
        try:
            super().summarize_train(experience, train_info, loss_info, params)
        finally:
            self._debug_summaries = shown
        if shown and summary.should_record_summaries():
            summarize_action(experience.action, self._train_action_spec)
            self.summarize_reward("training_reward", experience.reward)
