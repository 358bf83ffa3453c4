"""An ensemble of networks with given weights as functions: their outputs, losses and scores.

Letters: B rows of a batch, N members of the ensemble, D outputs of a network, P parameters of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from alf.data_structures import LossInfo
from alf.networks.param_networks import ParamNetwork
from alf.utils.sl_utils import classification_loss, regression_loss


class FunctionView(NamedTuple):
    """Members of an ensemble seen as their outputs.

    Fields:
        outputs: `[N, B * D]`, on the training batch.
        density_outputs: `[N, E * D]`, on extra samples.
        extra_samples: `[E, ...]`, those samples.
    """

    outputs: Tensor
    density_outputs: Tensor
    extra_samples: Tensor


@dataclass(frozen=True)
class ExtraSamples:
    """Inputs near those of the batch, on which functions are compared as well.

    They are the last ``ceil(batch_size * ratio)`` rows of the batch plus noise.

    Args:
        batch_size: rows of a training batch.
        ratio: share of extra samples.
        sampler: "uniform" noise in [0, 1), or "normal".
        std: deviation of normal noise.
    """

    batch_size: int
    ratio: float
    sampler: str
    std: float

    @property
    def count(self) -> int:
        """How many extra samples there are."""
        return math.ceil(self.batch_size * self.ratio)

    def __call__(self, inputs: Tensor) -> Tensor:
        rows = inputs[len(inputs) - min(self.count, len(inputs)) :]
        if self.sampler == "normal":
            return rows + self.std * torch.randn_like(rows)
        return rows + torch.rand_like(rows)


class FunctionEnsemble:
    """What a network computes with the weights of each member, and how wrong that is.

    Args:
        net: gets its weights from outside.
        loss_type: "classification" (logits and classes) or "regression".
        extra_samples: for the members as functions; None where they are parameters.
    """

    def __init__(
        self, net: ParamNetwork, loss_type: str, extra_samples: ExtraSamples | None
    ) -> None:
        self._net = net
        self._is_classification = loss_type == "classification"
        self._extra_samples = extra_samples

    @property
    def is_classification(self) -> bool:
        """Whether outputs are logits."""
        return self._is_classification

    def outputs(self, inputs: Tensor, params: Tensor) -> Tensor:
        """`[B, N, D]` of inputs `[B, ...]` and parameters `[N, P]`."""
        self._net.set_parameters(params)
        outputs, _ = self._net(inputs)
        return outputs.unsqueeze(1) if len(params) == 1 else outputs

    def loss(self, outputs: Tensor, targets: Tensor) -> LossInfo:
        """Negative log likelihood `[]` of outputs `[B, N, D]`, summed over rows and members."""
        members = outputs.shape[1]
        if self._is_classification:
            classes = targets.reshape(-1).repeat_interleave(members)
            return classification_loss(outputs.flatten(0, 1), classes)
        targets = targets.reshape(len(outputs), 1, -1)
        if targets.shape[-1] != outputs.shape[-1]:
            raise ValueError(
                f"targets have {targets.shape[-1]} numbers for each row, the networks' outputs "
                f"{outputs.shape[-1]}"
            )
        return regression_loss(outputs, targets.expand_as(outputs))

    def loss_of_params(self, inputs: Tensor, targets: Tensor) -> Callable[[Tensor], LossInfo]:
        """The loss as a function of parameters `[N, P]`."""
        return lambda params: self.loss(self.outputs(inputs, params), targets)

    def view(self, inputs: Tensor) -> Callable[[Any], FunctionView]:
        """Functions as their outputs: a function of parameters `[N, P]`.

        It also takes a pair of them and the extra samples, which are drawn otherwise.
        """

        def view_of(params: Any) -> FunctionView:
            params, extra = params if isinstance(params, tuple) else (params, None)
            if extra is None:
                assert self._extra_samples is not None
                extra = self._extra_samples(inputs)
            outputs = self.outputs(torch.cat([inputs, extra]), params)
            on_batch, on_extra = outputs.split([len(inputs), len(extra)])
            return FunctionView(_by_member(on_batch), _by_member(on_extra), extra)

        return view_of

    def loss_of_view(self, targets: Tensor) -> Callable[[Tensor], LossInfo]:
        """The loss as a function of the outputs `[N, B * D]` of each member."""

        def loss(outputs: Tensor) -> LossInfo:
            by_row = outputs.reshape(len(outputs), len(targets), -1).transpose(0, 1)
            return self.loss(by_row, targets)

        return loss


def _by_member(outputs: Tensor) -> Tensor:
    """`[B, N, D]` as `[N, B * D]`."""
    return outputs.transpose(0, 1).flatten(1)


class Score(NamedTuple):
    """How good an ensemble is on a data set.

    Fields:
        loss: `[]`, mean over rows: the negative log likelihood of the class, or the squared error.
        accuracy: `[]`, share of rows whose class is right; () for regression.
    """

    loss: Tensor
    accuracy: Any = ()


def score(outputs: Tensor, targets: Tensor, is_classification: bool, voting: str) -> Score:
    """The score of predictions `[B, N, D]` on one batch.

    Args:
        voting: "soft": the members' mean (of probabilities or outputs) is what counts. "hard": the
            class that most members choose; the loss is the mean of the members' losses.
    """
    if not is_classification:
        targets = targets.reshape(len(outputs), -1)
        if voting == "soft":
            return Score(F.mse_loss(outputs.mean(1), targets))
        return Score(F.mse_loss(outputs, targets.unsqueeze(1).expand_as(outputs)))
    classes = targets.reshape(-1).long()
    log_probs = outputs.log_softmax(-1)
    if voting == "soft":
        mean = log_probs.logsumexp(1) - math.log(outputs.shape[1])
        return Score(F.nll_loss(mean, classes), _share_of_right(mean.argmax(-1), classes))
    votes = F.one_hot(outputs.argmax(-1), outputs.shape[-1]).sum(1)
    loss = F.nll_loss(log_probs.flatten(0, 1), classes.repeat_interleave(outputs.shape[1]))
    return Score(loss, _share_of_right(votes.argmax(-1), classes))


def _share_of_right(found: Tensor, classes: Tensor) -> Tensor:
    return (found == classes).float().mean()


def disagreement(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """How unsure an ensemble is of each row, from logits `[B, N, D]`.

    Returns:
        the entropy `[B]` of the members' mean probabilities, and the variance `[B]` of the
        probabilities over members, summed over classes.
    """
    probs = outputs.softmax(-1)
    mean = probs.mean(1)
    return torch.special.entr(mean).sum(-1), probs.var(1, correction=0).sum(-1)
