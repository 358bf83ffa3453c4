"""Representations that foretell what will be: rewards, observations, whatever is stored.

Axis letters: B rows, R steps that are unrolled, D latent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.muzero.targets import find_spans, read
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.experience_replayers.replay_buffer import BatchInfo
from alf.layers import FC
from alf.nest import nest
from alf.networks.network import Network
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import math_ops
from alf.utils.normalizers import AdaptiveNormalizer
from alf.utils.spec_utils import is_same_spec

__all__ = [
    "AlgStep",
    "LossInfo",
    "PredictiveRepresentationLearner",
    "PredictiveRepresentationLearnerInfo",
    "SimpleDecoder",
    "TimeStep",
]

PredictiveRepresentationLearnerInfo = namedtuple(
    "PredictiveRepresentationLearnerInfo", ["action", "mask", "target"], default_value=()
)
PredictiveRepresentationLearnerInfo.__doc__ = """What followed a step.

Fields:
    action: nest of [B, R, ...].
    mask: bool [B, R + 1], False behind the end of the episode.
    target: nest of [B, R + 1, ...]; a list of such nests if there are several decoders.
"""


@configurable
class SimpleDecoder(Algorithm):
    """Predicts a target from a representation; the loss is elementwise.

    Args:
        input_tensor_spec: of the representation.
        target_field: what is predicted: a field of the time step, such as "reward", or the dotted
            name of another field of `Experience`.
        decoder_net_ctor: called with ``input_tensor_spec``.
        loss_ctor: gives a function of prediction and target that keeps their axes.
        loss_weight: factor of the loss.
        summarize_each_dimension: write the loss of each element of the target too.
        optimizer: must be without parameters; the algorithm uses its own copy. None leaves the
            decoder to the ``optimizer`` of a parent.
        normalize_target: the loss is that of normalized targets and predictions; predictions
            themselves are not normalized.
        append_target_field_to_name: the name is ``name.target_field``.
        debug_summaries: write summaries of the loss.
        name: name of the algorithm.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        target_field: str,
        decoder_net_ctor: Callable[..., Network],
        loss_ctor: Callable[[], Callable[[Tensor, Tensor], Tensor]] = partial(
            nn.SmoothL1Loss, reduction="none"
        ),
        loss_weight: float = 1.0,
        summarize_each_dimension: bool = False,
        optimizer: torch.optim.Optimizer | None = None,
        normalize_target: bool = False,
        append_target_field_to_name: bool = True,
        debug_summaries: bool = False,
        name: str = "SimpleDecoder",
    ) -> None:
        if append_target_field_to_name:
            name = f"{name}.{target_field}"
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(optimizer=optimizer, debug_summaries=debug_summaries, name=name)
        self._target_field = target_field
        self._decoder_net = decoder_net_ctor(input_tensor_spec=input_tensor_spec)
        self._loss = loss_ctor()
        self._loss_weight = loss_weight
        self._summarize_each_dimension = summarize_each_dimension
        self._target_normalizer = None
        if normalize_target:
            self._target_normalizer = AdaptiveNormalizer(
                self._decoder_net.output_spec, auto_update=False, name=f"{name}.target_normalizer"
            )

    def get_target_fields(self) -> str:
        """The name of the target."""
        return self._target_field

    def predict_step(self, repr: Tensor, state: Any = ()) -> AlgStep:
        prediction, _ = self._decoder_net(repr)
        return AlgStep(output=prediction, state=state)

    def train_step(self, repr: Tensor, state: Any = ()) -> AlgStep:
        """The prediction, as output and info."""
        prediction, _ = self._decoder_net(repr)
        return AlgStep(output=prediction, state=state, info=prediction)

    def calc_loss(self, target: Tensor, predicted: Tensor, mask: Tensor | None = None) -> LossInfo:
        """The loss [T, B], averaged over the elements of the target.

        Args:
            target: [T, B, ...].
            predicted: the same.
            mask: bool [T, B]; the loss is 0 where it is False.
        """
        if self._target_normalizer is not None:
            self._target_normalizer.update(target)
            target = self._target_normalizer.normalize(target)
            predicted = self._target_normalizer.normalize(predicted)
        loss = self._loss(predicted, target)
        if loss.dim() > 2:
            loss = loss.flatten(2)
            self._summarize_elements(loss)
            loss = loss.mean(2)
        if mask is not None:
            loss = loss * mask
        return LossInfo(loss=self._loss_weight * loss, extra=loss)

    @torch.no_grad()
    def _summarize_elements(self, loss: Tensor) -> None:
        wanted = self._debug_summaries and self._summarize_each_dimension
        if wanted and summary.should_record_summaries():
            with summary.scope(self.name):
                for i, mean in enumerate(loss.flatten(0, 1).mean(0)):
                    summary.scalar(f"loss/{i}", mean)


@configurable
class PredictiveRepresentationLearner(Algorithm):
    """The latent of an observation, from which the following steps can be foretold.

    An encoder gives the latent; a recurrent network unrolls it along the actions that were taken;
    decoders predict their targets from the latent of each of the R + 1 steps. The steps that follow
    a sampled one are looked up in the replay buffer, as they are stored there: before
    ``TrainerConfig.data_transformer``.
    """

    _decoders: Any  # nn.ModuleList of algorithms
    _dynamics_net: Any
    _latent_to_state: Any

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        num_unroll_steps: int,
        decoder_ctor: Callable[..., Algorithm] | Sequence[Callable[..., Algorithm]],
        encoding_net_ctor: Callable[..., Network],
        dynamics_net_ctor: Callable[..., Network] | None,
        reward_spec: TensorSpec = TensorSpec(()),
        config: TrainerConfig | None = None,
        postprocessor: Callable[[Tensor], Any] | None = None,
        encoding_optimizer: torch.optim.Optimizer | None = None,
        dynamics_optimizer: torch.optim.Optimizer | None = None,
        postprocessor_optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "PredictiveRepresentationLearner",
    ) -> None:
        """Build networks and decoders.

        Args:
            num_unroll_steps: R; with 0 there are no dynamics.
            decoder_ctor: one or several, each called with the spec of the latent. A decoder is an
                algorithm like `SimpleDecoder`.
            encoding_net_ctor: called with ``observation_spec``; gives a latent of rank 1.
            dynamics_net_ctor: called with ``action_spec``; makes a recurrent network from actions
                to latents. Where its state has the specs of the encoder's, it starts from that;
                otherwise from a linear function of the latent.
            reward_spec: not used.
            postprocessor: from the latent to the representation that is output.
            encoding_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other two. None leaves that part to the ``optimizer`` of a
                parent.

        Raises:
            ValueError: the dynamics are not recurrent, their output is no latent, two decoders
                have the same name, or there is an optimizer for a postprocessor without parameters.
        """
        optimizers = own_optimizers(encoding_optimizer, dynamics_optimizer, postprocessor_optimizer)
        encoding_net = encoding_net_ctor(observation_spec)
        super().__init__(
            train_state_spec=encoding_net.state_spec,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        latent_spec = encoding_net.output_spec
        ctors = [decoder_ctor] if callable(decoder_ctor) else list(decoder_ctor)
        decoders = [ctor(latent_spec) for ctor in ctors]
        names = [decoder.name for decoder in decoders]
        if len(set(names)) < len(names):
            raise ValueError(f"{name}: decoders need names of their own, they are called {names}")
        self._num_unroll_steps = num_unroll_steps
        self._encoding_net = encoding_net
        self._decoders = nn.ModuleList(decoders)
        self._postprocessor = postprocessor
        self._dynamics_net = None
        self._latent_to_state = None
        if num_unroll_steps > 0:
            self._make_dynamics(dynamics_net_ctor, action_spec, latent_spec)
        self._add_optimizers(*optimizers)
        self._output_spec = latent_spec
        if postprocessor is not None:
            with torch.no_grad():
                example = self._postprocessed(latent_spec.zeros((1,)))
            self._output_spec = nest.map_structure(
                lambda x: TensorSpec.from_tensor(x, from_dim=1), example
            )

    def _add_optimizers(self, encoding: Any, dynamics: Any, postprocessor: Any) -> None:
        if encoding is not None:
            self.add_optimizer(encoding, [self._encoding_net])
        if dynamics is not None and self._dynamics_net is not None:
            modules = (self._dynamics_net, self._latent_to_state)
            self.add_optimizer(dynamics, [m for m in modules if m is not None])
        if postprocessor is not None:
            if not isinstance(self._postprocessor, nn.Module):
                raise ValueError(
                    f"{self.name} has a postprocessor_optimizer, but its postprocessor "
                    f"{self._postprocessor!r:.60} is no module with parameters"
                )
            self.add_optimizer(postprocessor, [self._postprocessor])

    def _make_dynamics(self, ctor: Any, action_spec: Any, latent_spec: TensorSpec) -> None:
        net = ctor(action_spec)
        specs: list[TensorSpec] = nest.flatten(net.state_spec)
        if not specs:
            raise ValueError(f"{self.name} needs recurrent dynamics; {net.name} has no state")
        if tuple(net.output_spec.shape) != tuple(latent_spec.shape):
            raise ValueError(
                f"{self.name}: the dynamics {net.name} output {net.output_spec}; a latent is "
                f"{latent_spec}"
            )
        self._dynamics_net = net
        self._starts_from_state = is_same_spec(net.state_spec, self._encoding_net.state_spec)
        if not self._starts_from_state:
            self._latent_to_state = FC(latent_spec.numel, sum(spec.numel for spec in specs))

    @property
    def output_spec(self) -> Any:
        """Spec of the representation."""
        return self._output_spec

    def get_decoder(self, target_field: Any) -> Algorithm:
        """The decoder of a target.

        Raises:
            ValueError: there is none.
        """
        fields = [decoder.get_target_fields() for decoder in self._decoders]
        if target_field not in fields:
            raise ValueError(f"{self.name} has no decoder of {target_field!r}, but of {fields}")
        return self._decoders[fields.index(target_field)]

    def check_predicts(self, target_field: str) -> None:
        """See whether `predict_multi_step()` works with nothing but representations.

        Raises:
            ValueError: there is no such decoder, or no unrolling, or the representation is not what
                it starts from.
        """
        self.get_decoder(target_field)
        reason = ""
        if self._dynamics_net is None:
            reason = "num_unroll_steps is 0"
        elif self._latent_to_state is None:
            reason = "its dynamics start from the encoder's state, which the representation lacks"
        elif self._postprocessor is not None:
            reason = "its postprocessor changes the latent"
        if reason:
            raise ValueError(
                f"{self.name} cannot predict {target_field!r} from its representation: {reason}"
            )

    def _postprocessed(self, latent: Tensor) -> Any:
        if self._postprocessor is None:
            return latent
        result = self._postprocessor(latent)
        return result[0] if isinstance(self._postprocessor, Network) else result

    # Acting

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        latent, state = self._encoding_net(inputs.observation, state)
        return AlgStep(output=self._postprocessed(latent), state=state)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return self.predict_step(inputs, state)

    # Training

    def train_step(
        self,
        root_inputs: TimeStep,
        state: Any,
        rollout_info: PredictiveRepresentationLearnerInfo,
    ) -> AlgStep:
        """The representation [B, ...], and the loss [B] of what is foretold from it."""
        latent, state = self._encoding_net(root_inputs.observation, state)
        actions, mask = nest.map_structure(
            lambda x: x.transpose(0, 1), (rollout_info.action, rollout_info.mask)
        )
        latents = self._unroll(latent, actions, state, self._num_unroll_steps)
        several = len(self._decoders) > 1
        targets = rollout_info.target if several else [rollout_info.target]
        loss, extra = (), {}
        for decoder, target in zip(self._decoders, targets, strict=True):
            predicted = decoder.train_step(latents.flatten(0, 1)).info
            predicted = nest.map_structure(lambda x: x.unflatten(0, latents.shape[:2]), predicted)
            target = nest.map_structure(lambda x: x.transpose(0, 1), target)
            one = decoder.calc_loss(target, predicted, mask)
            one = nest.map_structure(lambda x: x.mean(0), one)
            loss = math_ops.add_ignore_empty(loss, one.loss)
            extra[decoder.name] = one.extra
        return AlgStep(
            output=self._postprocessed(latent),
            state=state,
            info=LossInfo(loss=loss, extra=extra),
        )

    def _unroll(self, latent: Tensor, actions: Any, state: Any, num_steps: int) -> Tensor:
        """Latents [R + 1, B, D] from [B, D] along actions [R, B, ...]."""
        latents = [latent]
        if num_steps > 0:
            state = self._start_of_dynamics(latent, state)
        for t in range(num_steps):
            latent, state = self._dynamics_net(
                nest.map_structure(lambda x, t=t: x[t], actions), state
            )
            latents.append(latent)
        return torch.stack(latents)

    def _start_of_dynamics(self, latent: Tensor, state: Any) -> Any:
        if self._latent_to_state is None:
            return nest.pack_sequence_as(self._dynamics_net.state_spec, nest.flatten(state))
        specs: list[TensorSpec] = nest.flatten(self._dynamics_net.state_spec)
        parts = self._latent_to_state(latent).split([spec.numel for spec in specs], dim=-1)
        parts = [x.unflatten(-1, spec.shape) for x, spec in zip(parts, specs, strict=True)]
        return nest.pack_sequence_as(self._dynamics_net.state_spec, parts)

    def predict_multi_step(
        self, init_latent: Tensor, actions: Any, target_field: Any = None, state: Any = None
    ) -> Any:
        """What decoders predict now and after each action.

        Args:
            init_latent: [B, D].
            actions: nest of [B, R, ...].
            target_field: a name: that target; a list of names: a list of those; None: all (a list,
                if there are several decoders).
            state: of the encoder, after it gave ``init_latent``; needed where the dynamics start
                from it.

        Returns:
            Predictions [(R + 1) * B, ...], all rows of a step before those of the next.

        Raises:
            ValueError: there is no such decoder, or no state.
        """
        num_steps = nest.flatten(actions)[0].shape[1]
        if num_steps > 0 and self._dynamics_net is None:
            raise ValueError(f"{self.name} with num_unroll_steps=0 cannot look ahead {num_steps}")
        if num_steps > 0 and self._latent_to_state is None and state is None:
            raise ValueError(f"{self.name} needs the state of its encoder to look ahead")
        actions = nest.map_structure(lambda x: x.transpose(0, 1), actions)
        latents = self._unroll(init_latent, actions, state, num_steps).flatten(0, 1)

        def predict(decoder: Algorithm) -> Any:
            return decoder.predict_step(latents, ()).output

        if target_field is None:
            found = [predict(decoder) for decoder in self._decoders]
            return found if len(found) > 1 else found[0]
        if isinstance(target_field, list):
            return [predict(self.get_decoder(field)) for field in target_field]
        return predict(self.get_decoder(target_field))

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Any, batch_info: BatchInfo
    ) -> tuple[TimeStep, PredictiveRepresentationLearnerInfo]:
        """Look up [B, T] what followed each step."""
        B, T = root_inputs.step_type.shape
        R, buffer = self._num_unroll_steps, batch_info.replay_buffer
        step = torch.arange(T, device=batch_info.positions.device)
        positions = (batch_info.positions.unsqueeze(1) + step).flatten()
        env_ids = batch_info.env_ids.repeat_interleave(T)
        spans = find_spans(buffer, env_ids, positions, R + 1)
        action = read(buffer, "time_step.prev_action", env_ids, spans.positions[:, 1:])
        targets = [
            nest.map_structure(
                lambda field: read(buffer, _path_of(field), env_ids, spans.positions),
                decoder.get_target_fields(),
            )
            for decoder in self._decoders
        ]
        at = torch.arange(R + 1, device=spans.end.device)
        info = PredictiveRepresentationLearnerInfo(
            action=action,
            mask=at <= spans.end.unsqueeze(1),
            target=targets if len(targets) > 1 else targets[0],
        )
        return root_inputs, nest.map_structure(lambda x: x.unflatten(0, (B, T)), info)


def _path_of(field: str) -> str:
    """Where a record has the field ``field``."""
    return f"time_step.{field}" if field.partition(".")[0] in TimeStep._fields else field
