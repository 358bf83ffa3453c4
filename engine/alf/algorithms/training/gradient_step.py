"""One gradient step: from a loss per sample to a step of all optimizers."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from absl import logging
from torch import Tensor, nn

from alf.data_structures import LossInfo
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils import distributed, finite_updates
from alf.utils.schedulers import as_scheduler
from alf.utils.summary_utils import record_time, summarize_per_category_loss

_SCALER = "_grad_scaler"


def update(
    alg: Any, loss_info: LossInfo, valid_masks: Tensor | None, weight: float, batch_info: Any
) -> tuple[LossInfo, list[tuple[str, nn.Parameter]]]:
    """See `Algorithm.update_with_gradient()`."""
    if summary.should_record_summaries():
        summarize_per_category_loss(loss_info)
    masks = _importance(alg, batch_info)
    if valid_masks is not None:
        masks = valid_masks if masks is None else masks * valid_masks
    if alg._gns_estimator is not None:
        loss_info = loss_info._replace(gns=_noise_scale(alg, loss_info.loss, masks))
    loss_info = mean_loss(loss_info, masks)
    params = _step(alg, _total(loss_info, weight), loss_info)
    scalar = loss_info.scalar_loss
    if isinstance(scalar, Tensor) and not isinstance(loss_info.loss, Tensor):
        loss_info = loss_info._replace(loss=torch.zeros_like(scalar))
    return loss_info, params


def mean_loss(loss_info: LossInfo, masks: Tensor | None) -> LossInfo:
    """`loss_info` with means in place of `[T, B]`; what is masked out counts as 0."""
    return loss_info._replace(
        loss=_mean(loss_info.loss, masks), extra=_means(loss_info.extra, masks)
    )


def with_scalar_loss(loss_info: LossInfo, other: LossInfo) -> LossInfo:
    """`loss_info` with all of another loss, a mean, added to its `scalar_loss`."""
    parts = (loss_info.scalar_loss, other.loss, other.scalar_loss)
    parts = [x for x in parts if isinstance(x, Tensor)]
    return loss_info._replace(scalar_loss=sum(parts[1:], parts[0])) if parts else loss_info


def _noise_scale(alg: Any, loss: Any, masks: Tensor | None) -> Any:
    """Estimate of the gradient noise scale; `()` where there is no loss per sample."""
    if not isinstance(loss, Tensor) or loss.ndim == 0:
        return ()
    if masks is not None and loss.ndim == 2:
        loss = loss * masks
    return alg._gns_estimator(loss, [p for _, p in alg._setup_optimizers().params])


def _importance(alg: Any, batch_info: Any) -> Tensor | None:
    """Weights [1, B] which undo the bias of prioritized sampling."""
    if batch_info is None or not isinstance(batch_info.importance_weights, Tensor):
        return None
    config = alg._config
    beta = as_scheduler(config.priority_replay_beta)()
    if beta == 0:
        return None
    weights = batch_info.importance_weights.pow(-beta).unsqueeze(0)
    if config.normalize_importance_weights_by_max:
        weights = weights / weights.max()
    return weights


def _mean(x: Any, masks: Tensor | None) -> Any:
    if not isinstance(x, Tensor) or x.ndim == 0:
        return x
    if masks is None or x.ndim == 1:
        return x.mean() if x.is_floating_point() else x.float().mean()
    if x.ndim != 2:
        raise ValueError(f"a loss has shape {tuple(x.shape)}; allowed: [T, B], [B] or a scalar")
    return (x * masks).mean()


@torch.no_grad()
def _means(nested: Any, masks: Tensor | None) -> Any:
    """What is only reported: without a graph, and all at once if all are alike."""
    leaves = nest.flatten(nested)
    if masks is None or not all(_is_like(x, leaves[0]) for x in leaves):
        return nest.map_structure(lambda x: _mean(x, masks), nested)
    means = (torch.stack(leaves) * masks).mean((1, 2)).unbind() if leaves else ()
    return nest.pack_sequence_as(nested, means)


def _is_like(x: Any, other: Any) -> bool:
    """Are they losses [T, B] of one kind?"""
    return (
        isinstance(x, Tensor)
        and isinstance(other, Tensor)
        and x.ndim == 2
        and (x.shape, x.dtype, x.device) == (other.shape, other.dtype, other.device)
    )


def _total(loss_info: LossInfo, weight: float) -> Tensor | None:
    parts = [x for x in (loss_info.loss, loss_info.scalar_loss) if isinstance(x, Tensor)]
    for part in parts:
        if part.ndim != 0:
            raise ValueError(
                f"scalar_loss has shape {tuple(part.shape)}; allowed: a scalar, as a loss [T, B] "
                "belongs into `loss`"
            )
    if not parts:
        return None
    total = sum(parts[1:], parts[0])
    return total if weight == 1 else weight * total


def _step(alg: Any, loss: Tensor | None, loss_info: LossInfo) -> list[tuple[str, nn.Parameter]]:
    assignment = alg._setup_optimizers()
    if assignment.unhandled:
        names = ", ".join(name for name, _ in assignment.unhandled)
        raise ValueError(
            f"these parameters of {alg.name!r} have no optimizer: {names}. Give the algorithm an "
            "optimizer, use add_optimizer(), or name the attribute in "
            "_trainable_attributes_to_ignore()"
        )
    if loss is None or not assignment.optimizers:
        return assignment.params
    # what Optimizer.zero_grad() does, without its hooks for profilers
    for optimizer in assignment.optimizers:
        for group in optimizer.param_groups:
            for param in group["params"]:
                param.grad = None
    with record_time("time/backward"):
        scaler = _scaler(alg)
        (loss if scaler is None else scaler.scale(loss)).backward()
        if distributed.is_shared(alg):
            distributed.average_gradients(p for _, p in assignment.params)
    _warn_about_missing_gradients(alg, assignment)
    # With mixed precision a scale that is too large shows so, and the scaler lowers it.
    gradients = None if scaler is not None else _gradients(assignment)
    if not finite_updates.watch_of(alg).may_step(alg, loss, gradients, loss_info):
        return assignment.params
    for optimizer in assignment.optimizers:
        if scaler is None:
            optimizer.step()
        elif any(p.grad is not None for g in optimizer.param_groups for p in g["params"]):
            # The optimizers clip gradients, so they need the true ones.
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
    if scaler is not None:
        scaler.update()
    return assignment.params


def _gradients(assignment: Any) -> list[Tensor]:
    return [p.grad for _, p in assignment.params if p.grad is not None]


def _warn_about_missing_gradients(alg: Any, assignment: Any) -> None:
    """Once, after the first step with these modules."""
    if assignment.gradients_checked:
        return
    assignment.gradients_checked = True
    names = [name for name, p in assignment.params if p.grad is None]
    if names:
        logging.warning("%s: no gradient for parameters %s", alg.name, ", ".join(names))


def autocast(alg: Any) -> contextlib.AbstractContextManager:
    """Context of automatic mixed precision, if `config.enable_amp` and there is CUDA."""
    if alg._config is not None and alg._config.enable_amp and torch.cuda.is_available():
        return torch.amp.autocast("cuda")
    return contextlib.nullcontext()


def _scaler(alg: Any) -> Any:
    """Scales the loss so that half precision gradients do not vanish; None without AMP."""
    if alg._config is None or not alg._config.enable_amp or not torch.cuda.is_available():
        return None
    return alg.__dict__.setdefault(_SCALER, torch.amp.GradScaler("cuda"))


class LossScales:
    """The scales of losses that algorithms have found, as something a Checkpointer can save.

    Args:
        root: the algorithm of which they and those below it are parts.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root

    def state_dict(self) -> dict[str, Any]:
        modules = self._root.named_modules()
        return {
            path: m.__dict__[_SCALER].state_dict() for path, m in modules if _SCALER in m.__dict__
        }

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        modules = dict(self._root.named_modules())
        for path, state in state_dict.items():
            scaler = _scaler(modules[path])
            if scaler is not None and state:
                scaler.load_state_dict(state)
