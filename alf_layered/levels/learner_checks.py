"""Which algorithms learn as a level, in which way, and with which discount factor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.bc_algorithm import BcAlgorithm
from alf.algorithms.causal_bc_algorithm import CausalBcAlgorithm
from alf.algorithms.dynamic_action_repeat_agent import DynamicActionRepeatAgent
from alf.algorithms.mcts_algorithm import MCTSAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationLearner
from alf.algorithms.ppg_algorithm import PPGAlgorithm
from alf.algorithms.taac_algorithm import TaacAlgorithmBase, TAACTDLoss
from alf.algorithms.td_loss import TDLoss
from alf.algorithms.trac_algorithm import TracAlgorithm
from alf_layered.goals.goal import Goal
from alf_layered.hierarchy.on_policy import OnPolicyOptions
from alf_layered.hierarchy.training import TrainingOptions

_NO_LEVELS = {
    DynamicActionRepeatAgent: (
        "keeps clocks and records of decisions of its own; a hierarchy does the same: a level with "
        "a control_interval, below one that decides less often"
    ),
    MuzeroRepresentationLearner: (
        "learns from whole unrolls, which a level does not have, and would stay as it began; a "
        "level can have MuZero itself (MuzeroLevel), or an EncodingAlgorithm in its Agent"
    ),
}

# What a level does for its algorithm: an override of these would be ignored in silence. Those of
# the packages themselves belong to runs without levels.
_DONE_BY_LEVELS = (
    "observe_for_replay",
    "train_from_replay_buffer",
    "train_from_unroll",
    "train_iter",
    "transform_experience",
    "transform_timestep",
    "unroll",
    "update_with_gradient",
)
_KNOWN_PACKAGES = ("alf", "alf_layered")


def check_is_for_levels(algorithm: Algorithm, *, level: str) -> None:
    """Refuses what would not work, not learn, or not be called, on the records of a level.

    Raises:
        ValueError: the algorithm is, or has as a part, one of those, or it overrides what only the
            level's own counterpart does.
    """
    for hook in _DONE_BY_LEVELS:
        owner = next(c for c in type(algorithm).__mro__ if hook in vars(c) or c is object)
        if owner is not object and owner.__module__.partition(".")[0] not in _KNOWN_PACKAGES:
            raise ValueError(
                f"level {level!r}: {owner.__name__}.{hook}() would never be called, as the level "
                "does that itself; allowed overrides: rollout_step, predict_step, train_step, "
                "preprocess_experience, calc_loss, after_update, after_train_iter"
            )
    for module in algorithm.modules():
        for kind, why in _NO_LEVELS.items():
            if isinstance(module, kind):
                raise ValueError(f"level {level!r}: {kind.__name__} {why}")


def check_random_warm_up(algorithm: Algorithm, *, level: str) -> None:
    """Refuses an algorithm that must know what it did itself, as its next decision follows from it.

    Raises:
        ValueError: the algorithm is, or has as a part, a TAAC.
    """
    if any(isinstance(module, TaacAlgorithmBase) for module in algorithm.modules()):
        raise ValueError(
            f"level {level!r} has random_warm_up=True; {type(algorithm).__name__} acts at random "
            "by itself until its first update, and remembers it: leave random_warm_up=False"
        )


def check_learns_from_others(algorithm: Algorithm, *, level: str) -> None:
    """Refuses an algorithm that learns from more than what was done, which only itself can know.

    Raises:
        ValueError: the algorithm is, or has as a part, one of those.
    """
    for kind, what in {TaacAlgorithmBase: "its trajectory", MCTSAlgorithm: "its search"}.items():
        if any(isinstance(module, kind) for module in algorithm.modules()):
            raise ValueError(
                f"level {level!r}: {type(algorithm).__name__} learns from {what} at each decision, "
                "which data of other runs do not have; allowed in TrainerConfig.offline_buffer_dir:"
                " a run with this level; or TrainingOptions(offline_updates=0, offline_share=0)"
            )


def has_offline_step(algorithm: Algorithm) -> bool:
    """Whether the algorithm has a way of its own to learn from offline data, as cloning has."""
    return type(algorithm).train_step_offline is not Algorithm.train_step_offline


def is_clone(algorithm: Algorithm) -> bool:
    """Whether the algorithm learns from offline data alone, and so never explores."""
    return isinstance(algorithm, (BcAlgorithm, CausalBcAlgorithm))


def agreed_gamma(
    gamma: float | None, algorithm: Algorithm, *, level: str, has_own_search: bool = False
) -> float:
    """The discount factor that the level's clock and the algorithm's losses and search share.

    Args:
        gamma: the level's; None: the algorithm's.
        has_own_search: whether the level knows how its search discounts, which then may differ.

    Raises:
        ValueError: there is more than one.
    """
    modules = [m for m in _parts(algorithm) if not (has_own_search and _is_search(m))]
    found = {factor for module in modules for factor in _gammas(module)}
    if gamma is not None:
        found.add(gamma)
    if len(found) > 1:
        raise ValueError(
            f"level {level!r} has more than one discount factor: gamma={gamma}, and its algorithm "
            f"uses {sorted(found - {gamma})}; they must be the same"
            + (", or those of a MuzeroLevel" if any(map(_is_search, modules)) else "")
        )
    return found.pop() if found else 0.99


def _parts(algorithm: Algorithm) -> Iterator[nn.Module]:
    """All modules of an algorithm, those in plain lists too: ALF's SAC keeps its losses so."""
    for module in algorithm.modules():
        yield module
        for value in vars(module).values():
            if isinstance(value, (list, tuple)):
                yield from (m for m in value if isinstance(m, nn.Module))


def _is_search(module: Any) -> bool:
    return isinstance(module, MCTSAlgorithm)


def _gammas(module: Any) -> list[float]:
    if isinstance(module, MCTSAlgorithm):
        return [float(module.discount)]
    if getattr(module, "tells_gamma", False):
        return [float(module.gamma)]
    if not isinstance(module, (TDLoss, TAACTDLoss, ActorCriticLoss)):
        return []
    # Losses keep single precision: 0.98 comes back as 0.980000019
    return [round(g, 7) for g in torch.as_tensor(module.gamma).flatten().tolist()]


def is_on_policy(algorithm: Algorithm) -> bool:
    """Whether the algorithm, or a part of it, knows only what its present policy did."""
    learners = [m for m in algorithm.modules() if isinstance(m, Algorithm)]
    kinds = (ActorCriticAlgorithm, PPGAlgorithm)
    return any(isinstance(m, kinds) or m.on_policy for m in learners)


def _has_ppg(algorithm: Algorithm) -> bool:
    return any(isinstance(m, PPGAlgorithm) for m in algorithm.modules())


def check_learns_from_replay(algorithm: Algorithm, *, level: str, why: str) -> None:
    """Refuses an algorithm that is on-policy, for levels that cannot learn in rounds.

    Args:
        algorithm: that should learn.
        level: its name.
        why: what on-policy algorithms would not see.

    Raises:
        ValueError: it is on-policy.
    """
    if is_on_policy(algorithm):
        raise ValueError(
            f"level {level!r} cannot learn by {type(algorithm).__name__}: {why}; give it a "
            "learner that replays, such as SacAlgorithm"
        )


def check_training(
    training: TrainingOptions | None, algorithm: Algorithm, goal: Goal | None, *, level: str
) -> None:
    """On-policy learners need `OnPolicyOptions`; all others `TrainingOptions`.

    Raises:
        ValueError: the algorithm cannot learn as `training` says.
    """
    if training is None:
        return
    kind = type(algorithm).__name__
    if is_clone(algorithm) and training.updates_per_transition > 0:
        raise ValueError(
            f"level {level!r}: {kind} learns from TrainerConfig.offline_buffer_dir alone; its "
            f"updates_per_transition is {training.updates_per_transition}, allowed: 0"
        )
    if is_on_policy(algorithm) != isinstance(training, OnPolicyOptions):
        raise ValueError(
            f"level {level!r} trains {kind} with {type(training).__name__}; PPO, PPG, TRAC and "
            "actor-critic need OnPolicyOptions, all others TrainingOptions"
        )
    if not isinstance(training, OnPolicyOptions):
        return
    if algorithm.on_policy and not isinstance(algorithm, (ActorCriticAlgorithm, TracAlgorithm)):
        raise ValueError(
            f"level {level!r}: {kind} needs the gradients of its rollouts, which a level cannot "
            "give; on-policy levels are ActorCriticAlgorithm, PPOAlgorithm and TracAlgorithm"
        )
    if algorithm.on_policy and (training.mini_batch_size != 0 or training.epochs != 1):
        raise ValueError(
            f"level {level!r}: {kind} makes one update with all records, so OnPolicyOptions need "
            f"epochs=1 and mini_batch_size=0, got epochs={training.epochs} and "
            f"mini_batch_size={training.mini_batch_size}"
        )
    if _has_ppg(algorithm) and training.mini_batch_size != 0:
        raise ValueError(
            f"level {level!r}: {kind} computes advantages in its loss, so OnPolicyOptions need "
            f"mini_batch_size=0, got {training.mini_batch_size}"
        )
    if _has_ppg(algorithm) and not isinstance(algorithm, PPGAlgorithm):
        raise ValueError(
            f"level {level!r}: {kind} has PPGAlgorithm as a part, whose auxiliary phase needs the "
            "level's own decisions; allowed: PPGAlgorithm itself"
        )
    if alf.nest.flatten(algorithm.train_state_spec):
        raise ValueError(f"level {level!r}: on-policy levels have networks without state only")
    if goal is not None and goal.hindsight > 0:
        raise ValueError(
            f"level {level!r}: hindsight={goal.hindsight} shows goals that the policy did not act "
            f"for, {kind} learns from those it did; use Goal(hindsight=0)"
        )
