"""Estimators of the mutual information of x and y from samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo
from alf.layers import FC
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils.averager import EMAverager, ScalarAdaptiveAverager
from alf.utils.data_buffer import DataBuffer
from alf.utils.dist_utils import DiagMultivariateNormal, sample_action_distribution
from alf.utils.math_ops import identity

__all__ = ["AlgStep", "LossInfo", "MIEstimator"]

# exp() of a larger number would make one sample outweigh all others.
_MAX_SCORE = 20.0
_ONE = math.log(math.e - 1)  # softplus of it is 1


@configurable
class MIEstimator(Algorithm):
    """Learns a lower bound of the mutual information, by a network T of pairs (x, y).

    With P their joint distribution and Q that of pairs whose parts are independent, the bounds are

    - "DV": ``E_P(T) - log E_Q(exp T)`` (Belghazi et al., arXiv:1801.04062);
    - "KLD": ``E_P(T) - E_Q(exp T) + 1``;
    - "JSD": ``-E_P(softplus(-T)) - E_Q(softplus T) + log 4``, of the Jensen-Shannon divergence of P
      and Q (Hjelm et al., arXiv:1808.06670);
    - "ML": ``E_P(log q(y|x) - log P(y))``, for a known distribution ``P(y)``; q is normal.

    Args:
        x_spec: nest of specs of x.
        y_spec: nest of specs of y; one vector for "ML".
        model: T, called with ``[x, y]``, to `[B, 1]`; None: it is made. Not for "ML".
        fc_layers: sizes of its hidden layers.
        sampler: where samples of Q come from: y from a "buffer" of former ones; x and y from a
            "double_buffer"; y of the batch in another order ("shuffle") or moved on by one row
            ("shift"). Gradients reach y with the last two.
        buffer_size: rows of a buffer.
        optimizer: must be without parameters; the algorithm uses its own copy.
        estimator_type: the bound.
        averager: of ``exp T`` for "DV"; None is a `ScalarAdaptiveAverager`.
        name: used in summary tags and messages.

    Raises:
        ValueError: "ML" with a model, or with y that is no continuous vector.
    """

    def __init__(
        self,
        x_spec: Any,
        y_spec: Any,
        model: Network | None = None,
        fc_layers: Sequence[int] = (256,),
        sampler: Literal["buffer", "double_buffer", "shuffle", "shift"] = "buffer",
        buffer_size: int = 65536,
        optimizer: torch.optim.Optimizer | None = None,
        estimator_type: Literal["DV", "KLD", "JSD", "ML"] = "DV",
        averager: EMAverager | None = None,
        name: str = "MIEstimator",
    ) -> None:
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(train_state_spec=(), optimizer=optimizer, name=name)
        self._type, self._sampler = estimator_type, sampler
        self._x_rank = nest.flatten(x_spec)[0].ndim
        self._model: Any = None
        if estimator_type == "ML":
            _check_ml(name, y_spec, model)
            self._normal = _ConditionalNormal(x_spec, y_spec, fc_layers, name)
            return
        self._model = model
        if model is None:
            self._model = EncodingNetwork(
                [x_spec, y_spec],
                preprocessing_combiner=NestConcat(),
                fc_layer_params=tuple(fc_layers),
                last_layer_size=1,
                last_activation=identity,
                name=f"{name}.model",
            )
        if sampler in ("buffer", "double_buffer"):
            spec = y_spec if sampler == "buffer" else [x_spec, y_spec]
            self._buffer = DataBuffer(spec, buffer_size, name=f"{name}.buffer")
        if estimator_type == "DV":
            self._mean_averager = ScalarAdaptiveAverager() if averager is None else averager

    def train_step(
        self,
        inputs: tuple[Any, Any],
        y_distribution: Any = None,
        state: Any = None,
    ) -> AlgStep:
        """One batch: the estimate, and the loss that makes the bound tight.

        Args:
            inputs: x and y, nests of `[B, ...]` or `[T, B, ...]`.
            y_distribution: nest of distributions of y, or of y given a part of x; samples of Q come
                from it and not from the sampler. "ML" needs it.
            state: not used.

        Returns:
            the estimates, whose mean is the bound, and a `LossInfo`, both of shape `[B]` or
            `[T, B]`.
        """
        if self._type == "ML":
            pmi = self.calc_pmi(*inputs, y_distribution)
            return AlgStep(output=pmi, state=(), info=LossInfo(loss=-pmi))
        x, y = inputs
        outer = nest.flatten(x)[0].shape[: nest.flatten(x)[0].ndim - self._x_rank]
        x, y = (nest.map_structure(lambda t: t.flatten(0, len(outer) - 1), v) for v in (x, y))
        joint = self._model([x, y])[0].squeeze(-1)
        if y_distribution is None:
            other_x, other_y = self._independent(x, y)
        else:
            other_x = x
            other_y = nest.map_structure(
                lambda t: t.flatten(0, len(outer) - 1), sample_action_distribution(y_distribution)
            )
        estimate, loss = self._bound(joint, self._model([other_x, other_y])[0].squeeze(-1))
        return AlgStep(
            output=estimate.reshape(outer), state=(), info=LossInfo(loss=loss.reshape(outer))
        )

    def _bound(self, joint: Tensor, independent: Tensor) -> tuple[Tensor, Tensor]:
        """Estimates and losses `[B]` from T of P and of Q."""
        if self._type == "JSD":
            estimate = -F.softplus(-joint) - F.softplus(independent) + math.log(4)
            return estimate, -estimate
        ratio = independent.clamp(max=_MAX_SCORE).exp()
        if self._type == "KLD":
            estimate = joint - ratio + 1
            return estimate, -estimate
        mean = ratio.mean()
        with torch.no_grad():
            estimate = joint - (mean.log() + ratio / mean - 1)
            # The gradient of log E(ratio) is that of ratio / E(ratio). The mean of a batch alone
            # would bias it (Belghazi et al., section 3.2).
            average = self._mean_averager.average(ratio)
        return estimate, ratio / average - joint

    def _independent(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Samples of Q."""
        batch_size = len(nest.flatten(y)[0])
        if self._sampler == "shift":
            return x, nest.map_structure(lambda t: torch.cat([t[-1:], t[:-1]]), y)
        if self._sampler == "shuffle":
            order = torch.randperm(batch_size)
            return x, nest.map_structure(lambda t: t[order], y)
        stored = y if self._sampler == "buffer" else [x, y]
        self._buffer.add_batch(nest.map_structure(torch.Tensor.detach, stored))
        if self._sampler == "buffer":
            return x, self._buffer.get_batch(batch_size)
        return self._buffer.get_batch(batch_size)[0], self._buffer.get_batch(batch_size)[1]

    def calc_pmi(
        self, x: Any, y: Any, y_distribution: torch.distributions.Distribution | None = None
    ) -> Tensor:
        """The pointwise mutual information ``log P(y|x) / P(y)`` of each pair `[B]`.

        Args:
            x: nest of `[B, ...]`.
            y: nest of `[B, ...]`.
            y_distribution: of y; "ML" needs it.

        Raises:
            ValueError: it is missing.
        """
        if self._type != "ML":
            score = self._model([x, y])[0].squeeze(-1)
            return score - self._mean_averager.get().log() if self._type == "DV" else score
        if y_distribution is None:
            raise ValueError(f'{self.name}: estimator_type="ML" needs y_distribution, it is None')
        conditional = self._normal(x, y_distribution)
        return conditional.log_prob(y) - y_distribution.log_prob(y).detach()


def _check_ml(name: str, y_spec: Any, model: Any) -> None:
    if model is not None:
        raise ValueError(f"{name}: estimator_type='ML' makes its own model, got {model}.")
    if not isinstance(y_spec, TensorSpec) or y_spec.is_discrete or y_spec.ndim != 1:
        raise ValueError(f"{name}: estimator_type='ML' takes y as one vector, got {y_spec}.")


class _ConditionalNormal(nn.Module):
    """A normal distribution of y given x, which is at first that of y alone."""

    def __init__(self, x_spec: Any, y_spec: Any, fc_layers: Sequence[int], name: str) -> None:
        super().__init__()
        self._net = EncodingNetwork(
            x_spec,
            preprocessing_combiner=NestConcat() if nest.is_nested(x_spec) else None,
            fc_layer_params=tuple(fc_layers),
            name=f"{name}.net",
        )
        size, y_size = self._net.output_spec.shape[0], y_spec.shape[0]
        self._shift: nn.Module = FC(size, y_size, kernel_init_gain=0.0)
        self._scale: nn.Module = FC(size, y_size, kernel_init_gain=0.0, bias_init_value=_ONE)

    def forward(self, x: Any, y_distribution: Any) -> DiagMultivariateNormal:
        feature, _ = self._net(x)
        scale = y_distribution.stddev * F.softplus(self._scale(feature))
        return DiagMultivariateNormal(y_distribution.mean + self._shift(feature), scale)
