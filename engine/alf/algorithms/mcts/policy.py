"""How a search weighs the children of a node: scores, and the policies of Grill et al."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ExplorationPolicy = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, int]]

PUBLIC_MODULE = "alf.algorithms.mcts_algorithm"  # under which these names are public

UNEXPANDED_SCORES = ("max", "min", "mean", "mean_with_parent", "none")
_MAX_NEWTON_STEPS = 100


def calculate_exploration_policy(
    value: Tensor, prior: Tensor, c: Tensor, tol: float = 1e-6
) -> tuple[Tensor, int]:
    """The policy ``p`` that maximises ``E_p[value] - c KL(prior || p)``.

    It is ``p_i = c prior_i / (alpha - value_i)`` with the alpha for which p sums to one (Grill et
    al. 2020, "Monte-Carlo tree search as regularized policy optimization", arXiv:2007.12509).
    In units of c above the largest value alpha is the root of a convex decreasing function, which
    Newton's method approaches from the left without ever passing it.

    Args:
        value: [N, K].
        prior: [N, K], sums to one.
        c: [N, 1], positive.
        tol: the sum of p differs from one by no more.

    Returns:
        p [N, K], and the number of iterations.
    """
    # Single precision cannot tell sums apart that differ by less than 1e-7.
    q = prior.double()
    # A child without prior never gets any probability, however large its value is.
    best = value.double().masked_fill(q <= 0, -torch.inf).amax(dim=1, keepdim=True)
    u = ((value.double() - best) / c.double()).clamp(max=0.0)
    beta = (q + u).amax(dim=1, keepdim=True)  # there the largest p_i alone is one
    p = q / (beta - u)
    iteration = 0
    while iteration < _MAX_NEWTON_STEPS:
        excess = p.sum(dim=1, keepdim=True) - 1
        if bool((excess.abs() <= tol).all()):
            break
        beta = beta + excess / (p / (beta - u)).sum(dim=1, keepdim=True)
        p = q / (beta - u)
        iteration += 1
    return p.to(value.dtype), iteration


def calculate_kl_exploration_policy(value: Tensor, prior: Tensor, c: Tensor) -> tuple[Tensor, int]:
    """The policy ``p`` that maximises ``E_p[value] - c KL(p || prior)``: prior * exp(value / c).

    Args:
        value: [N, K].
        prior: [N, K], sums to one.
        c: [N, 1], positive.

    Returns:
        p [N, K], and 0 as the number of iterations.
    """
    return torch.softmax(value / c + prior.log(), dim=1), 0


def exploration_constants(counts: Tensor, pb_c_init: float, pb_c_base: float) -> Tensor:
    """``c1 + log((N + c2 + 1) / c2)`` for a parent's visits N (MuZero, appendix B, eq. 2)."""
    return pb_c_init + torch.log((counts + pb_c_base + 1) / pb_c_base)


def fill_unexpanded(
    score: Tensor, known: Tensor, unexpanded: float | str, parent_score: Tensor | None
) -> Tensor:
    """Value scores [..., K] with those of unexpanded children filled in.

    Args:
        score: [..., K], in [0, 1], of the expanded children.
        known: [..., K], bool, which children are expanded.
        unexpanded: a number, or one of ``UNEXPANDED_SCORES``.
        parent_score: [...], for "mean_with_parent".
    """
    if not isinstance(unexpanded, str):
        return score.masked_fill(~known, unexpanded)
    if unexpanded == "max":
        fill = torch.where(known, score, 0.0).amax(dim=-1, keepdim=True)
    elif unexpanded in ("min", "none"):
        fill = torch.where(known, score, 1.0).amin(dim=-1, keepdim=True)
    else:
        total = torch.where(known, score, 0.0).sum(dim=-1, keepdim=True)
        count = known.sum(dim=-1, keepdim=True)
        if unexpanded == "mean_with_parent":
            assert parent_score is not None
            total, count = total + parent_score.unsqueeze(-1), count + 1
        fill = total / count.clamp(min=1)
    return torch.where(known, score, fill)


def policy_of_known(
    policy: ExplorationPolicy, score: Tensor, prior: Tensor, c: Tensor, known: Tensor
) -> Tensor:
    """The exploration policy among the expanded children; the others keep their prior."""
    inside = torch.where(known, prior, 0.0)
    mass = inside.sum(dim=1, keepdim=True)
    some = mass > 0
    share = torch.where(some, inside / mass.clamp(min=1e-30), prior)
    p, _ = policy(torch.where(known, score, 0.0), share, c)
    return torch.where(some, torch.where(known, p * mass, prior), prior)
