"""Made-up skill dynamics that a model starts from, so that skills differ before any is learned."""

from __future__ import annotations

import torch
from torch import nn

from alf_layered.models.mixture import Mixture


class SymmetryBreaking(nn.Module):
    """Each action pushes the state a fixed, random direction.

    For the first half of `duration` this is all there is; over the second half the learned model
    takes its place, linearly.

    Args:
        state_dim: S.
        action_dim: A; any number, also more than S.
        duration: environment steps, of all environments together.
        factor: length of the push of a unit action, in deviations of the change of state.
        std: deviation of the change of state, in the same unit.
    """

    directions: torch.Tensor
    to_change: torch.Tensor
    told: torch.Tensor

    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        *,
        duration: int = 100_000,
        factor: float = 1.5,
        std: float = 0.3,
    ) -> None:
        super().__init__()
        if duration < 1:
            raise ValueError(f"sb_start_duration is {duration}; it is at least 1 environment step")
        self._duration = duration
        self._factor = factor
        self._std = std
        size = max(state_dim, action_dim)
        rotation = torch.linalg.qr(torch.randn(size, size)).Q
        self.register_buffer("directions", rotation[:state_dim, :action_dim].clone())
        self.register_buffer("to_change", torch.eye(state_dim))
        self.register_buffer("told", torch.zeros((), dtype=torch.bool))

    def learned_share(self, n_total_env_steps: int) -> float:
        """The weight of the learned model: 0 in the first half, then linear up to 1."""
        half = 0.5 * self._duration
        return min(max((n_total_env_steps - half) / half, 0.0), 1.0)

    @torch.no_grad()
    def set_transform(self, to_change: torch.Tensor) -> None:
        """Sets the matrix `[S, S]` from standardised changes to changes of state.

        Without it, each dimension has its own scale and the dimensions are independent.
        """
        self.to_change.copy_(to_change)
        self.told.fill_(True)

    def push(self, action: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """The change of state `[..., S]` by actions `[..., A]`; `scale` `[S]` as in `mix`."""
        matrix = torch.where(self.told, self.to_change, torch.diag(scale)) @ self.directions
        return self._factor * action @ matrix.T

    def mix(
        self,
        learned: Mixture,
        state: torch.Tensor,
        action: torch.Tensor,
        scale: torch.Tensor,
        share: float,
    ) -> Mixture:
        """The learned mixture with weight `share` and the made-up one with the rest.

        Means, deviations, weights and terminations are interpolated, mode by mode.

        Args:
            learned: mixture of rows `[N, *L]`.
            state: `[N or 1, *L, S]`.
            action: `[N or 1, *L, A]`.
            scale: `[S]`, deviation of what the network predicts.
            share: see `learned_share`.
        """
        rest = 1.0 - share
        made_up = (state + self.push(action, scale)).unsqueeze(-2)
        weight = share * learned.log_weight.exp() + rest / learned.log_weight.shape[-1]
        return Mixture(
            mean=share * learned.mean + rest * made_up,
            std=share * learned.std + rest * self._std * scale,
            log_weight=weight.log(),
            term_prob=share * learned.term_prob,
        )

    def mixed_std(self, std: torch.Tensor, scale: torch.Tensor, share: float) -> torch.Tensor:
        """The deviations as `mix` has them."""
        return share * std + (1.0 - share) * self._std * scale
