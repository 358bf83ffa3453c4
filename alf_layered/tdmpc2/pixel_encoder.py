"""Encodes observations: vectors by a multilayer perceptron, images by convolutions.

Axis letters: L any axes of rows, S latent state.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alf.tensor_specs import TensorSpec
from alf_layered.networks.flat_observation import (
    flat_spec,
    flatten_observation,
    leaves_in_order,
)
from alf_layered.networks.normed_ensemble import NormedEnsemble
from alf_layered.networks.simnorm import simnorm
from alf_layered.tdmpc2.settings import WorldModelSettings

Nest = Any

# Kernel and stride of each convolution (arXiv 2310.16828, appendix on the architecture).
_CONVOLUTIONS = ((7, 2), (5, 2), (3, 2), (3, 1))


class ObservationEncoder(nn.Module):
    """A nest of vectors and images as one latent state.

    Tensors of three axes are images, `[C, height, width]`; all others together are one vector. The
    latent states of the vector and of the images are averaged: the mean of probabilities is one.
    """

    def __init__(self, spec: Nest, settings: WorldModelSettings) -> None:
        super().__init__()
        leaves = leaves_in_order(spec)
        self._is_image = [leaf.ndim == 3 for leaf in leaves]
        self._vector_spec = [
            leaf for leaf, image in zip(leaves, self._is_image, strict=True) if not image
        ]
        self._norm = partial(simnorm, group=settings.simnorm_dim)
        self._vectors = None
        if self._vector_spec:
            self._vectors = NormedEnsemble(
                [flat_spec(self._vector_spec).numel],
                [settings.encoder_dim] * max(settings.encoder_layers - 1, 1),
                settings.latent_dim,
                output_norm=self._norm,
            )
        self._images = nn.ModuleList(
            PixelEncoder(leaf, settings)
            for leaf, image in zip(leaves, self._is_image, strict=True)
            if image
        )

    def forward(self, observation: Nest, augment: bool = False) -> Tensor:
        """`[*L, S]`; `augment` shifts images at random."""
        leaves = leaves_in_order(observation)
        pairs = list(zip(leaves, self._is_image, strict=True))
        latents = []
        if self._vectors is not None:
            vectors = [leaf for leaf, image in pairs if not image]
            latents.append(self._vectors(flatten_observation(vectors, self._vector_spec))[0])
        images = [leaf for leaf, image in pairs if image]
        latents += [net(x, augment) for net, x in zip(self._images, images, strict=True)]
        return latents[0] if len(latents) == 1 else torch.stack(latents).mean(dim=0)


class PixelEncoder(nn.Module):
    """Images `[C, height, width]`, 64 x 64 in the paper, by four convolutions.

    Integers are taken for brightness of 0 to 255.
    """

    def __init__(self, spec: TensorSpec, settings: WorldModelSettings) -> None:
        super().__init__()
        self._group = settings.simnorm_dim
        self._scales = not spec.dtype.is_floating_point
        channels = [spec.shape[0], *[settings.channels] * len(_CONVOLUTIONS)]
        layers: list[nn.Module] = []
        for i, (kernel, stride) in enumerate(_CONVOLUTIONS):
            layers += [nn.Conv2d(channels[i], channels[i + 1], kernel, stride), nn.ReLU()]
        self._convolutions = nn.Sequential(*layers[:-1], nn.Flatten())
        least = 33
        if min(spec.shape[1:]) < least:
            raise ValueError(
                f"images of shape {spec.shape} are too small to encode, they must be at least "
                f"{least} x {least}"
            )
        features = self._convolutions(torch.zeros(1, *spec.shape)).shape[1]
        if features != settings.latent_dim:
            self._convolutions.append(nn.Linear(features, settings.latent_dim))

    def forward(self, image: Tensor, augment: bool = False) -> Tensor:
        """`[*L, S]` of `[*L, C, height, width]`."""
        rows = image.shape[:-3]
        x = image.flatten(0, -4) if len(rows) != 1 else image
        x = x.to(torch.float32)
        if self._scales:
            x = x / 255 - 0.5
        if augment:
            x = random_shift(x)
        return simnorm(self._convolutions(x).reshape(*rows, -1), self._group)


def random_shift(image: Tensor, pad: int = 3, generator: torch.Generator | None = None) -> Tensor:
    """Moves each image `[R, C, h, w]` by up to `pad` pixels, edges repeated (DrQ, 2004.13649)."""
    rows, _, height, width = image.shape
    device = image.device
    padded = F.pad(image, (pad, pad, pad, pad), mode="replicate")
    by = torch.randint(0, 2 * pad + 1, (2, rows, 1), generator=generator, device=device)
    down = by[0] + torch.arange(height, device=device)
    right = by[1] + torch.arange(width, device=device)
    row = torch.arange(rows, device=device)[:, None, None]
    # Indices around a slice: the channels come last.
    return padded[row, :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
