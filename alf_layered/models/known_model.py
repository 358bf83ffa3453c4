"""Dynamics written by hand, as a model."""

from __future__ import annotations

from collections.abc import Callable

import torch

import alf
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, checked
from alf_layered.models.mixture import Mixture
from alf_layered.models.model import Model
from alf_layered.networks.spaces import Space

Dynamics = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Of state `[*L, S]`, context `[*L, C]` and action `[*L, A]`, whose axes L broadcast."""


@alf.configurable
@checked(std=AT_LEAST_0, n_particles_per_model=AT_LEAST_1)
class KnownModel(Model):
    """One member that follows given functions and learns nothing.

    Args:
        dynamics: the next state `[*L, S]`.
        termination: probability `[*L]` that the environment terminates; None: it never does.
        std: deviation of the next state, for densities and draws.
        n_particles_per_model: in sampled rollouts.
        action_space: give it where actions are discrete; they then come one-hot.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        termination: Dynamics | None = None,
        *,
        std: float = 1e-2,
        n_particles_per_model: int = 1,
        action_space: Space | None = None,
    ) -> None:
        super().__init__(1, n_particles_per_model, action_space=action_space)
        if std <= 0:
            raise ValueError(f"std is {std}; a density needs a positive deviation")
        self._dynamics = dynamics
        self._termination = termination
        self._std = std

    def members(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        *,
        loss_mode: bool = False,
    ) -> Mixture:
        mean = self._dynamics(state, context, action)
        ends = mean.new_zeros(mean.shape[:-1])
        if self._termination is not None:
            ends = self._termination(state, context, action).expand_as(ends)
        return Mixture(
            mean=mean.unsqueeze(-2),
            std=mean.new_tensor(self._std).expand_as(mean).unsqueeze(-2),
            log_weight=mean.new_zeros(*mean.shape[:-1], 1),
            term_prob=ends,
        )
