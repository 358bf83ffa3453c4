"""Optimizers of plans by sampling: random shooting and the cross-entropy method."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.data_structures import TimeStep  # importable from here as in ALF
from alf.nest import nest
from alf.utils.finite_checks import check_later

__all__ = ["CEMOptimizer", "RandomOptimizer", "TimeStep", "TrajOptimizer"]

CostFunction = Callable[[Any, Tensor], Tensor]


class TrajOptimizer(abc.ABC):
    """Finds for each row of a batch a vector of low cost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def reset(self) -> None:  # noqa: B027
        """Forget what was learnt from earlier solutions."""

    @abc.abstractmethod
    def obtain_solution(self, *args: Any, **kwargs: Any) -> Tensor:
        """A solution [B, solution_dim]."""


class _SamplingOptimizer(TrajOptimizer):
    """What both optimizers share: bounds and the cost of a population [B, K, D]."""

    def __init__(
        self,
        solution_dim: int,
        population_size: int,
        cost_func: CostFunction,
        upper_bound: Any,
        lower_bound: Any,
    ) -> None:
        super().__init__()
        low = torch.as_tensor(lower_bound, dtype=torch.get_default_dtype())
        high = torch.as_tensor(upper_bound, dtype=low.dtype)
        if not bool((low < high).all()):
            raise ValueError(f"lower_bound must be below upper_bound, got {low} and {high}")
        self._low, self._high = low.expand(solution_dim), high.expand(solution_dim)
        self._dim, self._population_size = solution_dim, population_size
        self._cost_func = cost_func

    def _costs(self, observation: Any, population: Tensor) -> Tensor:
        costs = self._cost_func(observation, population)
        if costs.shape != population.shape[:2]:
            raise ValueError(
                f"cost_func must return {list(population.shape[:2])}, got {list(costs.shape)}"
            )
        # A cost that is no number must never win.
        costs = torch.nan_to_num(costs, nan=torch.inf)
        check_later(self, "search", "the cost of all solutions", costs.detach().amin(dim=1))
        return costs


def _batch_size(observation: Any) -> int:
    return nest.flatten(observation)[0].shape[0]


@configurable
class RandomOptimizer(_SamplingOptimizer):
    """The best of ``population_size`` uniform samples (random shooting).

    Args:
        solution_dim: D.
        population_size: K.
        cost_func: maps what ``obtain_solution`` is given, a nest of tensors [B, ...], and solutions
            [B, K, D] to costs [B, K].
        upper_bound: of a solution, a number or [D].
        lower_bound: the same.
    """

    def obtain_solution(self, observation: Any) -> Tensor:  # type: ignore[override]
        """The best solution [B, D] for each row of ``observation``, a nest of tensors [B, ...]."""
        low, high = self._low, self._high
        shape = (_batch_size(observation), self._population_size, self._dim)
        population = low + (high - low) * torch.rand(shape, dtype=low.dtype, device=low.device)
        best = self._costs(observation, population).argmin(dim=1)
        return population[torch.arange(shape[0], device=best.device), best]


@configurable
class CEMOptimizer(_SamplingOptimizer):
    """The cross-entropy method: sample, fit a normal distribution to the best samples, repeat.

    Rubinstein 1999; for planning: Chua et al., arXiv:1805.12114, section 5.

    Args:
        solution_dim: D.
        population_size: K.
        cost_func: maps what ``obtain_solution`` is given, a nest of tensors [B, ...], and solutions
            [B, K, D] to costs [B, K].
        upper_bound: of a solution, a number or [D].
        lower_bound: the same.
        elite_size: number of best samples the distribution is fitted to.
        max_iter_num: number of iterations; 0 for the initial mean.
        epsilon: a row whose largest variance is below this stays as it is.
        tau: share of the new mean and variance in an update.
        min_var: lower limit of variances.
    """

    def __init__(
        self,
        solution_dim: int,
        population_size: int,
        cost_func: CostFunction,
        upper_bound: Any,
        lower_bound: Any,
        elite_size: int = 50,
        max_iter_num: int = 5,
        epsilon: float = 0.01,
        tau: float = 0.9,
        min_var: float = 1e-5,
    ) -> None:
        super().__init__(solution_dim, population_size, cost_func, upper_bound, lower_bound)
        if not 0 < elite_size <= population_size:
            raise ValueError(
                f"elite_size must be within 1..population_size={population_size}, got {elite_size}"
            )
        self._elite_size, self._max_iter_num = elite_size, max_iter_num
        self._epsilon, self._tau, self._min_var = epsilon, tau, min_var

    def obtain_solution(  # type: ignore[override]
        self, observation: Any, init_mean: Tensor | None = None, init_var: Tensor | None = None
    ) -> Tensor:
        """The mean [B, D] after the last iteration.

        Args:
            observation: nest of tensors [B, ...].
            init_mean: [B, 1, D]; None for the middle of the bounds.
            init_var: [B, 1, D]; None for the square of a quarter of their distance.
        """
        shape = (_batch_size(observation), self._dim)
        for name, given in (("init_mean", init_mean), ("init_var", init_var)):
            if given is not None and given.shape != (shape[0], 1, shape[1]):
                raise ValueError(
                    f"{name} must have the shape {[shape[0], 1, shape[1]]}, got {list(given.shape)}"
                )
        mean = (self._low + self._high) / 2 if init_mean is None else init_mean.squeeze(1)
        var = ((self._high - self._low) / 4) ** 2 if init_var is None else init_var.squeeze(1)
        mean, var = mean.expand(shape), var.expand(shape).clamp_min(self._min_var)
        for _ in range(self._max_iter_num):
            is_open = (var.amax(dim=1) > self._epsilon).unsqueeze(1)
            if not bool(is_open.any()):
                break
            new_mean, new_var = self._fit(observation, mean, var)
            mean = torch.where(is_open, torch.lerp(mean, new_mean, self._tau), mean)
            var = torch.where(is_open, torch.lerp(var, new_var, self._tau), var)
            var = var.clamp_min(self._min_var)
        return mean

    def _fit(self, observation: Any, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance [B, D] of the best of a new population."""
        shape = (mean.shape[0], self._population_size, self._dim)
        noise = torch.randn(shape, dtype=mean.dtype, device=mean.device)
        population = mean.unsqueeze(1) + var.sqrt().unsqueeze(1) * noise
        population = population.clamp(self._low, self._high)
        costs = self._costs(observation, population)
        best = costs.topk(self._elite_size, dim=1, largest=False).indices
        elite = population.gather(1, best.unsqueeze(-1).expand(-1, -1, self._dim))
        return elite.mean(dim=1), elite.var(dim=1, correction=0)
