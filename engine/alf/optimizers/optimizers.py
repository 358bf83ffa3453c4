"""Optimizers that are made without parameters; algorithms add the parameters later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf._allowed import AT_LEAST_0, BELOW_1, check, of_annotation
from alf.config_util import configurable
from alf.optimizers import _parvi, adam_tf, nero_plus
from alf.optimizers._capacity import Capacity
from alf.summary import summary_ops as summary
from alf.utils.schedulers import Scheduler, as_scheduler
from alf.utils.tensor_utils import clip_by_global_norm, clip_by_norms

__all__ = ["SGD", "Adam", "AdamTF", "AdamW", "NeroPlus", "wrap_optimizer"]

# torch copies and pickles only its own attributes of an optimizer.
_OWN_ATTRIBUTES = (
    "name",
    "_gradient_clipping",
    "_clip_by_global_norm",
    "_lr_scheduler",
    "_parvi",
    "_repulsive_weight",
    "_capacity",
    "_step_supports_amp_scaling",
)
# Options that a parameter may bring whatever the optimizer; all but fixed_norm are for NeroPlus.
_OF_PARAMETERS = ("fixed_norm", "max_norm", "zero_mean", "lr_scale")
# What the arguments of torch's optimizers may be: torch's errors name no owner.
_ALLOWED = {
    name: allowed
    for name, annotation, range in (
        ("lr", "float | Scheduler", AT_LEAST_0),
        ("betas", "tuple[float, float]", BELOW_1),
        ("eps", "float", AT_LEAST_0),
        ("momentum", "float", AT_LEAST_0),
        ("weight_decay", "float", AT_LEAST_0),
    )
    if (allowed := of_annotation(annotation, range)) is not None
}


_MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg")


def _check_moments(state_dict: dict, groups: list[dict]) -> None:
    ids = [i for group in state_dict["param_groups"] for i in group["params"]]
    params = [p for group in groups for p in group["params"]]
    # torch itself refuses another number of parameters
    for i, param in zip(ids, params, strict=False):
        for name in _MOMENTS:
            moment = state_dict["state"].get(i, {}).get(name)
            if moment is not None and moment.shape != param.shape:
                raise ValueError(
                    f"{name} of parameter {i} has shape {tuple(moment.shape)} in the checkpoint, "
                    f"the parameter here {tuple(param.shape)}"
                )


def wrap_optimizer(cls: type[torch.optim.Optimizer]) -> type[Any]:
    """A subclass of an optimizer that is made without parameters and can clip gradients.

    Its arguments, by name only:
        gradient_clipping: largest norm of gradients; None for no limit.
        clip_by_global_norm: the limit is for all parameters together, not for each of them.
        parvi: "svgd" or "gfsf": parameters of ensembles (such as of `alf.layers.FCBatchEnsemble`)
            are particles which repel each other; see `alf.optimizers._parvi`. None for no such.
        repulsive_weight: weight of that repulsion.
        capacity_ratio: share of each parameter's elements that are trained, may be a scheduler.
        min_capacity: at least so many elements of each parameter are trained.
        masked_out_value: what the elements are that are not trained; None: they stay as they are.
            See `alf.optimizers._capacity`.
        name: name of the optimizer.
        kwargs: arguments of `cls`; `lr` may be a scheduler.

    The first parameter group is empty. A parameter may bring options of its own for the optimizer
    in an attribute `opt_args`, e.g. `{"lr": 1e-4}`; an lr given so or with its group is constant.
    With `{"fixed_norm": True}` the Euclidean norm of all its elements stays what it is.
    """
    has_fused = "fused" in cls.__init__.__code__.co_varnames

    class Wrapped(cls):
        def __init__(
            self,
            *,
            gradient_clipping: float | None = None,
            clip_by_global_norm: bool = False,
            parvi: str | None = None,
            repulsive_weight: float = 1.0,
            capacity_ratio: float | Scheduler = 1.0,
            min_capacity: int = 8192,
            masked_out_value: float | None = None,
            name: str | None = None,
            **kwargs: Any,
        ) -> None:
            if parvi is not None and parvi not in _parvi.METHODS:
                raise ValueError(f"parvi must be None or one of {_parvi.METHODS}, got {parvi!r}")
            for word, value in kwargs.items():
                if word in _ALLOWED:
                    check(cls.__name__, word, value, _ALLOWED[word])
            self.name = name or cls.__name__
            self._gradient_clipping = gradient_clipping
            self._clip_by_global_norm = clip_by_global_norm
            self._parvi, self._repulsive_weight = parvi, repulsive_weight
            self._capacity = None
            if capacity_ratio != 1.0:
                self._capacity = Capacity(capacity_ratio, min_capacity, masked_out_value)
            self._lr_scheduler = None
            if "lr" in kwargs:
                self._lr_scheduler = as_scheduler(kwargs["lr"])
                kwargs["lr"] = float(self._lr_scheduler())
            if has_fused and kwargs.get("foreach") is None:
                kwargs.setdefault("fused", True)
            super().__init__([{"params": []}], **kwargs)
            # Gradients have to be unscaled before they are clipped, not inside the fused kernel.
            self._step_supports_amp_scaling = False

        def __getstate__(self) -> dict:
            own = {key: getattr(self, key) for key in _OWN_ATTRIBUTES}
            return {**super().__getstate__(), **own}

        def add_param_group(self, param_group: dict) -> None:
            """Add parameters; those with options of their own get groups of their own."""
            for group in _split_by_options(param_group, self.defaults):
                group.setdefault("lr_is_constant", "lr" in group)
                super().add_param_group(group)

        def load_state_dict(self, state_dict: dict) -> None:
            """Restore moments, step counts and options. A learning rate is the one set now.

            Raises:
                ValueError: the moments are those of parameters of other shapes: kernels that do not
                    look at shapes would write over foreign memory.
            """
            _check_moments(state_dict, self.param_groups)
            super().load_state_dict(state_dict)
            self._schedule_lr()

        def _schedule_lr(self) -> None:
            if self._lr_scheduler is None:
                return
            lr = float(self._lr_scheduler())
            for group in self.param_groups:
                if not group.get("lr_is_constant", False):
                    group["lr"] = lr

        def step(self, closure: Callable | None = None) -> Any:
            """Make one step with the present learning rate and clipped gradients."""
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            self._schedule_lr()
            if self._parvi is not None:
                params = (p for group in self.param_groups for p in group["params"])
                _parvi.repel(params, self._parvi, self._repulsive_weight)
            masked = None
            if self._capacity is not None:
                masked = self._capacity.mask_gradients(self.param_groups)
            if self._gradient_clipping is not None:
                self._clip_gradients()
            fixed = self._params_of_fixed_norm()
            norms = [p.detach().norm() for p in fixed]
            super().step()
            if masked is not None:
                self._capacity.restore(masked)
            with torch.no_grad():
                for p, norm in zip(fixed, norms, strict=True):
                    p.mul_(norm / p.norm().clamp_min(1e-30))
            return loss

        def _params_of_fixed_norm(self) -> list:
            if "fixed_norm" in self.defaults:  # the optimizer sees to it itself
                return []
            groups = (group for group in self.param_groups if group.get("fixed_norm"))
            return [p for group in groups for p in group["params"] if p.grad is not None]

        @torch.no_grad()
        def _clip_gradients(self) -> None:
            params = (p for group in self.param_groups for p in group["params"])
            grads = [p.grad for p in params if p.grad is not None]
            if not grads:
                return
            if not self._clip_by_global_norm:
                clip_by_norms(grads, self._gradient_clipping, in_place=True)
                return
            _, norm = clip_by_global_norm(grads, self._gradient_clipping, in_place=True)
            if summary.should_record_summaries():
                summary.scalar(f"global_grad_norm/{self.name}", norm)

    Wrapped.__name__ = Wrapped.__qualname__ = cls.__name__
    Wrapped.__doc__ = (
        f"`{cls.__module__}.{cls.__name__}`, made without parameters; see `wrap_optimizer`."
    )
    return Wrapped


def _split_by_options(param_group: dict, settings: dict) -> list[dict]:
    """Parameter groups with the parameters of one, each with one set of options.

    Raises:
        ValueError: if a parameter brings an option that no optimizer has, which would do nothing.
    """
    params = param_group["params"]
    params = [params] if isinstance(params, torch.Tensor) else list(params)
    by_options: dict[tuple, list] = {}
    for p in params:
        # A name and parameter pair is allowed too.
        options = getattr(p[1] if isinstance(p, tuple) else p, "opt_args", {})
        unknown = [name for name in options if name not in settings and name not in _OF_PARAMETERS]
        if unknown:
            allowed = sorted({*settings, *_OF_PARAMETERS})
            raise ValueError(f"opt_args has {unknown[0]!r}; allowed: {', '.join(allowed)}")
        by_options.setdefault(tuple(sorted(options.items())), []).append(p)
    groups = [
        {**param_group, **dict(options), "params": members}
        for options, members in by_options.items()
    ]
    return groups or [{**param_group, "params": []}]


Adam = configurable(wrap_optimizer(torch.optim.Adam))
AdamW = configurable(wrap_optimizer(torch.optim.AdamW))
SGD = configurable(wrap_optimizer(torch.optim.SGD))
AdamTF = configurable(wrap_optimizer(adam_tf.AdamTF))
NeroPlus = configurable(wrap_optimizer(nero_plus.NeroPlus))
