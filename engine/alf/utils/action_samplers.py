"""Samplers of actions from probabilities, with and without memory of their noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.tensor_specs import TensorSpec


@configurable
class EpsilonGreedySampler(nn.Module):
    """The most likely class, but with probability ``epsilon_greedy`` a sample.

    Args:
        epsilon_greedy: share of samples.
    """

    def __init__(self, epsilon_greedy: float = 0.1) -> None:
        super().__init__()
        self._epsilon_greedy = epsilon_greedy

    def forward(self, input: Tensor) -> Tensor:
        """Classes [B] of probabilities [B, N]."""
        best, sample = input.argmax(dim=1), _sample(input)
        is_random = torch.rand(len(input), device=input.device) < self._epsilon_greedy
        return torch.where(is_random, sample, best)


@configurable
class MultinomialSampler(nn.Module):
    """Samples of classes."""

    def forward(self, input: Tensor) -> Tensor:
        """Classes [B] of probabilities [B, N]."""
        return _sample(input)


def _sample(probs: Tensor) -> Tensor:
    return torch.multinomial(probs, 1).squeeze(1)


class _CategoricalSeedSamplerBase(nn.Module):
    """A sampler whose noise is its state, so that a row keeps it for some steps.

    Args:
        num_classes: N.
        new_noise_prob: chance of new noise in each step.
        concentration: larger numbers make likely classes likelier; infinite would be the best one.
    """

    def __init__(
        self, num_classes: int, new_noise_prob: float = 0.01, concentration: float = 1
    ) -> None:
        super().__init__()
        if not (0 <= new_noise_prob <= 1 and concentration > 0):
            raise ValueError(
                "new_noise_prob must be between 0 and 1 and concentration positive, got "
                f"{new_noise_prob} and {concentration}"
            )
        self.state_spec = TensorSpec((num_classes,))
        self._new_noise_prob, self._concentration = new_noise_prob, concentration

    def _renew(self, state: Tensor) -> Tensor:
        """Noise [B, N] > 0: that of ``state``, new where it is zero (at first) and now and then."""
        renew = torch.rand(len(state), device=state.device) < self._new_noise_prob
        renew = renew | (state == 0).all(dim=1)
        noise = -torch.log1p(-torch.rand_like(state))  # exponentially distributed
        return torch.where(renew.unsqueeze(1), noise, state)


@configurable
class CategoricalSeedSampler(_CategoricalSeedSamplerBase):
    """Samples of classes by noise that a row keeps for some steps.

    Over many episodes each class is drawn as often as its probability says; within an episode the
    same probabilities mostly give the same class. Drawing is a race: the class of the smallest
    ``noise / probability`` wins (the exponential form of the Gumbel-max trick).

    Args:
        num_classes: N.
        new_noise_prob: chance of new noise in each step.
        concentration: the power of the probabilities by which classes are drawn.
    """

    def forward(self, input: Tensor, state: Any) -> tuple[Tensor, Tensor]:
        """Classes [B] of probabilities [B, N], and the noise [B, N] as the new state.

        At first the state is zeros.
        """
        noise = self._renew(state)
        scores = self._concentration * input.log() - noise.clamp_min(1e-38).log()
        return scores.argmax(dim=1), noise
