"""Learning the model of MuZero from a replay buffer, with reanalyze."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from alf.algorithms._muzero_reanalyze import (
    LinearTdStepFunc,
    Reanalyzer,
    ReanalyzeSettings,
    make_reanalyzer,
)
from alf.algorithms._muzero_targets import (
    Spans,
    find_spans,
    n_step_values,
    outcome_values,
    read,
)
from alf.algorithms._own_optimizers import own_optimizers
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import IdentityDataTransformer, create_data_transformer
from alf.algorithms.mcts_models import MCTSModel, ModelOutput, ModelState, ModelTarget
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, namedtuple
from alf.device_ctx import get_default_device
from alf.experience_replayers.replay_buffer import BatchInfo
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import common, dist_utils, summary_utils
from alf.utils.tensor_utils import scale_gradient

__all__ = [
    "AlgStep",
    "LinearTdStepFunc",
    "LossInfo",
    "MuzeroInfo",
    "MuzeroRepresentationImpl",
    "MuzeroRepresentationLearner",
    "MuzeroRepresentationTrainingOptions",
    "TimeStep",
]

MuzeroInfo = namedtuple("MuzeroInfo", ["action", "value", "target", "loss"], default_value=())
MuzeroInfo.__doc__ = """What is learnt from.

Fields:
    action: nest of [B, R, ...], the actions of the R steps after the root.
    value: [B], the value found when acting.
    target: `ModelTarget` [B, R + 1, ...].
    loss: `LossInfo` [B].
"""


class MuzeroRepresentationTrainingOptions(NamedTuple):
    """How `MuzeroRepresentationLearner` trains, whatever the RL algorithm beside it does.

    Attributes:
        interval: train in every so many iterations.
        mini_batch_length: as in `TrainerConfig`, as are the next.
        initial_collect_steps: records before the first update.
        priority_replay: sample by the loss.
    """

    interval: int = 1
    mini_batch_length: int = 1
    mini_batch_size: int = 256
    num_updates_per_train_iter: int = 10
    replay_buffer_length: int = 100000
    initial_collect_steps: int = 2000
    priority_replay: bool = True
    priority_replay_alpha: float = 1.2
    priority_replay_beta: float = 0.0

    def own_config(self, config: TrainerConfig) -> TrainerConfig:
        """A copy of the trainer's configuration with these settings."""
        own = copy.copy(config)
        for name in self._fields:
            if name != "interval":
                setattr(own, name, getattr(self, name))
        own.whole_replay_buffer_training = False
        own.clear_replay_buffer = False
        own.use_rollout_state = False
        own.data_transformer = None  # what the learner is shown has been transformed
        return own


@configurable
class MuzeroRepresentationImpl(OffPolicyAlgorithm):
    """Learns a model whose latent states foretell rewards, values, policies and ends of games.

    MuZero (Schrittwieser et al. 2020, arXiv:1911.08265, appendix G). From each sampled step the
    model is unrolled along the actions that were taken; it is to say what then was found:

    * the reward that came;
    * the value: the rewards of ``td_steps`` steps, then the value found in the search there;
    * the policy of the search;
    * whether the game was over.

    The steps after a sampled one are looked up in the replay buffer, where `rollout_info` is to
    have the fields of `MCTSInfo` (``value`` alone with ``train_policy=False``).

    Args:
        observation_spec: of the transformed observations.
        action_spec: of the actions.
        model_ctor: called with ``observation_spec``, ``action_spec`` and ``debug_summaries``; gives
            a `MCTSModel`.
        num_unroll_steps: R.
        td_steps: n of the n-step return. -1: until the end of the game, whose only reward has to be
            the one of the last step; needs ``ReplayBuffer.keep_episodic_info=True``.
        discount: per step.
        reward_spec: only of one reward.
        recurrent_gradient_scaling_factor: for the gradient through each step of the unroll.
        reward_transformer: called with rewards.
        calculate_priority: None: as `TrainerConfig.priority_replay`.
        train_reward_function: must be that of the model. If False the only reward is that of the
            last step, and the value of the last step is that reward.
        train_game_over_function: must be that of the model, as the next two.
        reanalyze_algorithm_ctor: called with ``observation_spec``, ``action_spec``, ``discount``,
            ``debug_summaries`` and ``name``, and with ``model`` if it takes one; its
            ``predict_step()`` has the info of `MCTSAlgorithm`.
        reanalyze_ratio: share of the samples whose values and policies are found anew.
        reanalyze_td_steps: n of the n-step return of those.
        reanalyze_td_steps_func: called with the samples' age [N], ``reanalyze_td_steps`` and the
            largest age; gives n [N], no more than ``reanalyze_td_steps``. See `LinearTdStepFunc`.
        reanalyze_batch_size: search so many at a time; None: all.
        full_reanalyze: search also the steps behind the unroll, instead of asking the model alone.
        priority_func: called with the `LossInfo` [T, B] of the model; gives priorities [B]. A text
            is evaluated first.
        data_transformer_ctor: of the data in the replay buffer; None: that of the config.
        data_augmenter: called with observations [B, T, ...], or [B, T * (R + 1), ...] if
            representations are predicted.
        target_update_tau: how far the model for reanalyze follows.
        target_update_period: how often.
        config: the trainer's.
        enable_amp: mixed precision for reanalyze, on accelerators.
        random_action_after_episode_end: draw the actions behind the end of an episode; else the
            last one is repeated.
        optimizer: the algorithm uses its own copy. None: a parent trains.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        model_ctor: Callable[..., MCTSModel],
        num_unroll_steps: int,
        td_steps: int,
        discount: float,
        reward_spec: TensorSpec = TensorSpec(()),
        recurrent_gradient_scaling_factor: float = 0.5,
        reward_transformer: Callable[[Tensor], Tensor] | None = None,
        calculate_priority: bool | None = None,
        train_reward_function: bool = True,
        train_game_over_function: bool = True,
        train_repr_prediction: bool = False,
        train_policy: bool = True,
        reanalyze_algorithm_ctor: Callable[..., Algorithm] | None = None,
        reanalyze_ratio: float = 0.0,
        reanalyze_td_steps: int = 5,
        reanalyze_td_steps_func: Callable[..., Tensor] | None = None,
        reanalyze_batch_size: int | None = None,
        full_reanalyze: bool = False,
        priority_func: Callable[[LossInfo], Tensor]
        | str = "lambda loss_info: loss_info.extra['value'].sqrt().sum(dim=0)",
        data_transformer_ctor: Callable | list[Callable] | None = None,
        data_augmenter: Callable[[Any], Any] | None = None,
        target_update_tau: float = 1.0,
        target_update_period: int = 1000,
        config: TrainerConfig | None = None,
        enable_amp: bool = True,
        random_action_after_episode_end: bool = False,
        optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "MuzeroRepresentationImpl",
    ) -> None:
        if td_steps == 0 or td_steps < -1 or num_unroll_steps < 0 or reanalyze_td_steps < 1:
            raise ValueError(
                f"td_steps={td_steps} has to be positive or -1, reanalyze_td_steps="
                f"{reanalyze_td_steps} positive, num_unroll_steps={num_unroll_steps} at least 0"
            )
        if not 0 <= reanalyze_ratio <= 1 or (
            reanalyze_ratio > 0 and reanalyze_algorithm_ctor is None
        ):
            raise ValueError(
                f"reanalyze_ratio={reanalyze_ratio} has to be within [0, 1], and above 0 it needs "
                f"reanalyze_algorithm_ctor, which is {reanalyze_algorithm_ctor}"
            )
        if reward_spec.numel != 1:
            raise ValueError(f"{name} needs one reward, its reward_spec is {reward_spec}")

        def make_model() -> MCTSModel:
            return model_ctor(
                observation_spec=observation_spec,
                action_spec=action_spec,
                debug_summaries=debug_summaries,
            )

        model = make_model()
        for option, here in (
            ("train_reward_function", train_reward_function),
            ("train_game_over_function", train_game_over_function),
            ("train_repr_prediction", train_repr_prediction),
            ("train_policy", train_policy),
        ):
            there = getattr(model, f"_{option}", here)
            if there != here:
                raise ValueError(f"{option} is {here} for {name}, but {there} for its model")
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=(),
            reward_spec=reward_spec,
            config=config,
            optimizer=optimizer,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._model = model
        self._num_unroll_steps = num_unroll_steps
        self._td_steps = td_steps
        self._discount = discount
        self._gradient_scale = recurrent_gradient_scaling_factor
        self._reward_transformer = reward_transformer
        self._train_reward_function = train_reward_function
        self._train_repr_prediction = train_repr_prediction
        self._train_policy = train_policy
        self._data_augmenter = data_augmenter
        self._random_action_after_episode_end = random_action_after_episode_end
        if calculate_priority is None:
            calculate_priority = config is not None and config.priority_replay
        self._calculate_priority = calculate_priority
        self._priority_func = (
            eval(priority_func) if isinstance(priority_func, str) else priority_func
        )
        transformer = None if config is None else config.data_transformer
        if data_transformer_ctor is not None:
            transformer = create_data_transformer(data_transformer_ctor, observation_spec)
        # In a tuple: it belongs to the root algorithm.
        self._transformers = (transformer,)
        self._reanalyzer: Reanalyzer | None = None
        if reanalyze_algorithm_ctor is not None and reanalyze_ratio > 0:
            self._target_model = make_model()
            self._reanalyze_algorithm = make_reanalyzer(
                reanalyze_algorithm_ctor,
                self._target_model,
                observation_spec=observation_spec,
                action_spec=action_spec,
                discount=discount,
                debug_summaries=debug_summaries,
                name="reanalyze",
            )
            self._update_target = common.TargetUpdater(
                models=[model],
                target_models=[self._target_model],
                tau=target_update_tau,
                period=target_update_period,
            )
            settings = ReanalyzeSettings(
                ratio=reanalyze_ratio,
                td_steps=reanalyze_td_steps,
                td_steps_func=reanalyze_td_steps_func,
                batch_size=reanalyze_batch_size,
                full=full_reanalyze,
                autocast=lambda: autocast(enable_amp),
            )
            self._reanalyzer = Reanalyzer(self._reanalyze_algorithm, self._target_model, settings)

    @property
    def model(self) -> MCTSModel:
        """What is learnt."""
        return self._model

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_model", "_reanalyze_algorithm"]

    # ---- acting ---------------------------------------------------------------------------------

    @torch.no_grad()
    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        """The latent state as output."""
        latent = self._model.initial_representation(time_step.observation)
        return AlgStep(output=latent, state=state)

    @torch.no_grad()
    def rollout_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        """The latent state as output; the info has the model's value."""
        latent = self._model.initial_representation(time_step.observation)
        value = self._model.initial_predict(latent).value
        return AlgStep(output=latent, state=state, info=MuzeroInfo(value=value))

    # ---- what is to be learnt -------------------------------------------------------------------

    @torch.no_grad()
    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Any, batch_info: BatchInfo
    ) -> tuple[TimeStep, MuzeroInfo]:
        """Look up [B, T] what followed each step: the rollout info becomes a `MuzeroInfo`."""
        B, T = root_inputs.step_type.shape
        step = torch.arange(T, device=batch_info.positions.device)
        positions = (batch_info.positions.unsqueeze(1) + step).flatten()
        env_ids = batch_info.env_ids.repeat_interleave(T)
        td_steps = max(self._td_steps, 1)
        if self._reanalyzer is not None:
            td_steps = max(td_steps, self._reanalyzer.settings.td_steps)
        R = self._num_unroll_steps
        buffer = batch_info.replay_buffer
        spans = find_spans(buffer, env_ids, positions, R + 1 + td_steps)
        steps = self._read_steps(buffer, spans)
        target = self._target(buffer, spans, steps)
        action = nest.map_structure(lambda x: x[:, 1 : R + 1], steps.prev_action)
        if self._random_action_after_episode_end:
            drawn = nest.map_structure(lambda s: s.sample((B * T, R)), self.action_spec)
            behind = target.beyond_episode_end[:, 1:]
            action = nest.map_structure(
                lambda x, y: torch.where(common.expand_dims_as(behind, x), y, x), action, drawn
            )
        value = read(buffer, self._info_field("value"), env_ids, positions)
        info = MuzeroInfo(action=action, value=value, target=target)
        info = nest.map_structure(lambda x: x.unflatten(0, (B, T)), info)
        return self._augment(root_inputs, info)

    def _augment(self, root_inputs: TimeStep, info: MuzeroInfo) -> tuple[TimeStep, MuzeroInfo]:
        if self._data_augmenter is None:
            return root_inputs, info
        if not self._train_repr_prediction:
            return root_inputs._replace(
                observation=self._data_augmenter(root_inputs.observation)
            ), info
        T = root_inputs.step_type.shape[1]
        flat = nest.map_structure(lambda x: x.flatten(1, 2), info.target.observation)
        augmented = nest.map_structure(
            lambda x: x.unflatten(1, (T, x.shape[1] // T)), self._data_augmenter(flat)
        )
        root = nest.map_structure(lambda x: x[:, :, 0], augmented)
        info = info._replace(target=info.target._replace(observation=augmented))
        return root_inputs._replace(observation=root), info

    def _info_field(self, field: str) -> str:
        return ".".join(filter(None, ("rollout_info", self.path, field)))

    def _read_steps(self, buffer: Any, spans: Spans) -> TimeStep:
        """The transformed time steps [N, S, ...] of spans, with what is needed of them."""
        fields = ["step_type", "reward", "discount", "prev_action", "env_id"]
        (transformer,) = self._transformers
        changes = not (transformer is None or isinstance(transformer, IdentityDataTransformer))
        if changes or self._reanalyzer is not None or self._train_repr_prediction:
            fields.append("observation")
        values = {
            field: read(buffer, f"time_step.{field}", spans.env_ids, spans.positions)
            for field in fields
        }
        steps = TimeStep(**values)
        if changes:
            N, S = spans.positions.shape
            # Each step by itself: spans stand still at the end of an episode.
            rows = nest.map_structure(lambda x: x.flatten(0, 1).unsqueeze(1), steps)
            info = BatchInfo(
                env_ids=spans.env_ids.repeat_interleave(S),
                positions=spans.positions.flatten(),
                replay_buffer=buffer,
            )
            experience = Experience(time_step=rows, batch_info=info, replay_buffer=buffer)
            rows = transformer.transform_experience(experience).time_step
            rows = rows._replace(untransformed=())
            steps = nest.map_structure(lambda x: x.squeeze(1).unflatten(0, (N, S)), rows)
        if self._reward_transformer is not None:
            steps = steps._replace(reward=self._reward_transformer(steps.reward))
        return steps

    def _target(self, buffer: Any, spans: Spans, steps: TimeStep) -> ModelTarget:
        """Targets [N, R + 1, ...]."""
        n = self._num_unroll_steps + 1
        at = torch.arange(n, device=spans.end.device)
        end, finished = spans.end.unsqueeze(1), spans.is_finished.unsqueeze(1)
        beyond = at > end
        over = (at >= end) & finished
        value, candidates, policy = self._found(buffer, spans, steps)
        if self._train_policy:
            policy = policy.masked_fill((beyond | over).unsqueeze(-1), 0.0)
        observation = ()
        if self._train_repr_prediction:
            observation = nest.map_structure(lambda x: x[:, :n], steps.observation)
        return ModelTarget(
            is_partial_trajectory=beyond & ~finished,
            beyond_episode_end=beyond,
            reward=steps.reward[:, :n].masked_fill(beyond, 0.0),
            action=candidates,
            action_policy=policy,
            game_over=over,
            value=value,
            observation=observation,
        )

    def _found(self, buffer: Any, spans: Spans, steps: TimeStep) -> tuple[Tensor, Any, Any]:
        """Values to learn [N, R + 1]; candidates and policies [N, R + 1, K, ...] of searches."""
        n = self._num_unroll_steps + 1
        ids, positions = spans.env_ids, spans.positions
        found = read(buffer, self._info_field("value"), ids, positions)
        candidates, policy = (), ()
        if self._train_policy:
            candidates, policy = (
                read(buffer, self._info_field(field), ids, positions[:, :n])
                for field in ("candidate_actions", "candidate_action_policy")
            )
        td_steps = torch.full_like(spans.end, max(self._td_steps, 1))
        again = torch.zeros_like(spans.is_finished)
        if self._reanalyzer is not None:
            count = round(len(again) * self._reanalyzer.settings.ratio)
            again[torch.randperm(len(again), device=again.device)[:count]] = True
        if self._reanalyzer is not None and count > 0:
            rows = again.nonzero().squeeze(1)
            chosen = nest.map_structure(lambda x: x[rows], steps)
            state = self._stored_states(buffer, ids[rows], positions[rows])
            info, value = self._reanalyzer.search(chosen, state, n)
            found = found.index_copy(0, rows, value.to(found.dtype))
            new_steps = self._reanalyzer.td_steps(buffer, ids[rows], positions[rows, 0])
            td_steps = td_steps.index_copy(0, rows, new_steps)
            if self._train_policy:
                candidates, policy = nest.map_structure(
                    lambda x, y: x.index_copy(0, rows, y.to(x.dtype)),
                    (candidates, policy),
                    (info.candidate_actions, info.candidate_action_policy),
                )
        value = self._returns(spans, steps, found, td_steps)
        if self._td_steps == -1:
            outcome = self._outcomes(buffer, spans, n)
            value = torch.where(again.unsqueeze(1), value, outcome)
        return value, candidates, policy

    def _stored_states(self, buffer: Any, env_ids: Tensor, positions: Tensor) -> Any:
        """States [N, S, ...] of the search, if they are stored, else ()."""
        if self.use_rollout_state and nest.flatten(buffer._data_spec.state):
            return read(buffer, ".".join(filter(None, ("state", self.path))), env_ids, positions)
        is_two = getattr(self._reanalyze_algorithm, "is_two_player_game", False)
        if is_two and "to_play" not in (self.observation_spec or ()):
            raise ValueError(
                f"{self.name}: reanalyze has to know who is to play: the observation needs a field "
                "'to_play'"
            )
        return ()

    def _returns(self, spans: Spans, steps: TimeStep, found: Tensor, td_steps: Tensor) -> Tensor:
        """n-step values [N, R + 1]; ``found`` [N, S] are the values found by searches."""
        reward, discount = steps.reward, self._discount * steps.discount
        if not self._train_reward_function:
            # The outcome is what the last state is worth; nothing is earned on the way.
            at = torch.arange(reward.shape[1], device=reward.device)
            is_end = (at >= spans.end.unsqueeze(1)) & spans.is_finished.unsqueeze(1)
            found = torch.where(is_end, reward, found)
            discount = torch.where(is_end, self._discount, discount)
            reward = torch.zeros_like(reward)
        return n_step_values(
            reward, discount, found, spans.end, td_steps, self._num_unroll_steps + 1
        )

    def _outcomes(self, buffer: Any, spans: Spans, n: int) -> Tensor:
        """Values [N, R + 1] of games up to their end."""
        root = spans.positions[:, 0]
        left = buffer.steps_to_episode_end(root, spans.env_ids)
        last = Spans(spans.env_ids, (root + left).unsqueeze(1), spans.end, spans.is_finished)
        step = self._read_steps(buffer, last)
        outcome, discount = step.reward.squeeze(1), step.discount.squeeze(1)
        is_over = step.is_last().squeeze(1) & (discount == 0)
        value = read(buffer, self._info_field("value"), last.env_ids, last.positions).squeeze(1)
        if not self._train_reward_function:
            zero = torch.zeros_like(outcome)
            ending = torch.where(is_over, outcome, value)
            return outcome_values(zero, self._discount, left, ending, n)
        return outcome_values(outcome, self._discount, left, value.masked_fill(is_over, 0.0), n)

    # ---- learning -------------------------------------------------------------------------------

    def train_step(self, exp: TimeStep, state: Any, rollout_info: MuzeroInfo) -> AlgStep:
        """Unroll the model from each step [B] and compare; the latent state is the output."""
        output = self._model.initial_inference(exp.observation)
        latent = output.state.state
        outputs = [_learnt(output, self._train_repr_prediction)]
        for r in range(self._num_unroll_steps):
            before = nest.map_structure(self._scaled, output.state)
            action = nest.map_structure(lambda x, r=r: x[:, r], rollout_info.action)
            output = self._model.recurrent_inference(before, action)
            outputs.append(_learnt(output, self._train_repr_prediction))
        spec = dist_utils.extract_spec(outputs[0])
        stacked = nest.map_structure(
            lambda *xs: torch.stack(xs, dim=1),
            *[dist_utils.distributions_to_params(x) for x in outputs],
        )
        loss = self._model.calc_loss(
            dist_utils.params_to_distributions(stacked, spec), rollout_info.target
        )
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self.name):
                summary_utils.add_mean_hist_summary("target_value", rollout_info.target.value)
        info = MuzeroInfo(value=rollout_info.value, loss=loss)
        return AlgStep(output=latent.detach(), state=state, info=info)

    def _scaled(self, x: Tensor) -> Tensor:
        return scale_gradient(x, self._gradient_scale) if x.is_floating_point() else x

    def calc_loss(self, info: MuzeroInfo) -> LossInfo:
        loss = info.loss
        if self._calculate_priority:
            loss = loss._replace(priority=self._priority_func(loss))
        return loss

    def after_update(self, root_inputs: Any, info: Any) -> None:
        if self._reanalyzer is not None:
            self._update_target()


def _learnt(output: ModelOutput, with_state: bool) -> ModelOutput:
    """The part of an output that the loss looks at."""
    return ModelOutput(
        action_distribution=output.action_distribution,
        game_over_logit=output.game_over_logit,
        value_pred=output.value_pred,
        reward_pred=output.reward_pred,
        state=ModelState(state=output.state.state) if with_state else (),
    )


def autocast(enabled: bool) -> Any:
    """Mixed precision on an accelerator; on a CPU it would be slower."""
    device = get_default_device()
    if not enabled or device == "cpu":
        return contextlib.nullcontext()
    return torch.autocast(device)


@configurable
class MuzeroRepresentationLearner(OffPolicyAlgorithm):
    """`MuzeroRepresentationImpl` as the representation learner of an `Agent`.

    It has a replay buffer of its own, and trains after each iteration of the agent.

    Args:
        observation_spec: of the observations.
        action_spec: of the actions.
        config: the trainer's.
        training_options: None: it does not learn.
        reward_spec: of the rewards.
        impl_cls: called with ``observation_spec``, ``action_spec``, ``reward_spec``, ``config`` and
            ``debug_summaries``; needs an optimizer.
    """

    _num_iterations: Tensor

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        config: TrainerConfig | None,
        training_options: MuzeroRepresentationTrainingOptions | None = None,
        reward_spec: TensorSpec = TensorSpec(()),
        impl_cls: Callable[..., MuzeroRepresentationImpl] = MuzeroRepresentationImpl,
        debug_summaries: bool = False,
        name: str = "MuZeroRepresentationLearner",
    ) -> None:
        own_config = config
        if config is not None and training_options is not None:
            own_config = training_options.own_config(config)
        impl = impl_cls(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            config=own_config,
            debug_summaries=debug_summaries,
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=(),
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._impl = impl
        self._training_options = training_options
        self.register_buffer("_num_iterations", torch.zeros((), dtype=torch.int64, device="cpu"))

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_impl"]

    @property
    def output_spec(self) -> TensorSpec:
        """Spec of the representation."""
        return self._impl.model.repr_spec

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        return self._impl.predict_step(time_step, state)

    def rollout_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        return self._impl.rollout_step(time_step, state)

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Any, batch_info: BatchInfo
    ) -> tuple[TimeStep, Any]:
        """Nothing: what the model learns from is prepared when it learns."""
        return root_inputs, rollout_info

    def train_step(self, exp: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        """The representation for the RL algorithm, whose gradients end here."""
        return self._impl.predict_step(exp, state)

    def calc_loss(self, info: Any) -> LossInfo:
        return LossInfo()

    def after_update(self, root_inputs: Any, info: Any) -> None:
        """Nothing: the model is not changed by updates of the RL algorithm."""

    def after_train_iter(self, experience: TimeStep | None, info: MuzeroInfo | None) -> None:
        """Store the unroll [T, B, ...] and learn from what is stored."""
        options = self._training_options
        if options is None:
            return
        if experience is None or info is None:
            raise ValueError(
                f"{self.name} needs the time steps of each unroll: "
                "TrainerConfig.use_root_inputs_for_after_train_iter=True, and no iteration without"
            )
        self._store(experience, info)
        self._num_iterations += 1
        if int(self._num_iterations) % options.interval == 0:
            with summary.scope(self.name):
                self._impl.train_from_replay_buffer(update_global_counter=False)

    def _store(self, experience: TimeStep, info: MuzeroInfo) -> None:
        options = self._training_options
        T, B = experience.step_type.shape
        if self._impl._replay_buffer is None:
            self._impl.set_replay_buffer(B, options.replay_buffer_length, options.priority_replay)
        kept = experience._replace(untransformed=(), env_info=())
        for t in range(T):
            step, own = nest.map_structure(lambda x, t=t: x[t], (kept, info))
            # The action of a step is the ``prev_action`` of the next one.
            self._impl.observe_for_replay(Experience(time_step=step, rollout_info=own))
