"""The critic of multi-dimensional Q learning: bins of an action are valued one dimension at a time.

It has two values. The free form Q(s, a) is any function of a continuous action. The advantage form
knows the action by its bins alone and adds up, dimension after dimension,

    Q(s, a_1) = u_1(s, a_1) + alpha log n,
    Q(s, a_1..a_i) = Q(s, a_1..a_{i-1}) + A_i(s, a_1..a_i),
    A_i = u_i - alpha (log sum_b exp(u_i(.., b) / alpha) - log n),

where u_i are outputs of the network and n is the number of bins. So the value of the first i - 1
dimensions is the soft maximum, with regard to a uniform prior, of the values of the first i, and
the policy proportional to exp(Q(s, a) / alpha) is drawn exactly by one softmax for each dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.initializers import small_uniform_init
from alf.layers import ParallelFC
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks._critic_parts import input_specs
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.action_quantizer import ActionQuantizer

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


@configurable
class MdqCriticNetwork(Network):
    """Replicas (R) of a critic whose action dimensions (D) are valued one after another.

    Args:
        input_tensor_spec: (observation_spec, action_spec); the action is continuous, bounded and
            of rank 1.
        action_qt: cuts the action into bins; None for an :class:`.ActionQuantizer` of the action
            with its defaults.
        num_critic_replicas: number of independent critics.
        obs_encoding_layer_params: sizes of the layers of the observation in the advantage form.
        pre_encoding_layer_params: sizes of the next layers of the advantage form: of the encoded
            observation and the dimensions before, each dimension with its own.
        mid_encoding_layer_params: sizes of the layers after that, which all dimensions share.
        post_encoding_layer_params: sizes of the layers before the last one, each dimension with
            its own.
        free_form_fc_layer_params: sizes of the layers of the observation and the action in the
            free form, which shares none with the other.
        activation: of all layers but the last ones.
        kernel_initializer: of all layers but the last ones; None for variance scaling.
        debug_summaries: record the mean entropy of each dimension's policy.
        name: for printing and summaries.
    """

    _center: Tensor
    _half_width: Tensor
    _is_before: Tensor

    def __init__(
        self,
        input_tensor_spec: Any,
        action_qt: ActionQuantizer | None = None,
        num_critic_replicas: int = 2,
        obs_encoding_layer_params: Sequence[int] | None = None,
        pre_encoding_layer_params: Sequence[int] | None = None,
        mid_encoding_layer_params: Sequence[int] | None = None,
        post_encoding_layer_params: Sequence[int] | None = None,
        free_form_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        debug_summaries: bool = False,
        name: str = "MdqCriticNetwork",
    ) -> None:
        observation_spec, action_spec = input_specs(input_tensor_spec, name)
        _check_action_spec(action_spec, name)
        super().__init__(input_tensor_spec, name=name)
        self._replicas = num_critic_replicas
        self._dims: int = action_spec.shape[0]
        self._output_spec = TensorSpec((num_critic_replicas, self._dims))
        self._action_qt = action_qt or ActionQuantizer(action_spec)
        self._bins = self._action_qt.action_bins
        self._debug_summaries = debug_summaries

        encoder = EncodingNetwork(
            observation_spec,
            preprocessing_combiner=NestConcat() if nest.is_nested(observation_spec) else None,
            fc_layer_params=obs_encoding_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
            name=f"{name}.obs_encoder",
        )
        if encoder.output_spec.ndim != 1:
            raise ValueError(f"{name}: observations must have rank 1, got {observation_spec}")
        size = encoder.output_spec.shape[0]
        self._obs_encoder = encoder.make_parallel(num_critic_replicas)

        def layers(n: int, size: int, sizes: Sequence[int] | None, last: int | None) -> _Layers:
            return _Layers(n, size, sizes or (), last, activation, kernel_initializer)

        n = self._dims * num_critic_replicas
        # The last dimension is before no other: as in ALF its input is there, and always 0.
        self._pre = layers(n, size + self._dims, pre_encoding_layer_params, None)
        self._mid = layers(
            num_critic_replicas, self._pre.output_size, mid_encoding_layer_params, None
        )
        self._post = layers(n, self._mid.output_size, post_encoding_layer_params, self._bins)
        self._concat = NestConcat() if nest.is_nested(observation_spec) else None
        self._free_form = layers(
            num_critic_replicas,
            sum(spec.numel for spec in nest.flatten(observation_spec)) + self._dims,
            free_form_fc_layer_params,
            1,
        )
        low = torch.as_tensor(action_spec.minimum, dtype=torch.float32).expand(self._dims)
        high = torch.as_tensor(action_spec.maximum, dtype=torch.float32).expand(self._dims)
        self.register_buffer("_center", (low + high) / 2, persistent=False)
        # A dimension of one value counts as 2 wide.
        half_width = torch.where(low == high, 1.0, (high - low) / 2)
        self.register_buffer("_half_width", half_width, persistent=False)
        before = torch.ones(self._dims, self._dims).tril(-1)
        self.register_buffer("_is_before", before, persistent=False)

    def forward(  # type: ignore[override]
        self, inputs: Any, alpha: float | Tensor, state: Any = (), free_form: bool = False
    ) -> tuple[Tensor, Any]:
        """Values of (observation, action).

        Args:
            inputs: the observation and the action [B, D].
            alpha: the temperature, a positive scalar; without effect on the free form.
            state: returned as it is.
            free_form: the free form instead of the advantage form. It alone has a gradient with
                regard to the action.

        Returns:
            The free form [B, R]. Or the advantage form [B, R, D]: the value of the first i
            dimensions of the action, for each i; the last one is that of the whole action.
        """
        observation, action = inputs
        if free_form:
            plain = observation if self._concat is None else self._concat(observation)
            x = torch.cat([plain, self._scale(action)], dim=-1)
            x = x.unsqueeze(1).expand(-1, self._replicas, -1)
            return self._free_form(x).squeeze(-1), state
        encoding = self._encode(observation)
        bins = self._action_qt.action_to_ind(action)
        prefix = self._scale_bins(bins)[:, None, None] * self._is_before[:, None]
        values = self._bin_values(encoding, prefix, slice(None))
        first = values[:, :1] + alpha * math.log(self._bins)
        later = self._advantages(values[:, 1:], alpha)
        terms = torch.cat([first, later], dim=1)
        chosen = bins[:, :, None, None].expand(-1, -1, self._replicas, 1)
        self._summarize(values, alpha)
        return terms.gather(-1, chosen).squeeze(-1).cumsum(dim=1).transpose(1, 2), state

    def get_action(self, inputs: Any, alpha: float | Tensor, greedy: bool) -> tuple[Tensor, Tensor]:
        """Let each replica choose the bins of an action, one dimension after another.

        Bin a_i of replica r has probability proportional to exp(Q_r(s, a_1..a_i) / alpha).

        Args:
            inputs: the observation.
            alpha: the temperature, a positive scalar.
            greedy: take the most probable bin of each dimension instead of sampling it.

        Returns:
            The actions [B, R, D] that the bins stand for, and the log probability [B, R, D] of each
            bin given those before.
        """
        encoding = self._encode(inputs)
        shape = (encoding.shape[0], self._replicas, self._dims)
        bins = torch.zeros(shape, dtype=torch.int64, device=encoding.device)
        log_pi: list[Tensor] = []
        for i in range(self._dims):
            rows = slice(i * self._replicas, (i + 1) * self._replicas)
            prefix = (self._scale_bins(bins) * self._is_before[i]).unsqueeze(1)
            values = self._bin_values(encoding, prefix, rows).squeeze(1)
            # what the dimensions before are worth is the same for all bins
            logits = torch.log_softmax(values / alpha, dim=-1)
            if greedy:
                chosen = logits.argmax(dim=-1, keepdim=True)
            else:
                drawn = torch.multinomial(logits.flatten(0, 1).exp(), 1)
                chosen = drawn.unflatten(0, logits.shape[:2])
            log_pi.append(logits.gather(-1, chosen))
            bins = torch.cat([bins[..., :i], chosen, bins[..., i + 1 :]], dim=-1)
        return self._action_qt.ind_to_action(bins), torch.cat(log_pi, dim=-1)

    def get_uniform_prior_logpi(self) -> float:
        """Log probability of any bin of a dimension under the uniform prior."""
        return -math.log(self._bins)

    def sync_net(self) -> None:
        """Does nothing: :meth:`forward` and :meth:`get_action` use the same parameters."""

    def make_parallel(self, n: int) -> Network:
        """A critic with n replicas of this one, which must have a single one; values are [B, n]."""
        if self._replicas != 1:
            raise ValueError(
                f"{self.name}: make_parallel needs num_critic_replicas=1, got {self._replicas}; "
                "set num_critic_replicas instead"
            )
        return self.copy(num_critic_replicas=n)

    def _encode(self, observation: Any) -> Tensor:
        """Encoded observations [B, R, size]."""
        encoding, _ = self._obs_encoder(observation)
        if encoding.ndim == 2:
            encoding = encoding.unsqueeze(1).expand(-1, self._replicas, -1)
        return encoding

    def _scale(self, action: Tensor) -> Tensor:
        """Actions with each dimension's range mapped to [-1, 1]."""
        return (action - self._center) / self._half_width

    def _scale_bins(self, bins: Tensor) -> Tensor:
        """What bins [..., D] stand for, in the scaled range."""
        return self._scale(self._action_qt.ind_to_action(bins))

    def _bin_values(self, encoding: Tensor, prefix: Tensor, rows: slice) -> Tensor:
        """u_i of all bins: [B, d, R, n] for the d dimensions whose replicas are ``rows``.

        Args:
            encoding: encoded observations [B, R, size].
            prefix: scaled bins [B, d, R, D] of the dimensions before, 0 for the others; R may
                be 1 for all replicas together.
            rows: of the d R layers that belong to these dimensions.
        """
        batch_size, dims = prefix.shape[:2]
        shape = (batch_size, dims, self._replicas, -1)
        x = torch.cat([encoding.unsqueeze(1).expand(shape), prefix.expand(shape)], dim=-1)
        x = self._pre(x.flatten(1, 2), rows)
        x = self._mid(x.reshape(batch_size * dims, self._replicas, -1))
        return self._post(x.reshape(batch_size, dims * self._replicas, -1), rows).reshape(shape)

    def _advantages(self, values: Tensor, alpha: float | Tensor) -> Tensor:
        """A_i [..., n] of u_i: their soft maximum over the bins is 0."""
        return alpha * (torch.log_softmax(values / alpha, dim=-1) + math.log(self._bins))

    def _summarize(self, values: Tensor, alpha: float | Tensor) -> None:
        if not (self._debug_summaries and summary.should_record_summaries()):
            return
        with torch.no_grad():
            log_pi = torch.log_softmax(values / alpha, dim=-1)
            entropy = -(log_pi.exp() * log_pi).sum(dim=-1).mean(dim=(0, 2))
        for i in range(self._dims):
            summary.scalar(f"{self.name}/entropy/action_dim_{i}", entropy[i])


class _Layers(nn.Module):
    """Fully connected layers of n replicas, of which a part may be asked alone."""

    def __init__(
        self,
        n: int,
        size: int,
        sizes: Sequence[int],
        last: int | None,
        activation: Activation,
        kernel_initializer: Initializer | None,
    ) -> None:
        super().__init__()
        self._activation = activation
        self._hidden = nn.ModuleList()
        for output_size in sizes:
            self._hidden.append(
                ParallelFC(
                    size,
                    output_size,
                    n,
                    activation=activation,
                    kernel_initializer=kernel_initializer,
                )
            )
            size = output_size
        self._last = None
        if last is not None:
            self._last = ParallelFC(size, last, n, kernel_initializer=small_uniform_init(0.003))
            size = last
        self.output_size = size

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """[B, rows, size] to [B, rows, output_size] by the replicas ``rows``."""
        x = x.transpose(0, 1)
        for layer in self._hidden:
            x = self._activation(_linear(layer, x, rows))
        if self._last is not None:
            x = _linear(self._last, x, rows)
        return x.transpose(0, 1)


def _linear(layer: Any, x: Tensor, rows: slice) -> Tensor:
    """[rows, B, in] to [rows, B, out]."""
    return torch.baddbmm(layer.bias[rows].unsqueeze(1), x, layer.weight[rows].transpose(1, 2))


def _check_action_spec(spec: Any, name: str) -> None:
    if not isinstance(spec, BoundedTensorSpec) or spec.is_discrete or spec.ndim != 1:
        raise ValueError(f"{name}: the action must be continuous, bounded, of rank 1, got {spec}")
    if not spec.numel:
        raise ValueError(f"{name}: the action must have at least one dimension, got {spec}")
