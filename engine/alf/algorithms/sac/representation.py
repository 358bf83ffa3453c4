"""The representation that soft actor-critic can learn; ``sac`` is the algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from alf.algorithms.sac.data import SacInfo, SacState
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.utils import math_ops
from alf.utils._policy_state import detach

if TYPE_CHECKING:
    from alf.algorithms.algorithm import Algorithm
    from alf.algorithms.config import TrainerConfig
    from alf.algorithms.sac_algorithm import SacAlgorithm

__all__ = ["add_loss", "encode", "encode_for_targets", "make"]


def make(
    ctor: Callable[..., Any] | None,
    observation_spec: Any,
    action_spec: Any,
    reward_spec: Any,
    config: TrainerConfig | None,
    debug_summaries: bool,
) -> tuple[Any, Any]:
    """The representation and its slowly following copy; None and None without a constructor."""
    if ctor is None:
        return None, None
    made = [
        ctor(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        for name in ("representation", "target_representation")
    ]
    return made[0], made[1]


def encode(
    representation: Algorithm | None,
    step: str,
    inputs: TimeStep,
    state: SacState,
    rollout_info: SacInfo | None = None,
) -> tuple[TimeStep, AlgStep]:
    """The inputs with the encoding as observation, and what the representation's ``step`` gave."""
    if representation is None:
        return inputs, AlgStep()
    more = () if rollout_info is None else (rollout_info.repr,)
    encoded = getattr(representation, step)(inputs, state.repr, *more)
    return inputs._replace(observation=encoded.output), encoded


@torch.no_grad()
def encode_for_targets(
    sac: SacAlgorithm, raw: TimeStep, inputs: TimeStep, state: SacState
) -> tuple[Any, Any]:
    """What the target critics see of the ``raw`` inputs, and the next state of their encoding."""
    if sac._target_repr_alg is None:
        return inputs.observation, ()
    encoded = sac._target_repr_alg.predict_step(raw, state.target_repr)
    return detach(encoded.output), encoded.state


def add_loss(sac: SacAlgorithm, loss: LossInfo, info: SacInfo) -> LossInfo:
    """The loss with that of the representation, if it has one of its own."""
    assert sac._repr_alg is not None
    own = sac._repr_alg.calc_loss(info.repr)
    return loss._replace(
        loss=math_ops.add_ignore_empty(loss.loss, own.loss),
        scalar_loss=math_ops.add_ignore_empty(loss.scalar_loss, own.scalar_loss),
        extra=loss.extra._replace(repr=own.extra),
    )
