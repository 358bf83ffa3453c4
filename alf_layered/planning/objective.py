"""What the plans of a planning level are for: the return that a predictor expects of them.

Axis letters: B environments, K plans, H horizon, A action, N members, P particles, S state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from alf_layered.allowed import check_fields
from alf_layered.models.rollout import Roller, at_the_end
from alf_layered.predictors.plan_score import plan_return
from alf_layered.predictors.predictor import PredictedRollout, Predictor

AuxiliaryReward = Callable[[PredictedRollout], torch.Tensor]
"""A reward for each decision of predicted rollouts, of a shape that broadcasts to
`[B, K, N, P, H]`."""


@dataclass(frozen=True)
class Disagreement:
    """How much the members' expectations of the next state differ: their variance, mean over S.

    Attributes:
        standardized: whether states are measured in units of their changes, as
            `Predictor.standardize_change` has them, so that no dimension drowns the others.
    """

    standardized: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, rollout: PredictedRollout) -> torch.Tensor:
        """`[B, K, 1, 1, H]`."""
        state = rollout.trajectories.state[..., 1:, :]
        if state.shape[2] < 2:
            raise ValueError(
                "the disagreement of an ensemble with 1 member is 0 everywhere; n_models must be "
                "at least 2 to explore by it"
            )
        mean = state.mean(3, keepdim=True)
        if self.standardized:  # the variance of changes is that of states: they start from one
            mean = rollout.predictor.standardize_change(mean)
        return mean.var(2, unbiased=False, keepdim=True).mean(-1)


@dataclass(frozen=True, kw_only=True)
class PlanObjective:
    """The discounted return of a plan, mean over members and particles.

    `sum_t w_t (r_t + sum_i c_i x_i) + w_H V(s_H)`: r the predicted reward, x auxiliary rewards, w
    the product of the discounts gamma^k of the decisions before and of the probabilities that
    nothing terminated in them.

    Attributes:
        use_value_func: whether the value of the last state counts, if there is a value.
        use_term_prob: whether plans may end early.
        deterministic: one particle that follows the mean, instead of drawn ones.
        discounted: whether later rewards count less; otherwise all discounts are 1 (as LayeredRL
            has it).
        aux_rewards: pairs of a weight and a function.
        curiosity: the reward of curious plans, in place of all others and of the value.
    """

    use_value_func: bool = True
    use_term_prob: bool = True
    deterministic: bool = True
    discounted: bool = True
    aux_rewards: tuple[tuple[float, AuxiliaryReward], ...] = ()
    curiosity: AuxiliaryReward = field(default_factory=Disagreement)

    def __post_init__(self) -> None:
        check_fields(self)

    def roller(self, predictor: Predictor) -> Roller:
        """The rollouts that the objective asks for, with the model's parameters as they are."""
        return predictor.model.roller(
            deterministic=self.deterministic, terminations=self.use_term_prob
        )

    @torch.no_grad()
    def rollout(
        self,
        predictor: Predictor,
        state: torch.Tensor,
        context: torch.Tensor,
        plans: torch.Tensor,
        *,
        roller: Roller | None = None,
    ) -> PredictedRollout:
        """Rolls the plans out.

        Args:
            predictor: that says what they lead to.
            state: `[B, S]`, from where.
            context: `[B, C]`.
            plans: `[B, K, H, A]` or indices `[B, K, H]`.
            roller: of this objective, for a search that asks often; None: a new one.
        """
        roller = self.roller(predictor) if roller is None else roller
        found = predictor.rollout_plans(state, context, plans, roller=roller)
        return found if self.discounted else found._replace(discount=_alive(found))

    @torch.no_grad()
    def score(self, rollout: PredictedRollout, curious: torch.Tensor | None = None) -> torch.Tensor:
        """`[B, K]`.

        Args:
            rollout: of the plans.
            curious: `[B]`, bool, whose plans are for `curiosity`; None: nobody's.
        """
        reward = rollout.reward
        for weight, auxiliary in self.aux_rewards:
            reward = reward + weight * _checked(auxiliary(rollout), rollout, auxiliary)
        score = plan_return(rollout._replace(reward=reward), self._tail(rollout))
        if curious is None:
            return score
        surprise = _checked(self.curiosity(rollout), rollout, self.curiosity)
        surprise = surprise.expand_as(rollout.reward)
        surprised = plan_return(rollout._replace(reward=surprise))
        return torch.where(curious[:, None], surprised, score)

    def _tail(self, rollout: PredictedRollout) -> torch.Tensor | None:
        predictor = rollout.predictor
        if not self.use_value_func or predictor.val_func is None:
            return None
        return at_the_end(predictor.state_value, rollout.trajectories, rollout.context)


def _alive(rollout: PredictedRollout) -> torch.Tensor:
    """`[B, K, N, P, H]`, the probability that nothing terminated in each decision."""
    ends = rollout.trajectories.term_prob
    return torch.ones_like(rollout.reward) if ends is None else 1 - ends


def _checked(reward: torch.Tensor, rollout: PredictedRollout, owner: Any) -> torch.Tensor:
    """An auxiliary reward, if it is one for each decision.

    Raises:
        ValueError: its shape does not broadcast to that of the rewards.
    """
    wanted, found = tuple(rollout.reward.shape), tuple(reward.shape)
    fits = len(found) <= 5 and all(
        a in (1, b) for a, b in zip(found[::-1], wanted[::-1], strict=False)
    )
    if not fits:
        name = getattr(owner, "__name__", type(owner).__name__)
        raise ValueError(
            f"the auxiliary reward {name} has the shape {list(found)}; it must broadcast to "
            f"[B, K, N, P, H] = {list(wanted)} (rows, plans, members, particles, decisions)"
        )
    return reward
