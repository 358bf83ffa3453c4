"""Supervised training of an ensemble of functions: its data, its epochs, its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from absl import logging
from torch import Tensor, nn

from alf.algorithms.particles.function_ensemble import FunctionEnsemble, Score, disagreement, score
from alf.data_structures import LossInfo
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import summary_utils
from alf.utils.sl_utils import auc_score

Loader = Any


class Data(NamedTuple):
    """The loaders of a supervised task, each of batches (inputs `[B, ...]`, targets).

    Fields:
        train: what is learned.
        test: what it is evaluated on; None: there is none.
        outliers: (train, test) loaders of data of another kind; None: there are none.
    """

    train: Loader
    test: Loader = None
    outliers: Any = None


class Uncertainty(NamedTuple):
    """How well an ensemble's uncertainty tells outliers from the test data.

    Both are areas under the ROC curve `[]`: 1 tells all of them, 0.5 none.

    Fields:
        entropy: by the entropy of the mean probabilities.
        variance: by the variance of the probabilities over members.
    """

    entropy: Tensor
    variance: Tensor


def made_data(
    data_creator: Callable[[], tuple[Loader, Loader]] | None,
    data_creator_outlier: Callable[[], tuple[Loader, Loader]] | None,
) -> Data | None:
    """The data that the creators give; None without them."""
    if data_creator is None:
        return None
    outliers = None if data_creator_outlier is None else data_creator_outlier()
    return Data(*data_creator(), outliers)


def specs_of(
    owner: str,
    data: Data | None,
    input_tensor_spec: TensorSpec | None,
    output_dim: int | None,
    loss_type: str,
    num_train_classes: int,
) -> tuple[TensorSpec, int]:
    """The spec of a network's input and the size of its output: those given, or those of the data.

    Raises:
        ValueError: there is neither.
    """
    if input_tensor_spec is not None and output_dim is not None:
        return input_tensor_spec, output_dim
    if data is None:
        raise ValueError(
            f"{owner} needs data_creator, or input_tensor_spec and output_dim; got None, "
            f"{input_tensor_spec} and {output_dim}"
        )
    dataset = data.train.dataset
    inputs, target = dataset[0]
    if input_tensor_spec is None:
        input_tensor_spec = TensorSpec(tuple(inputs.shape))
    if output_dim is None:
        classes = getattr(dataset, "classes", None)
        if loss_type == "regression":
            output_dim = torch.as_tensor(target).numel()
        else:
            output_dim = num_train_classes if classes is None else len(classes)
    return input_tensor_spec, output_dim


def share_of_batch(loader: Loader) -> float:
    """Batch size by size of the data set.

    The loss of a batch is this share of the loss of all data. With the repulsion weighed so, both
    have the weights that Bayes' rule gives them.
    """
    return loader.batch_size / len(loader.dataset)


def batches(loader: Loader, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a loader, on a device."""
    for inputs, targets in loader:
        yield inputs.to(device), targets.to(device)


class Epoch:
    """Adds up the losses of an epoch; they are read only when it is over.

    Args:
        is_classification: there is an accuracy.
    """

    def __init__(self, is_classification: bool) -> None:
        self._is_classification = is_classification
        self._losses: list[Tensor] = []
        self._accuracies: list[Tensor] = []

    def add(self, result: Any) -> None:
        """Add what the loss function gave for a batch, a `LossInfo`."""
        self._losses.append(result.loss.detach())
        if self._is_classification:
            self._accuracies.append(result.extra.detach())

    @property
    def num_batches(self) -> int:
        """How many batches there were."""
        return len(self._losses)

    @property
    def cum_loss(self) -> Tensor | None:
        """Sum of the batches' losses `[]`."""
        return torch.stack(self._losses).sum() if self._losses else None

    @property
    def avg_acc(self) -> Tensor | None:
        """Mean accuracy `[]`; None for regression."""
        return torch.stack(self._accuracies).mean() if self._accuracies else None

    def log(self, owner: str) -> None:
        """Print it."""
        accuracy = "" if self.avg_acc is None else f", accuracy {float(self.avg_acc):.4f}"
        if self.cum_loss is not None:
            logging.info("%s: cumulative loss %.6g%s", owner, float(self.cum_loss), accuracy)


def needed(data: Data | None, which: str, owner: str) -> Any:
    """The loader ``which`` of the data.

    Raises:
        ValueError: there is none.
    """
    loader = None if data is None else getattr(data, which)
    if loader is None:
        raise ValueError(
            f"{owner} needs {which} data: give the constructor data creators, or call "
            "set_data_loader() first"
        )
    return loader


def summarize(
    config: Any,
    loss_info: LossInfo,
    params: list[tuple[str, nn.Parameter]],
    cum_loss: Any,
    avg_acc: Any,
) -> None:
    """Write the summaries of an epoch; what is None is left out."""
    if not summary.should_record_summaries():
        return
    if config is not None and config.summarize_grads_and_vars:
        summary_utils.summarize_variables(params)
        summary_utils.summarize_gradients(params)
    summary_utils.summarize_loss(loss_info)
    if cum_loss is not None:
        summary.scalar("cum_loss", cum_loss)
    if avg_acc is not None:
        summary.scalar("train_accuracy", avg_acc)


class Evaluator:
    """Scores an ensemble and writes summaries of it.

    Args:
        owner: name of the algorithm.
        ensemble: what its outputs mean.
        voting: see `score`.
        logs: print the results.
    """

    def __init__(self, owner: str, ensemble: FunctionEnsemble, voting: str, logs: bool) -> None:
        self._owner, self._ensemble, self._voting, self._logs = owner, ensemble, voting, logs

    @torch.no_grad()
    def evaluate(
        self, data: Data | None, predict: Callable[[Tensor], Tensor], device: torch.device
    ) -> Score:
        """The score on the test data.

        Args:
            data: of the algorithm.
            predict: from inputs `[B, ...]` to outputs `[B, N, D]`.
            device: where these are.
        """
        loader = needed(data, "test", f"{self._owner}.evaluate()")
        is_classification = self._ensemble.is_classification
        sizes, scores = [], []
        for inputs, targets in batches(loader, device):
            scores.append(score(predict(inputs), targets, is_classification, self._voting))
            sizes.append(len(inputs))
        weight = torch.tensor(sizes, dtype=torch.float32, device=device) / sum(sizes)
        result = Score(torch.stack([s.loss for s in scores]) @ weight)
        summary.scalar("eval/test_loss", result.loss)
        if is_classification:
            result = result._replace(accuracy=torch.stack([s.accuracy for s in scores]) @ weight)
            summary.scalar("eval/test_accuracy", result.accuracy)
        if self._logs:
            logging.info("%s: %s", self._owner, result)
        return result

    @torch.no_grad()
    def eval_uncertainty(
        self, data: Data | None, predict: Callable[[Tensor], Tensor], device: torch.device
    ) -> Uncertainty:
        """How well the ensemble tells outliers from the test data; arguments as `evaluate()`."""
        owner = f"{self._owner}.eval_uncertainty()"
        if not self._ensemble.is_classification:
            raise ValueError(f'{owner} needs loss_type="classification"')

        def unsure(loader: Loader) -> list[Tensor]:
            rows = [disagreement(predict(inputs)) for inputs, _ in batches(loader, device)]
            return [torch.cat(parts) for parts in zip(*rows, strict=True)]

        inliers = unsure(needed(data, "test", owner))
        outliers = unsure(needed(data, "outliers", owner)[1])
        areas = [auc_score(i, o) for i, o in zip(inliers, outliers, strict=True)]
        result = Uncertainty(*areas)
        summary.scalar("eval/auc_entropy", result.entropy)
        summary.scalar("eval/auc_variance", result.variance)
        if self._logs:
            logging.info("%s: %s", self._owner, result)
        return result
