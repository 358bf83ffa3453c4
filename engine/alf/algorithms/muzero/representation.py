"""Learning the model of MuZero from a replay buffer, with reanalyze."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import create_data_transformer
from alf.algorithms.mcts_models import MCTSModel, ModelOutput, ModelState
from alf.algorithms.muzero.lookup import Lookup, LookupSettings
from alf.algorithms.muzero.reanalyze import Reanalyzer, ReanalyzeSettings, call_with_offered
from alf.algorithms.muzero.targets import inside, read
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.algorithms.training.priority_function import priority_function
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.device_ctx import get_default_device
from alf.experience_replayers.replay_buffer import BatchInfo
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils, summary_utils
from alf.utils._periodic import TargetUpdater
from alf.utils._policy_state import expand_dims_as
from alf.utils.tensor_utils import scale_gradient

PUBLIC_MODULE = "alf.algorithms.muzero_representation_learner"  # under which names are configured

MuzeroInfo = namedtuple("MuzeroInfo", ["action", "value", "target", "loss"], default_value=())
MuzeroInfo.__doc__ = """What is learnt from.

Fields:
    action: nest of [B, R, ...], the actions of the R steps after the root.
    value: [B], the value found when acting.
    target: `ModelTarget` [B, R + 1, ...].
    loss: `LossInfo` [B].
"""


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
        model_ctor: called with ``observation_spec``, ``action_spec``, ``debug_summaries``, and with
            ``num_unroll_steps`` if it takes it; gives a `MCTSModel`.
        num_unroll_steps: R.
        td_steps: n of the n-step return. -1: until the end of the game, whose only reward has to be
            the one of the last step; needs ``ReplayBuffer.keep_episodic_info=True``.
        discount: per step.
        reward_spec: only of one reward.
        recurrent_gradient_scaling_factor: for the gradient from each step of the unroll to the one
            before, not for that from the first one to the representation.
        reward_transformer: called with rewards.
        calculate_priority: None: as `TrainerConfig.priority_replay`.
        train_reward_function: must be that of the model. If False the only reward is that of the
            last step, and the value of the last step is that reward.
        train_game_over_function: must be that of the model, as the next two.
        reanalyze_algorithm_ctor: called with ``observation_spec``, ``action_spec``,
            ``debug_summaries`` and ``name``, and with ``model`` if it takes one, not with
            ``discount`` (bind that of the learner); its ``predict_step()`` has the info of
            `MCTSAlgorithm`. It searches from the stored rollout states
            (`TrainerConfig.use_rollout_state`), else from states of the beginning.
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
            return call_with_offered(
                model_ctor,
                {"num_unroll_steps": num_unroll_steps},
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
        self._gradient_scale = recurrent_gradient_scaling_factor
        self._train_repr_prediction = train_repr_prediction
        self._data_augmenter = data_augmenter
        self._reward_transformer = reward_transformer
        self._random_action_after_episode_end = random_action_after_episode_end
        if calculate_priority is None:
            calculate_priority = config is not None and config.priority_replay
        self._calculate_priority = calculate_priority
        self._priority_func = priority_function(priority_func)
        reanalyzer = None
        if reanalyze_algorithm_ctor is not None and reanalyze_ratio > 0:
            self._target_model = make_model()
            # As ALF does, and against its documentation, without ``discount``.
            self._reanalyze_algorithm = call_with_offered(
                reanalyze_algorithm_ctor,
                {"model": self._target_model},
                observation_spec=observation_spec,
                action_spec=action_spec,
                debug_summaries=debug_summaries,
                name="reanalyze",
            )
            self._update_target = TargetUpdater(
                models=[model],
                target_models=[self._target_model],
                tau=target_update_tau,
                period=target_update_period,
            )
            reanalyze_settings = ReanalyzeSettings(
                ratio=reanalyze_ratio,
                td_steps=reanalyze_td_steps,
                td_steps_func=reanalyze_td_steps_func,
                batch_size=reanalyze_batch_size,
                full=full_reanalyze,
                autocast=lambda: autocast(enable_amp),
            )
            reanalyzer = Reanalyzer(
                self._reanalyze_algorithm,
                self._target_model,
                reanalyze_settings,
                has_states=config is not None and config.use_rollout_state,
            )
        transformer = None if config is None else config.data_transformer
        if data_transformer_ctor is not None:
            transformer = create_data_transformer(data_transformer_ctor, observation_spec)
        settings = LookupSettings(
            num_unroll_steps=num_unroll_steps,
            td_steps=td_steps,
            discount=discount,
            train_reward_function=train_reward_function,
            train_game_over_function=train_game_over_function,
            train_repr_prediction=train_repr_prediction,
            train_policy=train_policy,
            reward_transformer=reward_transformer,
        )
        # No module: the transformer belongs to the root algorithm.
        self._lookup = Lookup(settings, transformer, reanalyzer)
        self._has_target_model = reanalyzer is not None

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
        buffer = batch_info.replay_buffer
        action, target = self._lookup(buffer, env_ids, positions, self.path)
        if self._random_action_after_episode_end:
            R = self._num_unroll_steps
            drawn = nest.map_structure(lambda s: s.sample((B * T, R)), self.action_spec)
            behind = target.beyond_episode_end[:, 1:]
            action = nest.map_structure(
                lambda x, y: torch.where(expand_dims_as(behind, x), y, x), action, drawn
            )
        value = read(buffer, f"{inside('rollout_info', self.path)}.value", env_ids, positions)
        info = MuzeroInfo(action=action, value=value, target=target)
        info = nest.map_structure(lambda x: x.unflatten(0, (B, T)), info)
        if self._reward_transformer is not None:
            root_inputs = root_inputs._replace(reward=self._reward_transformer(root_inputs.reward))
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

    # ---- learning -------------------------------------------------------------------------------

    def train_step(self, exp: TimeStep, state: Any, rollout_info: MuzeroInfo) -> AlgStep:
        """Unroll the model from each step [B] and compare; the latent state is the output."""
        output = self._model.initial_inference(exp.observation)
        latent = output.state.state
        outputs = [_learnt(output, self._train_repr_prediction)]
        for r in range(self._num_unroll_steps):
            action = nest.map_structure(lambda x, r=r: x[:, r], rollout_info.action)
            output = self._model.recurrent_inference(output.state, action)
            outputs.append(_learnt(output, self._train_repr_prediction))
            # From one step of the dynamics to that before; the root's gradient is not scaled.
            output = output._replace(state=nest.map_structure(self._scaled, output.state))
        spec = dist_utils.extract_spec(outputs[0])
        stacked = nest.map_structure(
            lambda *xs: torch.stack(xs, dim=1),
            *[dist_utils.distributions_to_params(x) for x in outputs],
        )
        loss = self._model.calc_loss(
            dist_utils.params_to_distributions(stacked, spec), rollout_info.target
        )
        if self._config is not None and self._config.mask_out_loss_for_last_step:
            # What is not learnt must not get a high priority for not being known.
            counts = (~exp.is_last()).to(loss.loss.dtype)
            loss = nest.map_structure(lambda x: x * counts, loss)
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
        if self._has_target_model:
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
