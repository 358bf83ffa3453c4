"""The representation that soft actor-critic can learn, and its slowly following copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from alf.algorithms.sac.data import SacInfo, SacState
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.utils import math_ops
from alf.utils._policy_state import detach

if TYPE_CHECKING:
    from alf.algorithms.config import TrainerConfig

__all__ = ["Representation"]


@dataclass(eq=False, slots=True)
class Representation:
    """What networks see in place of observations.

    Attributes:
        online: an algorithm like ``EncodingAlgorithm``; None: networks see observations.
        target: its slowly following copy, for target critics; None: they see what ``online`` gives.
    """

    online: Any = None
    target: Any = None

    @classmethod
    def make(
        cls,
        ctor: Callable[..., Any] | None,
        observation_spec: Any,
        action_spec: Any,
        reward_spec: Any,
        config: TrainerConfig | None,
        debug_summaries: bool,
    ) -> Representation:
        """Both by the same constructor; none without one."""
        if ctor is None:
            return cls()
        return cls(
            *(
                ctor(
                    observation_spec=observation_spec,
                    action_spec=action_spec,
                    reward_spec=reward_spec,
                    config=config,
                    debug_summaries=debug_summaries,
                    name=name,
                )
                for name in ("representation", "target_representation")
            )
        )

    def spec(self, observation_spec: Any) -> Any:
        """The spec of what networks see."""
        return observation_spec if self.online is None else self.online.output_spec

    def add_states(self, state_spec: SacState) -> tuple[SacState, SacState]:
        """The specs of the states to train and to predict, with those of the representation."""
        predict = SacState(action=state_spec.action)
        if self.online is None:
            return state_spec, predict
        spec = self.online.train_state_spec
        train = state_spec._replace(repr=spec, target_repr=spec)
        return train, predict._replace(repr=self.online.predict_state_spec)

    def encode(
        self, step: str, inputs: TimeStep, state: SacState, rollout_info: SacInfo | None = None
    ) -> tuple[TimeStep, AlgStep]:
        """The inputs with the encoding as observation, and what ``step`` of ``online`` gave."""
        if self.online is None:
            return inputs, AlgStep()
        more = () if rollout_info is None else (rollout_info.repr,)
        encoded = getattr(self.online, step)(inputs, state.repr, *more)
        return inputs._replace(observation=encoded.output), encoded

    @torch.no_grad()
    def encode_for_targets(
        self, raw: TimeStep, inputs: TimeStep, state: SacState
    ) -> tuple[Any, Any]:
        """What target critics see of the ``raw`` inputs, and the next state of their encoding."""
        if self.target is None:
            return inputs.observation, ()
        encoded = self.target.predict_step(raw, state.target_repr)
        return detach(encoded.output), encoded.state

    def after_update(self, root_inputs: Any, info: SacInfo) -> None:
        if self.online is not None:
            self.online.after_update(root_inputs, info.repr)

    def after_train_iter(self, inputs: Any, info: SacInfo | None) -> None:
        if self.online is not None:
            self.online.after_train_iter(inputs, None if info is None else info.repr)

    def add_loss(self, loss: LossInfo, info: SacInfo) -> LossInfo:
        """The loss with that of the representation, if it has one of its own."""
        if self.online is None:
            return loss
        own = self.online.calc_loss(info.repr)
        return loss._replace(
            loss=math_ops.add_ignore_empty(loss.loss, own.loss),
            scalar_loss=math_ops.add_ignore_empty(loss.scalar_loss, own.scalar_loss),
            extra=loss.extra._replace(repr=own.extra),
        )
