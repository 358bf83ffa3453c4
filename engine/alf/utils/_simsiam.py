"""Siamese representation loss without negative pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from alf.config_util import configurable
from alf.data_structures import LossInfo
from alf.norm_layers import BatchNorm1d
from alf.summary import summary_ops as summary

PUBLIC_MODULE = "alf.utils.losses"  # under which these names are configured


@configurable
class AsymmetricSimSiamLoss(nn.Module):
    """Negative cosine similarity of a prediction to a target, with gradient to the prediction only.

    Chen and He 2021, "Exploring Simple Siamese Representation Learning", algorithm 1, one half.

    Args:
        proj_net: projection network; None for three layers with batch normalisation.
        pred_net: prediction network; None for two layers, the hidden one narrower.
        input_size: size of the representations; needed if a network is to be made.
        proj_hidden_size: width of the hidden layers of the projection network.
        pred_hidden_size: width of the hidden layer of the prediction network.
        output_size: size of what both networks put out.
        proj_last_use_bn: batch normalisation also after the last layer of the projection.
        eps: for the norm in the cosine similarity.
        fixed_weight_norm: of the batch normalisation of networks that are made: the norm of the
            gain stays as it is, see `alf.norm_layers.BatchNorm1d`.
        lr: learning rate of the networks; None for that of the optimizer.
        debug_summaries: write summaries.
        name: scope of the summaries.
    """

    def __init__(
        self,
        proj_net: nn.Module | None = None,
        pred_net: nn.Module | None = None,
        input_size: int | None = None,
        proj_hidden_size: int = 256,
        pred_hidden_size: int = 128,
        output_size: int = 256,
        proj_last_use_bn: bool = False,
        eps: float = 1e-5,
        fixed_weight_norm: bool = False,
        lr: float | None = None,
        debug_summaries: bool = True,
        name: str = "SimSiamLoss",
    ) -> None:
        norm: Callable[[int], nn.Module] = nn.BatchNorm1d
        if fixed_weight_norm:
            norm = functools.partial(BatchNorm1d, fixed_weight_norm=True)
        if proj_net is None:
            if input_size is None:
                raise ValueError(f"{name}: give proj_net or input_size")
            hidden = proj_hidden_size
            proj_net = nn.Sequential(
                *_normalised_layer(input_size, hidden, norm),
                *_normalised_layer(hidden, hidden, norm),
                nn.Linear(hidden, output_size),
                *([norm(output_size)] if proj_last_use_bn else []),
            )
        super().__init__()
        self._proj_net = proj_net
        self._pred_net = pred_net or nn.Sequential(
            *_normalised_layer(output_size, pred_hidden_size, norm),
            nn.Linear(pred_hidden_size, output_size),
        )
        if lr is not None:
            for parameter in self.parameters():
                parameter.opt_args = {**getattr(parameter, "opt_args", {}), "lr": lr}
        self._eps = eps
        self._debug_summaries = debug_summaries
        self._name = name

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> LossInfo:
        """Loss of `pred` against `target`, both [B, input_size]: `LossInfo` with loss [B]."""
        with torch.no_grad():
            projected_target = _output(self._proj_net(target))
        predicted = _output(self._pred_net(_output(self._proj_net(pred))))
        similarity = F.cosine_similarity(predicted, projected_target, dim=-1, eps=self._eps)
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                summary.scalar("cosine_similarity", similarity.mean())
        return LossInfo(loss=-similarity, extra=-similarity)


def _normalised_layer(
    inputs: int, outputs: int, norm: Callable[[int], nn.Module]
) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs, bias=False), norm(outputs), nn.ReLU()


def _output(result: torch.Tensor | tuple) -> torch.Tensor:
    """An ALF network returns (output, state), a torch module the output."""
    return result[0] if isinstance(result, tuple) else result
