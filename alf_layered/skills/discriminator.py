"""Which skill a state tells of: a network that is learned with the skills.

Axis letters: L any axes of rows, R those flattened, S state, Z skill.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alf.tensor_specs import BoundedTensorSpec
from alf_layered.allowed import AT_LEAST_1, POSITIVE, checked
from alf_layered.networks.mlp import MLP
from alf_layered.networks.running_moments import RunningMoments


@checked(state_dim=AT_LEAST_1, hidden=AT_LEAST_1, std=POSITIVE)
class Discriminator(nn.Module):
    """`q(z|s)`: probabilities of options, or a Gaussian around a vector.

    Args:
        state_dim: S.
        skill_spec: of the skills.
        hidden: units of the hidden layers.
        std: deviation of the Gaussian, in units of the skill.
    """

    def __init__(
        self,
        state_dim: int,
        skill_spec: BoundedTensorSpec,
        *,
        hidden: Sequence[int] = (128, 128),
        std: float = 0.5,
    ) -> None:
        super().__init__()
        self._first: int | None = None
        if skill_spec.dtype.is_floating_point:
            out = skill_spec.numel
        else:
            self._first = int(skill_spec.minimum)
            out = int(skill_spec.maximum) - self._first + 1
        self._std = std
        self.inputs = RunningMoments(state_dim)
        self.net = MLP([state_dim], hidden, out)

    def log_prob(self, state: Tensor, skill: Tensor) -> Tensor:
        """`[*L]` of skills `[*L, Z]`, or indices `[*L]`, at states `[*L, S]`."""
        out = self.net((state - self.inputs.mean) / self.inputs.scale)
        if self._first is not None:
            chosen = skill.long().unsqueeze(-1) - self._first
            return F.log_softmax(out, dim=-1).gather(-1, chosen).squeeze(-1)
        gauss = torch.distributions.Normal(out, self._std, validate_args=False)
        return gauss.log_prob(skill.reshape(out.shape)).sum(-1)

    def observe(self, state: Tensor, valid: Tensor) -> None:
        """Takes states `[*L, S]` where `valid` `[*L]` into account for the units of the inputs."""
        self.inputs.update(state.reshape(-1, state.shape[-1]), valid.flatten())
