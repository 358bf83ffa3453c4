"""What the plans of a planning level are for: the return that a predictor expects of them.

Axis letters: B environments, K plans, H horizon, A action, N members, P particles, S state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from alf_layered.allowed import check_fields
from alf_layered.predictors.plan_score import plan_return
from alf_layered.predictors.predictor import Predictor, Prospect


class Outlook(NamedTuple):
    """Plans and what they are expected to lead to.

    Fields:
        plans: `[B, K, H, A]` or indices `[B, K, H]`.
        prospect: of the plans.
        context: `[B, C]`.
        predictor: that expects it.
    """

    plans: torch.Tensor
    prospect: Prospect
    context: torch.Tensor
    predictor: Predictor


AuxiliaryReward = Callable[[Outlook], torch.Tensor]
"""Of an outlook: a reward for each decision, of a shape that broadcasts to `[H, N, B, K, P]`."""


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

    def __call__(self, outlook: Outlook) -> torch.Tensor:
        """`[H, 1, B, K, 1]`."""
        state = outlook.prospect.imagined.state[1:]
        if state.shape[1] < 2:
            raise ValueError(
                "the disagreement of an ensemble with 1 member is 0 everywhere; n_models must be "
                "at least 2 to explore by it"
            )
        mean = state.mean(4, keepdim=True)
        if self.standardized:  # the variance of changes is that of states: they start from one
            mean = outlook.predictor.standardize_change(mean)
        return mean.var(1, unbiased=False, keepdim=True).mean(-1)


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

    def outlook(
        self,
        predictor: Predictor,
        state: torch.Tensor,
        context: torch.Tensor,
        plans: torch.Tensor,
    ) -> Outlook:
        """Rolls the plans out from `state` `[B, S]` in `context` `[B, C]`."""
        return self.outlook_from(predictor, state, context)(plans)

    def outlook_from(
        self, predictor: Predictor, state: torch.Tensor, context: torch.Tensor
    ) -> Callable[[torch.Tensor], Outlook]:
        """`outlook` as a function of the plans, for a search; see `Model.imagine_from`."""
        expect = predictor.prospect_from(
            state, context, deterministic=self.deterministic, terminations=self.use_term_prob
        )

        @torch.no_grad()
        def outlook(plans: torch.Tensor) -> Outlook:
            prospect = expect(plans)
            if not self.discounted:
                prospect = prospect._replace(discount=_alive(prospect))
            return Outlook(plans, prospect, context, predictor)

        return outlook

    @torch.no_grad()
    def score(self, outlook: Outlook, curious: torch.Tensor | None = None) -> torch.Tensor:
        """`[B, K]`.

        Args:
            outlook: of the plans.
            curious: `[B]`, bool, whose plans are for `curiosity`; None: nobody's.
        """
        prospect = outlook.prospect
        reward = prospect.reward
        for weight, auxiliary in self.aux_rewards:
            reward = reward + weight * auxiliary(outlook)
        score = plan_return(prospect._replace(reward=reward), self._tail(outlook))
        if curious is None:
            return score
        surprise = self.curiosity(outlook).expand_as(prospect.reward)
        return torch.where(curious[:, None], plan_return(prospect._replace(reward=surprise)), score)

    def _tail(self, outlook: Outlook) -> torch.Tensor | None:
        predictor = outlook.predictor
        if not self.use_value_func or predictor.val_func is None:
            return None
        last = outlook.prospect.imagined.state[-1]
        return predictor.state_value(last, outlook.context[None, :, None, None])


def _alive(prospect: Prospect) -> torch.Tensor:
    """`[H, N, B, K, P]`, the probability that nothing terminated in each decision."""
    ends = prospect.imagined.term_prob
    return torch.ones_like(prospect.reward) if ends is None else 1 - ends
