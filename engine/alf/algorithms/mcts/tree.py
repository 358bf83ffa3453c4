"""The search trees of a batch as tensors: what their nodes and edges hold, and how they grow.

Axis letters: B trees, M nodes of a tree, K children of a node, P paths (one or more of each tree),
D depth. Nodes are numbered over all trees: node m of tree b is row ``b * M + m``. One more row at
the end takes what is written for paths that have ended, so that no write needs a mask.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from alf.nest import nest

# What an edge holds, in the order of the second axis of `Tree.edges`.
CHILD, VISITS, Q, PRIOR = range(4)
UNEXPANDED, FORBIDDEN = -1.0, -2.0


@dataclasses.dataclass
class Tree:
    """B trees; all rewards and values are those of player 0.

    Attributes:
        edges: [B * M + 1, 4, K]: the row of the child in its tree (or UNEXPANDED or FORBIDDEN), its
            visits, its reward plus discounted mean value, its prior probability. One tensor, so
            that one look-up finds all that a decision needs.
        value_sum: [B * M + 1], sum of the returns found below and at each node.
        visits: [B * M + 1], number of these returns.
        value: [B * M + 1], the model's value.
        reward: [B * M + 1], the model's reward on the way to the node.
        is_end: [B * M + 1], bool, never expanded.
        has_children: [B * M + 1], bool, all children are expanded.
        actions: nest of [B * M + 1, K, ...], if actions are sampled, else ().
        model_state: nest of [B * M + 1, ...].
        best: [B * M + 1, k], the children that the next k paths take.
        low, high: [B], bounds of the values found so far; infinite before the first.
        to_play: [B], who is to play at the root; None with one player.
    """

    edges: Tensor
    value_sum: Tensor
    visits: Tensor
    value: Tensor
    reward: Tensor
    is_end: Tensor
    has_children: Tensor
    actions: Any
    model_state: Any
    best: Tensor
    low: Tensor
    high: Tensor
    to_play: Tensor | None

    @property
    def num_trees(self) -> int:
        return self.low.shape[0]

    @property
    def num_nodes(self) -> int:
        """M."""
        return (self.edges.shape[0] - 1) // self.num_trees

    @property
    def num_children(self) -> int:
        """K."""
        return self.edges.shape[2]

    @property
    def nowhere(self) -> int:
        """The row of nothing."""
        return self.edges.shape[0] - 1

    @property
    def roots(self) -> Tensor:
        """[B], rows of the roots."""
        return torch.arange(self.num_trees, device=self.low.device) * self.num_nodes

    def write(self, rows: Tensor, output: Any, is_deepest: bool | Tensor) -> None:
        """Enter what the model says of new nodes.

        Args:
            rows: [P].
            output: ``ModelOutput`` [P, ...].
            is_deepest: whether they lie so deep that they are not to be expanded.
        """
        is_end = is_deepest
        if isinstance(output.game_over, Tensor):
            is_end = output.game_over.bool() | is_deepest
        self.value[rows] = output.value.to(self.value.dtype)
        if isinstance(output.reward, Tensor):
            self.reward[rows] = output.reward.to(self.reward.dtype)
        self.is_end[rows] = is_end
        self.edges[rows, PRIOR] = output.action_probs.to(self.edges.dtype)
        for mine, new in ((self.actions, output.actions), (self.model_state, output.state)):
            for stored, x in zip(nest.flatten(mine), nest.flatten(new), strict=True):
                stored[rows] = x.to(stored.dtype)

    def action_of(self, rows: Tensor, choice: Tensor) -> Any:
        """The actions [P, ...] that lead to the children ``choice`` [P] of nodes ``rows`` [P]."""
        if not nest.flatten(self.actions):
            return choice
        return nest.map_structure(lambda x: x[rows, choice], self.actions)


def plant(
    output: Any,
    num_nodes: int,
    num_paths: int,
    to_play: Tensor | None,
    known_value_bounds: tuple[float, float] | None,
    forbidden: Tensor | None,
) -> Tree:
    """Trees of nothing but roots.

    Args:
        output: ``ModelOutput`` [B, ...] of the roots.
        num_nodes: M.
        num_paths: k, paths at a time.
        to_play: [B], 0 or 1; None with one player.
        known_value_bounds: values that are possible; None if not known.
        forbidden: [B, K], bool, actions that cannot be taken at the root; None for none.
    """
    value = output.value
    B, K = output.action_probs.shape
    size = B * num_nodes + 1

    def room(x: Tensor) -> Tensor:
        return x.new_zeros((size, *x.shape[1:]))

    numbers = value.new_zeros((4, size))
    low, high = known_value_bounds or (torch.inf, -torch.inf)
    tree = Tree(
        edges=value.new_zeros((size, 4, K)),
        value_sum=numbers[0],
        visits=numbers[1],
        value=numbers[2],
        reward=numbers[3],
        is_end=torch.zeros(size, dtype=torch.bool, device=value.device),
        has_children=torch.zeros(size, dtype=torch.bool, device=value.device),
        actions=nest.map_structure(room, output.actions),
        model_state=nest.map_structure(room, output.state),
        best=torch.zeros((size, num_paths), dtype=torch.int64, device=value.device),
        low=torch.full_like(value, low),
        high=torch.full_like(value, high),
        to_play=to_play,
    )
    tree.edges[:, CHILD] = UNEXPANDED
    tree.edges[tree.nowhere, PRIOR] = 1 / K
    tree.is_end[tree.nowhere] = True
    # At the root the game is going on, whatever the model says, and no reward is to come for it.
    tree.write(tree.roots, output._replace(game_over=(), reward=()), is_deepest=False)
    tree.value_sum[tree.roots] = value
    tree.visits[tree.roots] = 1.0
    if forbidden is not None:
        tree.edges[tree.roots, CHILD] = torch.where(forbidden, FORBIDDEN, UNEXPANDED).to(
            value.dtype
        )
    return tree
