"""How the numbers of ensemble members travel through a network beside its tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alf.layers import make_parallel_net
from alf.tensor_specs import BoundedTensorSpec


def members_spec(ensemble_size: int) -> BoundedTensorSpec:
    """Spec of the member that a row of the batch goes to."""
    return BoundedTensorSpec((), torch.int64, minimum=0, maximum=ensemble_size - 1)


def without_members(pair: tuple[Any, Tensor]) -> Any:
    """The tensor of a pair of a tensor and members."""
    return pair[0]


class BesideMembers(nn.Module):
    """Applies a module to the first of a pair; the second, the members [B], stays as it is.

    Args:
        net: the module.
        num_replicas: with several the pair's members [B] become [B, num_replicas].
    """

    def __init__(self, net: Any, num_replicas: int = 0) -> None:
        super().__init__()
        self._net = net
        self._n = num_replicas

    def forward(self, pair: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
        x, ids = pair
        if self._n and ids.ndim == 1:
            ids = ids.unsqueeze(1).expand(-1, self._n)
        return self._net(x), ids

    def make_parallel(self, n: int, may_share: bool = False) -> BesideMembers:
        """n independent replicas; the members are given to all, or to each its own."""
        del may_share
        return BesideMembers(make_parallel_net(self._net, n), n)
