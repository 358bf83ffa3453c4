"""MONet: an image as a mixture of slots, each with its mask (Burgess et al., arXiv:1901.11390)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.vae import VAEOutput
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, namedtuple
from alf.layers import FC, Conv2D
from alf.networks.encoding_networks import EncodingNetwork, SpatialBroadcastDecodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils.dist_utils import DiagMultivariateNormal
from alf.utils.math_ops import identity

__all__ = ["MoNetAlgorithm", "MoNetInfo", "MoNetUNet"]

MoNetInfo = namedtuple(
    "MoNetInfo",
    ["kld", "rec_loss", "mask_rec_loss", "full_rec", "mask", "z_dist"],
    default_value=(),
)
"""KL divergence [B] (() without a weight), losses [B] of image and masks, reconstruction
[B, C, H, W], masks [B, N, H, W] of the attention, posterior over [B, N, Z]."""


@configurable
class MoNetUNet(Network):
    """The attention network of appendix B.2: convolutions down, an MLP, convolutions up.

    Every block is a 3x3 convolution, instance normalization and ReLU. All but the first halve the
    map by max pooling; on the way up all but the last double it. Each map of the way down is
    concatenated to its like of the way up.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        filters: Sequence[int],
        nonskip_fc_layers: Sequence[int],
        output_channels: int,
        name: str = "MoNetUNet",
    ) -> None:
        """Build the network.

        Args:
            input_tensor_spec: spec of an image [C, H, W].
            filters: channels of the blocks on the way down; reversed on the way up.
            nonskip_fc_layers: sizes of the MLP between the two ways.
            output_channels: channels of the output, which has no activation.

        Raises:
            ValueError: the image cannot be halved so often, or filters or nonskip_fc_layers is
                empty.
        """
        super().__init__(input_tensor_spec, (), name)
        if not filters or not nonskip_fc_layers:
            raise ValueError(
                f"{name} needs filters and nonskip_fc_layers, got {filters}, {nonskip_fc_layers}."
            )
        channels, height, width = input_tensor_spec.shape
        factor = 2 ** (len(filters) - 1)
        if height % factor or width % factor:
            raise ValueError(
                f"{name} halves an image {len(filters) - 1} times, got {height} x {width} pixels."
            )
        ins = (channels, *filters[:-1])
        self._down = nn.ModuleList(_block(i, o) for i, o in zip(ins, filters, strict=True))
        map_shape = (filters[-1], height // factor, width // factor)
        map_size = filters[-1] * map_shape[1] * map_shape[2]
        sizes = (map_size, *nonskip_fc_layers)
        layers = itertools.pairwise(sizes)
        self._encoder = nn.Sequential(*(FC(i, o, activation=torch.relu_) for i, o in layers))
        self._decoder = FC(sizes[-1], map_size, activation=torch.relu_)
        self._map_shape = map_shape
        up = tuple(reversed(filters))
        ins = (up[0], *up[:-1])
        self._up = nn.ModuleList(_block(i + o, o) for i, o in zip(ins, up, strict=True))
        self._last = Conv2D(up[-1], output_channels, 1, activation=identity)
        self._encoding_dim = sizes[-1]

    @property
    def encoding_dim(self) -> int:
        """Size of the encoding between the two ways."""
        return self._encoding_dim

    def encode(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The encoding [B, encoding_dim] of [B, C, H, W] and the maps of the way down."""
        maps: list[Tensor] = []
        x = inputs
        for block in self._down:
            x = block(x) if not maps else F.max_pool2d(block(x), 2)
            maps.append(x)
        return self._encoder(x.flatten(1)), maps

    def decode(self, inputs: Tensor, encodings: list[Tensor]) -> Tensor:
        """The output [B, K, H, W] from what ``encode()`` returns."""
        x = self._decoder(inputs).unflatten(1, self._map_shape)
        for i, (block, skip) in enumerate(zip(self._up, reversed(encodings), strict=True)):
            if i:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, skip], dim=1))
        return self._last(x)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        """From [B, C, H, W] to [B, output_channels, H, W]."""
        return self.decode(*self.encode(inputs)), state


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = Conv2D(in_channels, out_channels, 3, activation=identity, padding=1, use_bias=False)
    return nn.Sequential(conv, nn.InstanceNorm2d(out_channels, affine=True), nn.ReLU(inplace=True))


@configurable
class MoNetAlgorithm(Algorithm):
    """A VAE with N latent vectors: attention splits the image into masks, one for each."""

    _inverse_var: Tensor

    def __init__(
        self,
        n_slots: int,
        slot_size: int,
        input_tensor_spec: TensorSpec,
        attention_unet_cls: Callable[..., Network] = MoNetUNet,
        encoder_cls: Callable[..., Network] = EncodingNetwork,
        decoder_cls: Callable[..., Network] = SpatialBroadcastDecodingNetwork,
        recurrent_attention: bool = True,
        beta: float = 0.0,
        gamma: float = 0.0,
        name: str = "MoNetAlgorithm",
    ) -> None:
        """Build the networks.

        Args:
            n_slots: N.
            slot_size: Z, size of a slot's latent vector.
            input_tensor_spec: spec of an image [C, H, W].
            attention_unet_cls: called with ``input_tensor_spec`` and ``output_channels``; from
                [B, C + 1, H, W] to 2 channels where it is recurrent, else from the image to N.
            encoder_cls: called with ``input_tensor_spec``, that of image and mask, and the options
                of a last layer of ``2 * slot_size``: mean and logarithm of the deviation.
            decoder_cls: called with ``input_size``, ``output_height`` and ``output_width``; its
                output is [B, C + 1, H, W], an image and the logit of the mask.
            recurrent_attention: masks are taken one after the other from what is left.
            beta: weight of the KL divergence.
            gamma: weight of the loss of reconstructed masks.

        Raises:
            ValueError: decoder_cls gives another shape.
        """
        super().__init__(name=name)
        channels, height, width = input_tensor_spec.shape
        both = TensorSpec((channels + 1, height, width))
        self._attention = attention_unet_cls(
            input_tensor_spec=both if recurrent_attention else input_tensor_spec,
            output_channels=2 if recurrent_attention else n_slots,
        )
        self._encoder = encoder_cls(
            input_tensor_spec=both, last_layer_size=2 * slot_size, last_activation=identity
        )
        self._decoder = decoder_cls(input_size=slot_size, output_height=height, output_width=width)
        shape = tuple(self._decoder.output_spec.shape)
        if shape != both.shape:
            raise ValueError(f"{name}: decoder_cls gives {shape}; allowed: {tuple(both.shape)}")
        self._n_slots = n_slots
        self._is_recurrent = recurrent_attention
        self._beta, self._gamma = beta, gamma
        # Slots with a smaller variance explain what they cover more sharply.
        inverse_var = 1 + 0.5 * torch.arange(n_slots) / n_slots
        self.register_buffer("_inverse_var", inverse_var.reshape(n_slots, 1, 1, 1), False)

    def make_gaussian(self, z_mean_and_log_var: Tensor) -> td.Distribution:
        """The posterior from the encoder's output [..., 2 * Z]: its mean, then log deviation."""
        mean, log_std = z_mean_and_log_var.chunk(2, dim=-1)
        return DiagMultivariateNormal(mean, log_std.exp())

    def train_step(self, inputs: Tensor, state: Any = ()) -> AlgStep:
        """Encode and reconstruct images [B, C, H, W].

        Returns:
            ``VAEOutput`` with [B, N, Z] as output, ``MoNetInfo`` as info; the state is empty.
        """
        log_mask = self._log_masks(inputs)  # [B, N, H, W]
        mask = log_mask.exp()
        images = inputs.unsqueeze(1).expand(-1, self._n_slots, -1, -1, -1)
        encoder_input = torch.cat([images, mask.unsqueeze(2)], dim=2).flatten(0, 1)
        encoding = self._encoder(encoder_input)[0].unflatten(0, (-1, self._n_slots))
        z_dist: Any = self.make_gaussian(encoding)
        z = z_dist.rsample()
        decoded = self._decoder(z.flatten(0, 1))[0].unflatten(0, (-1, self._n_slots))
        rec, mask_logit = decoded[:, :, :-1], decoded[:, :, -1]
        kld: Any = ()
        if self._beta:
            prior = td.Normal(torch.zeros_like(z), 1.0, validate_args=False)
            kld = td.kl_divergence(z_dist.base_dist, prior).sum((-2, -1))
        info = MoNetInfo(
            kld=kld,
            rec_loss=self._image_loss(images, rec, log_mask),
            mask_rec_loss=(mask * (log_mask - mask_logit.log_softmax(1))).sum((1, 2, 3)),
            full_rec=(mask.unsqueeze(2) * rec).sum(1),
            mask=mask,
            z_dist=z_dist,
        )
        output = VAEOutput(z=z, z_mode=z_dist.mean, z_std=z_dist.stddev)
        return AlgStep(output=output, state=state, info=info)

    def _log_masks(self, images: Tensor) -> Tensor:
        """Logarithms [B, N, H, W] of masks that sum to 1 over N (the paper's section 2.1)."""
        if not self._is_recurrent:
            return self._attention(images)[0].log_softmax(1)
        scope = torch.zeros_like(images[:, :1])
        masks = []
        for _ in range(self._n_slots - 1):
            logits, _ = self._attention(torch.cat([images, scope.exp()], dim=1))
            take, leave = logits.log_softmax(1).chunk(2, dim=1)
            masks.append(scope + take)
            scope = scope + leave
        return torch.cat([*masks, scope], dim=1)

    def _image_loss(self, images: Tensor, rec: Tensor, log_mask: Tensor) -> Tensor:
        """Negative log likelihood [B] of the mixture, above that of a perfect reconstruction."""

        def log_likelihood(square: Any) -> Tensor:
            weight = self._inverse_var.log() + log_mask.unsqueeze(2)
            log_p = (weight - self._inverse_var * square).logsumexp(1)
            return log_p.expand_as(images[:, 0]).sum((1, 2, 3))

        with torch.no_grad():
            best = log_likelihood(0.0)
        return best - log_likelihood((rec - images).square())

    def calc_loss(self, info: MoNetInfo) -> LossInfo:
        """``rec_loss + gamma * mask_rec_loss + beta * kld``."""
        loss = info.rec_loss + self._gamma * info.mask_rec_loss
        if self._beta:
            loss = loss + self._beta * info.kld
        extra = MoNetInfo(kld=info.kld, rec_loss=info.rec_loss, mask_rec_loss=info.mask_rec_loss)
        return LossInfo(loss=loss, extra=extra)
