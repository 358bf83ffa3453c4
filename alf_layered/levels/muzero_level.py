"""`MuzeroLevel`: a level that searches over its decisions with a model of its semi-MDP."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

import alf
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.data_transformer import SimpleDataTransformer
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.data_structures import TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.goals.goal import Goal
from alf_layered.hierarchy.constructors import check_constructor
from alf_layered.hierarchy.level import LevelObservation
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.levels.algorithm_level import AlgorithmLevel
from alf_layered.networks.flat_observation import flat_spec, flatten_observation

Nest = Any


class FlatLevelObservation(SimpleDataTransformer):
    """Shows what a replay buffer holds as the level's algorithm sees it: as one vector.

    Args:
        level_spec: spec of the `LevelObservation`.
    """

    def __init__(self, level_spec: Nest) -> None:
        super().__init__(flat_spec(level_spec))
        self._level_spec = level_spec

    def _transform(self, timestep: TimeStep) -> TimeStep:
        vector = flatten_observation(timestep.observation, self._level_spec)
        return timestep._replace(observation=vector)


@alf.configurable
@checked(gamma=SHARE, control_interval=AT_LEAST_1, decision_steps=AT_LEAST_1)
class MuzeroLevel(AlgorithmLevel):
    """MuZero on the level's semi-MDP: continuous decisions are sampled, discrete ones enumerated.

    Returns and bootstraps are discounted by what each decision really took. In the search, where
    this is not known, a decision is taken to last `decision_steps`; so it is for the outcome of
    whole episodes (`td_steps=-1`). If it lasts longer, the search overrates what comes later: at
    gamma 0.99 what follows a decision of 15 steps counts 0.86, not 0.99.

    Args:
        algorithm_ctor: called as `AlgorithmLevel` does, and with `discount`.
        gamma: discount factor per environment step.
        decision_steps: environment steps that a decision usually takes; None: `steps_below`.
        steps_below: the control intervals of the levels below, multiplied; a hierarchy gives it.
        goal: must be without hindsight: what was found by a search was found for its goal.
    """

    active_rows_only = True
    _discounts_search = True
    asks_for_steps_below = True

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        algorithm_ctor: Callable[..., Algorithm] = MuzeroAlgorithm,
        gamma: float = 0.99,
        decision_steps: int | None = None,
        steps_below: int = 1,
        nested_observation: bool = False,
        goal: Goal | None = None,
        random_warm_up: bool = False,
        control_interval: int | None = None,
        training: TrainingOptions | None = TrainingOptions(mini_batch_length=1),
        optimizer: torch.optim.Optimizer | None = None,
        config: Any = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "muzero",
    ) -> None:
        decision_steps = steps_below if decision_steps is None else decision_steps
        if goal is not None and goal.hindsight > 0:
            raise ValueError(
                f"level {name!r} has a goal with hindsight={goal.hindsight}, but MuZero learns "
                "what searches found for the goals that were pursued; allowed: 0"
            )
        check_constructor(algorithm_ctor, f"algorithm_ctor of level {name!r}")
        if config is not None:
            config = copy.copy(config)
            config.use_rollout_state = True  # ALF's MuZero searches again from stored states
        discount = gamma**decision_steps
        level_spec = LevelObservation(observation=observation_spec, input=input_spec)

        def make(*, config: Any, **arguments: Any) -> Algorithm:
            if config is not None and not nested_observation:
                config = copy.copy(config)
                config.data_transformer = FlatLevelObservation(level_spec)
            return algorithm_ctor(discount=discount, config=config, **arguments)

        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            algorithm_ctor=make,
            gamma=gamma,
            nested_observation=nested_observation,
            goal=goal,
            random_warm_up=random_warm_up,
            control_interval=control_interval,
            training=training,
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._discount_scale = gamma / discount

    def arrive(self, step: TimeStep) -> TimeStep:
        """The algorithm multiplies the discount by its own: the product is `gamma^k`."""
        step = super().arrive(step)
        return step._replace(discount=step.discount * self._discount_scale)
