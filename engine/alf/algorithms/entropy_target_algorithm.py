"""Adjusting the weight of the entropy so that the policy's entropy stays above a target."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, StepType, namedtuple
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec
from alf.utils import dist_utils, math_ops
from alf.utils.averager import ScalarWindowAverager
from alf.utils.schedulers import ConstantScheduler, Scheduler, as_scheduler

EntropyTargetLossInfo = namedtuple("EntropyTargetLossInfo", ["neg_entropy"], default_value=())
SGDEntropyTargetLossInfo = namedtuple(
    "SGDEntropyTargetLossInfo", ["neg_entropy", "entropy_loss", "alpha_loss"], default_value=()
)
EntropyTargetInfo = namedtuple("EntropyTargetInfo", ["step_type", "loss"], default_value=())

INIT_STAGE, FREE_STAGE, ADJUST_STAGE = 0, 1, 2
MIN_LOG_ALPHA = -100.0
"""Lower bound of log alpha when ``min_alpha`` is not positive."""
MAX_LOG_ALPHA = 40.0
"""Upper bound of log alpha, far from where alpha overflows."""
RATE_DECAY = 0.9
"""Factor of the update rate each time the entropy crosses its target."""
MAX_ENTROPY_FRACTION = 0.8
"""The default ``max_entropy`` is this much less random than the initial policy."""


@configurable
class EntropyTargetAlgorithm(Algorithm):
    """Keeps the entropy of a policy above ``target_entropy`` by changing its weight alpha.

    Three stages: *init*, until the averaged entropy is below ``max_entropy``; *free*, where alpha
    is left alone until that entropy falls below ``target_entropy``; *adjust*. With each loss of
    the first and the last stage

        log_alpha += ((below + above / 2) * decreasing - (above + below / 2) * increasing) * rate

    where the averaged entropy is below or above its target and decreased or increased (before the
    first loss it is taken for 0). So alpha falls while a low entropy already recovers, which keeps
    it from overshooting.

    ``rate`` is ``very_slow_update_rate`` in the init stage. In the adjust stage it shrinks from
    ``fast_update_rate`` towards ``slow_update_rate`` each time the averaged entropy crosses its
    target, and is fast again when the entropy of a loss falls far below it: to half of a positive
    target, to twice a negative one.
    """

    _log_alpha: Tensor
    _stage: Tensor
    _count: Tensor
    _avg_entropy: Tensor
    _estimated_max_entropy: Tensor
    _update_rate: Tensor

    def __init__(
        self,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        initial_alpha: float = 0.1,
        skip_free_stage: bool = False,
        max_entropy: float | None = None,
        target_entropy: float | Scheduler | None = None,
        very_slow_update_rate: float = 0.001,
        slow_update_rate: float = 0.01,
        fast_update_rate: float = np.log(2),
        min_alpha: float = 1e-4,
        average_window: int = 2,
        debug_summaries: bool = False,
        name: str = "EntropyTargetAlgorithm",
    ) -> None:
        """Start in the init stage.

        Args:
            skip_free_stage: start in the adjust stage.
            max_entropy: where the init stage ends; None takes 0.8 of the averaged entropy of the
                first ``average_window`` losses (1 / 0.8 of a negative one). Alpha stays as it is
                before that.
            target_entropy: a number or a scheduler of one; None takes the default for the size of
                the action.
            min_alpha: lower bound of alpha; exp(-100) if not positive.
            average_window: the entropy is averaged over so many losses.

        Raises:
            ValueError: the target is above ``max_entropy`` at the start.
        """
        super().__init__(debug_summaries=debug_summaries, name=name)
        if target_entropy is None:
            specs = nest.flatten(action_spec)
            target_entropy = float(sum(map(dist_utils.calc_default_target_entropy, specs)))
        self._target_entropy_schedule = as_scheduler(target_entropy)
        if max_entropy is not None and self._target_entropy > max_entropy:
            raise ValueError(
                f"{name}: target_entropy must not be above max_entropy, got "
                f"{self._target_entropy:g} and {max_entropy:g}."
            )
        self._max_entropy = max_entropy
        self._very_slow_update_rate = very_slow_update_rate
        self._slow_update_rate = slow_update_rate
        self._fast_update_rate = float(fast_update_rate)
        self._min_log_alpha = float(np.log(min_alpha)) if min_alpha > 0 else MIN_LOG_ALPHA
        self._average_window = average_window
        self._averager = ScalarWindowAverager(average_window)
        first_stage = ADJUST_STAGE if skip_free_stage else INIT_STAGE
        self.register_buffer("_log_alpha", torch.tensor(float(np.log(initial_alpha))))
        self.register_buffer("_stage", torch.tensor(first_stage, dtype=torch.int32))
        self.register_buffer("_count", torch.tensor(0, dtype=torch.int32))
        self.register_buffer("_avg_entropy", torch.tensor(0.0))
        self.register_buffer("_estimated_max_entropy", torch.tensor(0.0))
        self.register_buffer("_update_rate", torch.tensor(self._fast_update_rate))

    @property
    def _target_entropy(self) -> float:
        return self._target_entropy_schedule()

    def predict_step(self, distribution_and_step_type: tuple, state: Any) -> AlgStep:
        return AlgStep()

    def rollout_step(self, distribution_and_step_type: tuple, state: Any = None) -> AlgStep:
        if not self.on_policy:
            return AlgStep()
        return self.train_step(distribution_and_step_type)

    def train_step(
        self, distribution_and_step_type: tuple, state: Any = None, rollout_info: Any = None
    ) -> AlgStep:
        """The negative entropy [B] as loss, not yet weighted."""
        return AlgStep(info=_entropy_info(*distribution_and_step_type))

    def calc_loss(self, info: EntropyTargetInfo, valid_mask: Tensor | None = None) -> LossInfo:
        """Adjust alpha to the mean entropy of the valid steps, then weigh the loss by it.

        Args:
            valid_mask: float [T, B]; None takes the steps that are not LAST.
        """
        neg_entropy = info.loss.extra.neg_entropy
        if valid_mask is None:
            valid_mask = (info.step_type != StepType.LAST).to(neg_entropy.dtype)
        number = valid_mask.sum()
        entropy = -(neg_entropy * valid_mask).sum() / number.clamp(min=1.0)
        return info.loss._replace(loss=info.loss.loss * self._adjust(entropy, number > 0))

    def adjust_alpha(self, entropy: Tensor) -> Tensor:
        """Alpha, after its change for the mean ``entropy`` []."""
        return self._adjust(entropy, torch.ones((), dtype=torch.bool, device=entropy.device))

    @torch.no_grad()
    def _adjust(self, entropy: Tensor, is_known: Tensor) -> Tensor:
        """``adjust_alpha`` where ``is_known``; else nothing changes but for the window's place."""
        previous = self._avg_entropy.clone()
        entropy = torch.where(is_known, entropy.detach(), previous)
        now = torch.where(is_known, self._averager.average(entropy), previous)
        self._count += is_known
        max_entropy, knows_max = self._max_entropy_by(now)

        target = self._target_entropy
        below, above = now < target, now > target
        decreasing = now < previous
        was_init = (self._stage == INIT_STAGE) & knows_max & is_known
        was_adjusting = (self._stage == ADJUST_STAGE) & is_known
        # Between stages the earlier one's rate counts, but entering the last one is fast.
        leaves_init = was_init & (now < max_entropy)
        is_free = (self._stage == FREE_STAGE) | leaves_init
        begins = is_free & below & is_known
        self._stage.copy_(torch.where(leaves_init, FREE_STAGE, self._stage))
        self._stage.copy_(torch.where(begins, ADJUST_STAGE, self._stage))
        crosses = (previous < target) != (now < target)
        is_far_below = entropy < target * (0.5 if target > 0 else 2.0)
        self._adjust_rate(crosses, is_far_below, was_adjusting)

        rate = torch.where(was_adjusting | begins, self._update_rate, 0.0)
        rate = torch.where(was_init & ~begins, self._very_slow_update_rate, rate)
        up, down = below + 0.5 * above, above + 0.5 * below
        log_alpha = self._log_alpha + torch.where(decreasing, up, -down) * rate
        self._log_alpha.copy_(log_alpha.clamp(self._min_log_alpha, MAX_LOG_ALPHA))
        self._avg_entropy.copy_(now)
        self._summarize(now)
        return self._log_alpha.exp()

    def _max_entropy_by(self, now: Tensor) -> tuple[Tensor | float, Tensor]:
        """Where the init stage ends, and whether that is known yet."""
        if self._max_entropy is not None:
            return self._max_entropy, self._count > 0
        estimate = torch.minimum(now * MAX_ENTROPY_FRACTION, now / MAX_ENTROPY_FRACTION)
        self._estimated_max_entropy.copy_(
            torch.where(self._count <= self._average_window, estimate, self._estimated_max_entropy)
        )
        return self._estimated_max_entropy, self._count >= self._average_window

    def _adjust_rate(self, crosses: Tensor, is_far_below: Tensor, is_adjusting: Tensor) -> None:
        crosses = crosses & (self._count > 1)
        decayed = (self._update_rate * RATE_DECAY).clamp(min=self._slow_update_rate)
        rate = torch.where(crosses, decayed, self._update_rate)
        rate = torch.where(is_far_below, self._fast_update_rate, rate)
        self._update_rate.copy_(torch.where(is_adjusting, rate, self._update_rate))

    def _summarize(self, entropy: Tensor) -> None:
        if not (self._debug_summaries and summary.should_record_summaries()):
            return
        with summary.scope(self._name):
            summary.scalar("alpha", self._log_alpha.exp())
            summary.scalar("entropy", entropy)
            summary.scalar("update_rate", self._update_rate)
            summary.scalar("stage", self._stage)


@configurable
class NestedEntropyTargetAlgorithm(Algorithm):
    """An EntropyTargetAlgorithm for each action of a nest."""

    def __init__(
        self,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        initial_alpha: float = 0.1,
        skip_free_stage: bool = False,
        max_entropy: Any = None,
        target_entropy: Any = None,
        very_slow_update_rate: float = 0.001,
        slow_update_rate: float = 0.01,
        fast_update_rate: float = np.log(2),
        min_alpha: float = 1e-4,
        average_window: int = 2,
        debug_summaries: bool = False,
        name: str = "EntropyTargetAlgorithm",
    ) -> None:
        """As EntropyTargetAlgorithm; ``max_entropy`` and ``target_entropy`` can be nests, too."""
        super().__init__(debug_summaries=debug_summaries, name=name)
        self._action_spec = action_spec
        make = functools.partial(
            EntropyTargetAlgorithm,
            initial_alpha=initial_alpha,
            skip_free_stage=skip_free_stage,
            very_slow_update_rate=very_slow_update_rate,
            slow_update_rate=slow_update_rate,
            fast_update_rate=fast_update_rate,
            min_alpha=min_alpha,
            average_window=average_window,
            debug_summaries=debug_summaries,
        )
        specs = nest.flatten(action_spec)
        entropies = zip(
            _one_for_each(max_entropy, specs), _one_for_each(target_entropy, specs), strict=True
        )
        self._num_actions = len(specs)
        for i, (spec, (maximum, target)) in enumerate(zip(specs, entropies, strict=True)):
            algorithm = make(spec, max_entropy=maximum, target_entropy=target, name=f"{name}/{i}")
            setattr(self, f"_alg{i}", algorithm)

    def _algorithms(self) -> list[EntropyTargetAlgorithm]:
        return [getattr(self, f"_alg{i}") for i in range(self._num_actions)]

    def set_on_policy(self, is_on_policy: bool) -> None:
        super().set_on_policy(is_on_policy)
        for algorithm in self._algorithms():
            algorithm.set_on_policy(is_on_policy)

    def predict_step(self, distribution_and_step_type: tuple, state: Any = None) -> AlgStep:
        return AlgStep()

    def rollout_step(self, distribution_and_step_type: tuple, state: Any = None) -> AlgStep:
        if not self.on_policy:
            return AlgStep()
        return self.train_step(distribution_and_step_type)

    def train_step(
        self, distribution_and_step_type: tuple, state: Any = None, rollout_info: Any = None
    ) -> AlgStep:
        distributions, step_type = distribution_and_step_type
        infos = [_entropy_info(dist, step_type) for dist in nest.flatten(distributions)]
        return AlgStep(info=infos)

    def calc_loss(self, info: list, valid_mask: Tensor | None = None) -> LossInfo:
        parts = [
            algorithm.calc_loss(part, valid_mask)
            for algorithm, part in zip(self._algorithms(), info, strict=True)
        ]
        return LossInfo(
            loss=math_ops.add_n([part.loss for part in parts]),
            extra=nest.pack_sequence_as(self._action_spec, [part.extra for part in parts]),
        )


@configurable
class SGDEntropyTargetAlgorithm(Algorithm):
    """Learns alpha by gradient as SAC does, from the entropy averaged over recent losses."""

    def __init__(
        self,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        initial_alpha: float = 0.1,
        target_entropy: float | Callable | Scheduler | None = None,
        window_size: int = 1,
        optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "SGDEntropyTargetAlgorithm",
    ) -> None:
        """Start at ``initial_alpha``.

        Args:
            target_entropy: a number, a scheduler of one, or a callable on each action's spec; None
                takes the default for the size of the action.
            window_size: the entropy is averaged over so many losses.
            optimizer: must be without parameters; the algorithm uses its own copy.
        """
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(optimizer=optimizer, debug_summaries=debug_summaries, name=name)
        if target_entropy is None:
            target_entropy = dist_utils.calc_default_target_entropy
        if callable(target_entropy) and not isinstance(
            target_entropy, Scheduler | ConstantScheduler
        ):
            target_entropy = float(sum(map(target_entropy, nest.flatten(action_spec))))
        self._target_entropy_schedule = as_scheduler(target_entropy)
        self._averager = ScalarWindowAverager(window_size)
        self._log_alpha = nn.Parameter(torch.tensor(float(np.log(initial_alpha))))

    def predict_step(self, distribution_and_step_type: tuple, state: Any = None) -> AlgStep:
        return AlgStep()

    def rollout_step(self, distribution_and_step_type: tuple, state: Any = None) -> AlgStep:
        if not self.on_policy:
            return AlgStep()
        return self.train_step(distribution_and_step_type)

    def train_step(
        self, distribution_and_step_type: tuple, state: Any = None, rollout_info: Any = None
    ) -> AlgStep:
        return AlgStep(info=_entropy_info(*distribution_and_step_type))

    def calc_loss(self, info: EntropyTargetInfo) -> LossInfo:
        neg_entropy = info.loss.extra.neg_entropy
        with torch.no_grad():
            entropy = self._averager.average(-neg_entropy.mean())
        alpha = self._log_alpha.detach().clamp(max=MAX_LOG_ALPHA).exp()
        entropy_loss = info.loss.loss * alpha
        alpha_loss = self._log_alpha * (entropy - self._target_entropy_schedule())
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                summary.scalar("alpha", alpha)
                summary.scalar("entropy", entropy)
        extra = SGDEntropyTargetLossInfo(
            neg_entropy=neg_entropy, entropy_loss=entropy_loss, alpha_loss=alpha_loss
        )
        return info.loss._replace(loss=entropy_loss + alpha_loss, extra=extra)


def _entropy_info(distribution: Any, step_type: Tensor) -> EntropyTargetInfo:
    entropy, entropy_for_gradient = dist_utils.entropy_with_fallback(distribution)
    loss = LossInfo(
        loss=-entropy_for_gradient, extra=EntropyTargetLossInfo(neg_entropy=-entropy.detach())
    )
    return EntropyTargetInfo(step_type=step_type, loss=loss)


def _one_for_each(entropies: Any, specs: list) -> list:
    if isinstance(entropies, tuple | list | dict):
        return nest.flatten(entropies)
    return [entropies] * len(specs)
