"""A small predictor, and spans for it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from alf.data_structures import StepType
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.encoders import IdentityEncoder
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.prob_dynamics import ProbFCDynamics
from alf_layered.networks.reward_net import RewardNet
from alf_layered.networks.value_net import ValueNet
from alf_layered.predictors.batch import PredictorBatch
from alf_layered.predictors.reward_predictor import RewardPredictor

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))
SMALL = (32, 32)


def small_predictor(encoder: Any = None, *, n_models: int = 1, **options: Any) -> RewardPredictor:
    """Over 2-dimensional states without context, and 1-dimensional actions."""
    torch.manual_seed(0)
    encoder = IdentityEncoder((2,)) if encoder is None else encoder
    state, context = TensorSpec((encoder.latent_state_dim,)), TensorSpec((encoder.context_dim,))
    action = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
    model_options = options.pop("model_options", {})
    return RewardPredictor(
        ProbabilisticEnsemble(
            state,
            context,
            action,
            partial(ProbFCDynamics, hidden=SMALL),
            n_models=n_models,
            **model_options,
        ),
        ValueNet(state, context, hidden=SMALL),
        RewardNet(state, context, action, hidden=SMALL),
        encoder,
        **options,
    )


class Line:
    """Spans of a point on a line: state (x, goal); the action moves x, the reward is its nearness.

    `duration` environment steps per decision; an episode has no end.
    """

    def __init__(self, *, gamma: float = 0.9, seed: int = 0) -> None:
        self._gamma = gamma
        self._generator = torch.Generator().manual_seed(seed)

    def sample(self, batch_size: int, batch_length: int) -> PredictorBatch:
        def uniform(*shape: int) -> torch.Tensor:
            return 2 * torch.rand(*shape, generator=self._generator) - 1

        action = uniform(batch_size, batch_length, 1)
        moves = torch.cat([uniform(batch_size, 1), 0.3 * action[:, :-1, 0]], dim=1)
        x = moves.cumsum(1)
        goal = uniform(batch_size, 1).expand_as(x)
        shape = x.shape
        return PredictorBatch(
            observation=torch.stack([x, goal], dim=-1),
            action=action,
            reward=1 - (x - goal).abs(),
            discount=torch.full(shape, self._gamma),
            step_type=torch.full(shape, MID, dtype=torch.int32),
            time_discount=torch.full(shape, self._gamma),
        )


def random_spans(rows: int = 8, length: int = 4) -> PredictorBatch:
    """Random spans with all kinds of episode ends."""
    torch.manual_seed(1)
    kinds = torch.randint(0, 3, (rows, length), dtype=torch.int32)
    return PredictorBatch(
        observation=torch.randn(rows, length, 2),
        action=torch.randn(rows, length, 1),
        reward=torch.randn(rows, length),
        discount=torch.where(torch.rand(rows, length) < 0.3, 0.0, 0.9),
        step_type=kinds,
    )
