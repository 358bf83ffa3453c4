"""How trees are searched, in one record."""

from __future__ import annotations

import dataclasses

from alf.algorithms.mcts.policy import ExplorationPolicy, calculate_exploration_policy


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How trees are searched; see `MCTSAlgorithm` for the meaning of each.

    ``policy`` is the exploration policy, ``by_policy`` whether it is searched with.
    """

    num_simulations: int
    discount: float
    pb_c_init: float
    pb_c_base: float
    known_value_bounds: tuple[float, float] | None = None
    value_min_max_delta: float = 1e-30
    ucb_break_tie_eps: float = 0.0
    ucb_parent_visit_count_minus_one: bool = False
    unexpanded_value_score: float | str = 0.5
    policy: ExplorationPolicy = calculate_exploration_policy
    by_policy: bool = False
    expand_all_children: bool = False
    expand_all_root_children: bool = False
    max_unroll_length: int = 1_000_000
    num_parallel_sims: int = 1

    def __post_init__(self) -> None:
        sims, parallel = self.num_simulations, self.num_parallel_sims
        bounds = self.known_value_bounds
        if sims < 1 or parallel < 1 or sims % parallel != 0:
            raise ValueError(
                f"num_simulations={sims} has to be a positive multiple of "
                f"num_parallel_sims={parallel}, which has to be positive"
            )
        if self.expand_all_children and parallel > 1:
            raise ValueError(
                f"num_parallel_sims is {parallel}; allowed: 1 with expand_all_children=True"
            )
        if self.max_unroll_length < 1:
            raise ValueError(
                f"max_unroll_length is {self.max_unroll_length}, it must be at least 1"
            )
        if bounds is not None and bounds[0] > bounds[1]:
            raise ValueError(f"known_value_bounds={bounds} must be (min, max)")

    def num_nodes(self, num_children: int) -> int:
        """The nodes of a tree, those that are reserved but not used included."""
        if self.expand_all_children:
            return 1 + (1 + self.num_simulations) * num_children
        return 1 + self.num_simulations + num_children * self.expand_all_root_children
