"""Builds predictors for the spaces of a level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

import alf
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, FINITE, checked
from alf_layered.encoders import Encoder, FixedEncoderNet
from alf_layered.models.model import Model
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.flat_observation import flat_spec
from alf_layered.networks.reward_net import RewardNet
from alf_layered.networks.spaces import Space, as_spec
from alf_layered.networks.value_net import ValueNet
from alf_layered.predictors.predictor import Function, Predictor
from alf_layered.predictors.reward_predictor import RewardPredictor

Nest = Any


@alf.configurable
@checked()
class PredictorFactory:
    """Called by a level with its specs, makes a predictor.

    Args:
        partial_model: called with the spaces of state, context and action.
        partial_val_func: called with the spaces of state and context; None: no value.
        partial_rew_func: called with the spaces of state, context and action.
        partial_encoder: called with the shape of the flat observation, or see `wants_spec`.
        partial_predictor: called with `model`, `val_func`, `rew_func`, `encoder`,
            `latent_state_dim`, `context_dim`, `action_spec` and `observation_spec`.
        wants_spec: whether `partial_encoder` takes the observation's spec instead of its shape.
    """

    def __init__(
        self,
        partial_model: Callable[..., Model],
        partial_val_func: Callable[..., Function] | None,
        partial_rew_func: Callable[..., Function],
        partial_encoder: Callable[[Any], Encoder],
        partial_predictor: Callable[..., Predictor] = RewardPredictor,
        *,
        wants_spec: bool = False,
    ) -> None:
        self._partial_model = partial_model
        self._partial_val_func = partial_val_func
        self._partial_rew_func = partial_rew_func
        self._partial_encoder = partial_encoder
        self._partial_predictor = partial_predictor
        self._wants_spec = wants_spec

    def __call__(
        self,
        observation_spec: Nest,
        action_spec: Space,
        *,
        device: torch.device | str | None = None,
    ) -> Predictor:
        """A predictor for a level's observation (nests are flattened) and actions."""
        observation_spec, action_spec = as_spec(observation_spec), as_spec(action_spec)
        shape = flat_spec(observation_spec).shape
        encoder = self._partial_encoder(observation_spec if self._wants_spec else shape)
        state = TensorSpec((encoder.latent_state_dim,))
        context = TensorSpec((encoder.context_dim,))
        val_func = self._partial_val_func
        predictor = self._partial_predictor(
            model=self._partial_model(state, context, action_spec),
            val_func=None if val_func is None else val_func(state, context),
            rew_func=self._partial_rew_func(state, context, action_spec),
            encoder=encoder,
            latent_state_dim=encoder.latent_state_dim,
            context_dim=encoder.context_dim,
            action_spec=action_spec,
            observation_spec=observation_spec,
        )
        return predictor if device is None else predictor.to(device)


@alf.configurable
@checked(
    sb_start_duration=AT_LEAST_0, n_models=AT_LEAST_1, n_modes=AT_LEAST_1, sb_start_factor=FINITE
)
def get_default_predictor_factory(
    env: Any = None,
    sb_start_duration: int | None = None,
    *,
    state_fields: Sequence[str] = ("achieved_goal",),
    context_fields: Sequence[str] = ("desired_goal",),
    n_models: int = 1,
    n_modes: int = 4,
    sb_start_factor: float = 1.0,
    partial_predictor: Callable[..., Predictor] = RewardPredictor,
    partial_model: Callable[..., Model] = ProbabilisticEnsemble,
) -> PredictorFactory:
    """The predictor factory for observations that are dicts with goals.

    The state is what is achieved, the context what is desired; the encoder is fixed.

    Args:
        env: an ALF or gymnasium environment or an observation spec: where it is given, a missing
            field is an error right here. The level's own observation counts in any case.
        sb_start_duration: environment steps of the made-up start, of all environments together;
            0: none. None: none either, unless a level of skills below asks for one.
        state_fields: of the observation, that make up the state.
        context_fields: of the observation, that are constant in an episode.
        n_models: members of the ensemble.
        n_modes: Gaussians of each member.
        sb_start_factor: length of the push of a unit action in the made-up start.
        partial_predictor: see `PredictorFactory`.
        partial_model: `ProbabilisticEnsemble`, or a partial of it with further settings.
    """
    partial_encoder = partial(
        field_encoder, state_fields=tuple(state_fields), context_fields=tuple(context_fields)
    )
    if env is not None:
        partial_encoder(_observation_spec(env))
    return PredictorFactory(
        partial_model=partial(
            partial_model,
            n_models=n_models,
            n_modes=n_modes,
            target_bn_momentum=0.001,
            symmetry_breaking_start=None if sb_start_duration is None else sb_start_duration > 0,
            sb_start_duration=max(sb_start_duration or 1, 1),
            sb_start_factor=sb_start_factor,
        ),
        partial_val_func=ValueNet,
        partial_rew_func=RewardNet,
        partial_encoder=partial_encoder,
        partial_predictor=partial_predictor,
        wants_spec=True,
    )


def default_factory_for(observation_spec: Nest) -> PredictorFactory:
    """The factory for a level that is given none.

    A dict has goals, see `get_default_predictor_factory`. Of anything else the state is the whole
    observation; what the level gets from above is the context.
    """
    if isinstance(observation_spec, dict):
        return get_default_predictor_factory()
    return PredictorFactory(
        partial_model=partial(ProbabilisticEnsemble, symmetry_breaking_start=None),
        partial_val_func=ValueNet,
        partial_rew_func=RewardNet,
        partial_encoder=_whole_encoder,
        wants_spec=True,
    )


def _whole_encoder(observation_spec: Nest) -> FixedEncoderNet:
    """A `LevelObservation`'s observation as state and its input as context, else all as state."""
    size = flat_spec(observation_spec).shape[0]
    seen = size
    if hasattr(observation_spec, "input"):
        seen = flat_spec(observation_spec.observation).shape[0]  # comes first in the flat vector
    return FixedEncoderNet(
        (size,), latent_state_dims=list(range(seen)), context_dims=list(range(seen, size))
    )


def field_encoder(
    observation_spec: Nest, *, state_fields: Sequence[str], context_fields: Sequence[str]
) -> FixedEncoderNet:
    """Fields of a dict observation as state and context, in the order they are named."""
    places, end = {}, 0
    for name, size in _fields(observation_spec):
        places[name] = range(end, end + size)
        end += size
    missing = [name for name in (*state_fields, *context_fields) if name not in places]
    if missing:
        raise ValueError(
            f"the observation has no fields {missing}; its fields are {sorted(places)}. "
            "Name others with state_fields and context_fields, or give a PredictorFactory"
        )
    return FixedEncoderNet(
        (end,),
        latent_state_dims=[i for name in state_fields for i in places[name]],
        context_dims=[i for name in context_fields for i in places[name]],
    )


def _fields(observation_spec: Nest) -> Iterator[tuple[str, int]]:
    """Top-level fields of a dict with their widths, in the order of the flat vector."""
    if not isinstance(observation_spec, dict):
        return
    for name in sorted(observation_spec):
        yield name, flat_spec(observation_spec[name]).shape[0]


def _observation_spec(env: Any) -> Nest:
    """Of an ALF environment, a (batched) gymnasium environment, or a spec."""
    if hasattr(env, "observation_spec"):
        return env.observation_spec()
    space = getattr(env, "single_observation_space", getattr(env, "observation_space", env))
    spaces = getattr(space, "spaces", space)
    if isinstance(spaces, dict):
        return {name: as_spec(s) for name, s in spaces.items()}
    return as_spec(spaces)
