"""External memories of recurrent networks, which keep nothing of their own: state in, state out."""

from __future__ import annotations

import abc
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alf.config_util import configurable
from alf.layers import FC
from alf.networks.containers import Sequential
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec

_SCALE = 5.0  # of similarities, where neither memory nor reader gives one


class Memory(abc.ABC):
    """Base of memories of ``size`` slots with vectors of ``dim`` elements for each batch row.

    Args:
        dim: D.
        size: N.
        state_spec: nest of specs of :attr:`states`, without the batch axis.
        name: for messages.
    """

    def __init__(self, dim: int, size: int, state_spec: Any, name: str = "Memory") -> None:
        self._dim, self._size, self._state_spec, self._name = dim, size, state_spec, name

    @property
    def dim(self) -> int:
        """Number of elements of a slot."""
        return self._dim

    @property
    def size(self) -> int:
        """Number of slots."""
        return self._size

    @property
    def state_spec(self) -> Any:
        """Nest of specs of the states."""
        return self._state_spec

    @abc.abstractmethod
    def read(self, keys: Tensor) -> Tensor:
        """Vectors [B, ..., D] found by ``keys``."""

    @abc.abstractmethod
    def write(self, content: Tensor) -> None:
        """Store ``content`` [B, D]."""

    @abc.abstractmethod
    def build(self, batch_size: int) -> None:
        """Start with an empty memory for ``batch_size`` rows."""

    def _build_for(self, built: Any, rows: Tensor) -> None:
        """Start with an empty memory where there is none yet."""
        if built is None:
            with rows.device:
                self.build(rows.shape[0])


@configurable
class MemoryWithUsage(Memory):
    """Reads by similarity; writes over the slot that was used least.

    Reading is that of the memory of MERLIN (Wayne et al., arXiv:1803.10760, section "Memory"):
    softmax over the similarities of key and slots. What a slot takes part in reading counts as its
    usage.

    Args:
        dim: D.
        size: N.
        snapshot_only: no gradients flow into what was written in earlier steps.
        normalize: similarity is the cosine, else the dot product.
        scale: factor of the similarities; None for one given by the key net (see
            :meth:`create_keynet`), or by ``scale`` of :meth:`read`.
        usage_decay: the usage is multiplied by it in each write; None for ``1 - 1 / N``.
        name: for messages.
    """

    def __init__(
        self,
        dim: int,
        size: int,
        snapshot_only: bool = False,
        normalize: bool = True,
        scale: float | None = None,
        usage_decay: float | None = None,
        name: str = "MemoryWithUsage",
    ) -> None:
        spec = (TensorSpec((size, dim)), TensorSpec((size,)))
        super().__init__(dim, size, spec, name)
        self._snapshot_only, self._normalize, self._scale = snapshot_only, normalize, scale
        self._usage_decay = 1 - 1 / size if usage_decay is None else usage_decay
        self._memory: Any = None
        self._usage: Any = None

    def build(self, batch_size: int) -> None:
        """Start with an empty memory for ``batch_size`` rows."""
        self._memory = torch.zeros(batch_size, self._size, self._dim)
        self._usage = torch.zeros(batch_size, self._size)

    def from_states(self, states: Any) -> None:
        """Go on from what :attr:`states` gave."""
        self._memory, self._usage = states

    @property
    def states(self) -> tuple[Tensor, Tensor]:
        """Contents [B, N, D] and usage [B, N]."""
        return self._memory, self._usage

    @property
    def usage(self) -> Tensor:
        """How much each slot was read lately, [B, N]."""
        return self._usage

    def reset(self) -> None:
        """Empty the memory of all rows."""
        if self._memory is not None:
            self._memory, self._usage = (torch.zeros_like(x) for x in self.states)

    def create_keynet(self, query_spec: TensorSpec, num_keys: int) -> Network:
        """A network from a query [B, Q] to ``num_keys`` keys for :meth:`genkey_and_read`.

        Without a fixed scale it gives a scale with each key: first the keys, then the scales, which
        softplus makes positive.
        """
        size = num_keys * (self._dim + (self._scale is None))
        return Sequential(
            FC(query_spec.shape[0], size), input_tensor_spec=query_spec, name=f"{self._name}.keynet"
        )

    def genkey_and_read(
        self, keynet: Network, query: Tensor, flatten_result: bool = True
    ) -> Tensor:
        """Read with keys made of ``query``.

        Args:
            keynet: made by :meth:`create_keynet`.
            query: [B, Q].
            flatten_result: return [B, num_keys * D], else [B, num_keys, D].
        """
        keys, _ = keynet(query)
        if self._scale is None:
            num_keys = keys.shape[-1] // (self._dim + 1)
            keys, scales = keys.split([num_keys * self._dim, num_keys], dim=-1)
            result = self.read(keys.unflatten(-1, (num_keys, -1)), F.softplus(scales))
        else:
            result = self.read(keys.unflatten(-1, (-1, self._dim)))
        return result.flatten(1) if flatten_result else result

    def read(self, keys: Tensor, scale: Any = None) -> Tensor:
        """Means of the slots, weighted by their similarity to each key; counts as usage.

        Args:
            keys: [B, D] or [B, K, D].
            scale: factor of the similarities, a number, [B] or [B, K]; None for that of the memory,
                or else 5.

        Returns:
            As ``keys``.
        """
        self._build_for(self._memory, keys)
        is_single = keys.ndim == 2
        k = keys.unsqueeze(1) if is_single else keys
        slots = self._memory
        if self._normalize:
            k, slots = F.normalize(k, dim=-1), F.normalize(slots, dim=-1)
        factor = scale if scale is not None else (_SCALE if self._scale is None else self._scale)
        if isinstance(factor, Tensor) and factor.ndim:
            factor = factor.reshape(factor.shape[0], -1, 1)
        weights = (factor * (k @ slots.transpose(1, 2))).softmax(dim=-1)
        self._usage = self._usage + weights.detach().sum(1)
        result = weights @ self._memory
        return result.squeeze(1) if is_single else result

    def write(self, content: Tensor) -> None:
        """Write over the least used slot of each row; it begins with usage 1."""
        self._build_for(self._memory, content)
        memory = self._memory.detach() if self._snapshot_only else self._memory
        least = F.one_hot(self._usage.argmin(dim=1), self._size).to(memory.dtype)
        self._memory = torch.where(least.unsqueeze(-1) > 0, content.unsqueeze(1), memory)
        self._usage = torch.where(least > 0, 1.0, self._usage * self._usage_decay)


@configurable
class FIFOMemory(Memory):
    """The last ``size`` vectors, newest first; :meth:`read` is not weighted by usage.

    Args:
        dim: D.
        size: N.
        name: for messages.
    """

    def __init__(self, dim: int, size: int, name: str = "FIFOMemory") -> None:
        spec = (TensorSpec((size, dim)), TensorSpec((), torch.int64))
        super().__init__(dim, size, spec, name)
        self._memory: Any = None
        self._count: Any = None

    def build(self, batch_size: int) -> None:
        """Start with an empty memory for ``batch_size`` rows."""
        self._memory = torch.zeros(batch_size, self._size, self._dim)
        self._count = torch.zeros(batch_size, dtype=torch.int64)

    def from_states(self, states: Any) -> None:
        """Go on from what :attr:`states` gave."""
        self._memory, self._count = states

    @property
    def states(self) -> tuple[Tensor, Tensor]:
        """Contents [B, N, D] and how many vectors were written [B]."""
        return self._memory, self._count

    def memory(self) -> Tensor:
        """Contents [B, N, D], the newest first; empty slots are zeros, at the end."""
        return self._memory

    def mask(self) -> Tensor:
        """Which slots are filled, bool [B, N]."""
        slots = torch.arange(self._size, device=self._count.device)
        return slots < self._count.unsqueeze(1)

    def read(self, keys: Tensor) -> Tensor:
        """Softmax attention of dot products over the filled slots; 0 where there are none.

        Args:
            keys: [B, D] or [B, K, D].
        """
        self._build_for(self._memory, keys)
        k = keys.unsqueeze(1) if keys.ndim == 2 else keys
        is_filled = self.mask().unsqueeze(1)
        score = k @ self._memory.transpose(1, 2)
        score = score.masked_fill(~is_filled, torch.finfo(score.dtype).min)
        result = (score.softmax(dim=-1) * is_filled) @ self._memory
        return result.squeeze(1) if keys.ndim == 2 else result

    def write(self, content: Tensor) -> None:
        """Add ``content`` [B, D], or several [B, M, D], in the order in which they came."""
        self._build_for(self._memory, content)
        new = content.unsqueeze(1) if content.ndim == 2 else content
        self._memory = torch.cat([new.flip(1), self._memory], dim=1)[:, : self._size]
        self._count = (self._count + new.shape[1]).clamp(max=self._size)
