"""Monte-Carlo tree search for a batch: all trees advance together, one simulation at a time.

A simulation goes down from the roots to leaves, lets the model look one step beyond, and hands the
values up again (Schrittwieser et al. 2020, "Mastering Atari, Go, chess and shogi by planning with a
learned model", appendix B). Python loops over simulations, and over depth as long as some path
goes on. Axis letters as in `_mcts_tree`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from alf.algorithms import _mcts_policy as policies
from alf.algorithms._mcts_settings import SearchSettings
from alf.algorithms._mcts_tree import CHILD, FORBIDDEN, PRIOR, VISITS, Q, Tree, plant
from alf.nest import nest


class Paths(NamedTuple):
    """Paths from the roots down, k in each tree.

    Attributes:
        nodes: [B, k, D + 1], the roots first, nowhere after the end.
        choices: [B, k, D], which children were chosen.
        length: [B, k], number of edges.
    """

    nodes: Tensor
    choices: Tensor
    length: Tensor

    @property
    def leaf(self) -> Tensor:
        """[B, k], the last nodes."""
        return self.nodes.gather(-1, self.length.unsqueeze(-1)).squeeze(-1)


class Search:
    """A search in progress.

    Args:
        model: has ``recurrent_inference(state, action)``.
        output: ``ModelOutput`` [B, ...] of the roots.
        settings: how to search.
        to_play: [B], 0 or 1, who is to play at the root; None with one player.
        forbidden: [B, K], bool, actions that cannot be taken at the root; None for none.
    """

    def __init__(
        self,
        model: Any,
        output: Any,
        settings: SearchSettings,
        to_play: Tensor | None = None,
        forbidden: Tensor | None = None,
    ) -> None:
        K = output.action_probs.shape[1]
        # Sums of hundreds of values and numbers of nodes need more than half precision, even where
        # the model makes do with it.
        dtype = torch.promote_types(output.value.dtype, torch.float32)
        output = output._replace(
            value=output.value.to(dtype), action_probs=output.action_probs.to(dtype)
        )
        self._model = model
        self._settings = settings
        self._has_forbidden = forbidden is not None
        self.tree = plant(
            output, settings.num_nodes(K), to_play, settings.known_value_bounds, forbidden
        )
        self._note(output.value.unsqueeze(1))
        device = output.value.device
        self._roots = self.tree.roots
        self._next = 1  # the first row of each tree that is not used yet
        counts = torch.arange(settings.num_simulations * K + K + 2, device=device, dtype=dtype)
        constants = policies.exploration_constants(counts, settings.pb_c_init, settings.pb_c_base)
        below = counts - 1 if settings.ucb_parent_visit_count_minus_one else counts
        # By the visits of a parent: the factor of prior / (1 + visits), and the weight of the
        # divergence (Grill et al., eq. 8).
        self._ucb_factor = constants * below.clamp(min=0).sqrt()
        self._policy_weight = constants * counts.sqrt() / (K + counts)

    def run(self) -> Tree:
        """The trees after all simulations."""
        s = self._settings
        if s.expand_all_children or s.expand_all_root_children:
            roots = self._roots.reshape(-1, 1, 1)
            paths = Paths(roots, roots[..., :0], torch.zeros_like(roots[..., 0]))
            self._expand_all(paths, paths.length == 0)
        for _ in range(s.num_simulations // s.num_parallel_sims):
            self._simulate()
        return self.tree

    def _simulate(self) -> None:
        paths = self._go_down()
        if self._settings.expand_all_children:
            leaf = paths.leaf
            again = (leaf.unsqueeze(2) == leaf.unsqueeze(1)).tril(-1).any(dim=2)
            self._expand_all(paths, ~again & ~self.tree.is_end[leaf])
        else:
            self._expand_leaves(paths)

    def _rows(self, k: int) -> Tensor:
        """[B, k], the next rows that are not used yet, one for each path."""
        next_rows = torch.arange(self._next, self._next + k, device=self._roots.device)
        return self._roots.unsqueeze(1) + next_rows

    # ---- down -----------------------------------------------------------------------------------

    def _go_down(self) -> Paths:
        """The paths of one simulation."""
        ways = [self._descend(self._next + j) for j in range(self._settings.num_parallel_sims)]
        if len(ways) == 1:
            nodes, choices = (torch.stack(x, dim=-1).unsqueeze(1) for x in ways[0])
        else:
            depth = max(len(choices) for _, choices in ways)
            for nodes, choices in ways:
                missing = depth - len(choices)
                nodes += [torch.full_like(self._roots, self.tree.nowhere)] * missing
                choices += [torch.zeros_like(self._roots)] * missing
            nodes, choices = (
                torch.stack([torch.stack(way[i], dim=-1) for way in ways], dim=1) for i in (0, 1)
            )
        return Paths(nodes, choices, (nodes[..., 1:] != self.tree.nowhere).sum(dim=-1))

    def _descend(self, slot: int) -> tuple[list[Tensor], list[Tensor]]:
        """One path down each tree.

        Visits are counted on the way, so that the next of parallel paths sees this one: where both
        come to the same node it goes on to the next best child. If that is not expanded yet, and
        the same one, both end there.

        Args:
            slot: the row in each tree for a new node.

        Returns:
            Nodes [B] at each depth, the root first; and the children [B] chosen between them.
            A path that has ended goes on nowhere.
        """
        tree, K = self.tree, self.tree.num_children
        flat_edges = tree.edges.view(-1)
        node = self._roots
        going = torch.ones_like(node, dtype=torch.bool)
        nodes, choices = [node], []
        while True:
            edges = tree.edges.index_select(0, node)
            choice = self._choose(node, edges, len(choices))
            child = edges[:, CHILD].gather(1, choice.unsqueeze(1)).squeeze(1)
            is_new = child < 0
            child = child.masked_fill(is_new, slot)
            at = node * (4 * K) + choice
            flat_edges.index_copy_(0, at, child)
            child = child.long()
            flat_edges.index_add_(0, at + VISITS * K, going.to(flat_edges.dtype))
            node = (self._roots + child).masked_fill(~going, tree.nowhere)
            nodes.append(node)
            choices.append(choice)
            going = going & ~self._stops(node, child, is_new)
            # A loop over depth as long as any path goes on; this is the only look at a tensor.
            if not bool(going.any()):
                return nodes, choices
            node = node.masked_fill(~going, tree.nowhere)

    def _stops(self, node: Tensor, child: Tensor, is_new: Tensor) -> Tensor:
        """[B], whether a path ends at ``node``."""
        is_end = self.tree.is_end[node]
        if self._settings.expand_all_children:
            return is_end | ~self.tree.has_children[node]
        if self._settings.num_parallel_sims > 1:
            return is_end | (child >= self._next)
        return is_end | is_new

    def _choose(self, node: Tensor, edges: Tensor, depth: int) -> Tensor:
        """The child [B] to go to from ``node`` [B], whose edges are [B, 4, K]."""
        s = self._settings
        visits, prior = edges[:, VISITS], edges[:, PRIOR]
        score, known = self._value_scores(node, edges, depth)
        count = visits.sum(dim=1).long() + 1
        if s.by_policy:
            weight = self._policy_weight.index_select(0, count).unsqueeze(1)
            p = self._policy(score, prior, weight, known)
            return torch.multinomial(p, 1).squeeze(1)
        factor = self._ucb_factor.index_select(0, count).unsqueeze(1)
        ucb = torch.addcdiv(score, prior * factor, 1 + visits)
        if s.ucb_break_tie_eps > 0:
            ucb = ucb + s.ucb_break_tie_eps * torch.rand_like(ucb)
        if self._has_forbidden:
            ucb = ucb.masked_fill(edges[:, CHILD] == FORBIDDEN, -torch.inf)
        return ucb.argmax(dim=1)

    def _policy(self, score: Tensor, prior: Tensor, weight: Tensor, known: Tensor) -> Tensor:
        if self._settings.unexpanded_value_score == "none":
            return policies.policy_of_known(self._settings.policy, score, prior, weight, known)
        return self._settings.policy(score, prior, weight)[0]

    def _value_scores(self, node: Tensor, edges: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Values [B, K] of the children on a scale from 0 to 1, for the player whose turn it is.

        Also which of them are expanded, bool [B, K].
        """
        s, tree = self._settings, self.tree
        child = edges[:, CHILD]
        known = child >= 0
        if s.num_parallel_sims > 1:
            known = known & (child < self._next)
        bottom, scale = self._scale(depth)
        score = (edges[:, Q] - bottom) * scale
        parent = None
        if s.unexpanded_value_score == "mean_with_parent":
            mean = tree.value_sum[node] / tree.visits[node].clamp(min=1)
            parent = ((mean.unsqueeze(1) - bottom) * scale).squeeze(1).clamp(0, 1)
        return policies.fill_unexpanded(score, known, s.unexpanded_value_score, parent), known

    def _scale(self, depth: int) -> tuple[Tensor, Tensor]:
        """What is worth nothing [B, 1] to who plays at this depth, and the scale [B, 1] to [0, 1].

        To player 1 everything is worth as much less as it is worth more to player 0.
        """
        tree = self.tree
        scale, bottom = self._scale_now, tree.low
        if tree.to_play is not None:
            is_second = (tree.to_play + depth) % 2 == 1
            bottom = torch.where(is_second, tree.high, bottom)
            scale = torch.where(is_second, -scale, scale)
        return bottom.unsqueeze(1), scale.unsqueeze(1)

    # ---- beyond ---------------------------------------------------------------------------------

    def _expand_leaves(self, paths: Paths) -> None:
        """Let the model say what the new nodes at the ends of the paths are."""
        tree, k = self.tree, self._settings.num_parallel_sims
        leaf, last = paths.leaf, (paths.length - 1).unsqueeze(-1)
        parent = paths.nodes.gather(-1, last)
        choice = paths.choices.gather(-1, last)
        is_new = leaf == self._rows(k)
        # Where a path has ended at an old node the model is asked in vain.
        rows = leaf.masked_fill(~is_new, tree.nowhere)
        self._ask(rows.view(-1), parent.view(-1), choice.view(-1), paths.length.view(-1))
        self._next += k
        value = tree.value[leaf]
        self._hand_up(paths, value, torch.ones_like(value), is_new)

    def _expand_all(self, paths: Paths, expands: Tensor) -> None:
        """Let the model say what all children of the last nodes of paths are.

        Args:
            expands: [B, k], bool; elsewhere the path only hands up the value of its last node.
        """
        tree, s, K, leaf = self.tree, self._settings, self.tree.num_children, paths.leaf
        B, k = leaf.shape
        each = torch.arange(K, device=leaf.device)
        child = self._next + torch.arange(k, device=leaf.device).unsqueeze(1) * K + each  # [k, K]
        slot = self._roots.reshape(B, 1, 1) + child
        rows = torch.where(expands.unsqueeze(-1), slot, tree.nowhere)
        parent, depth = (x.unsqueeze(-1).expand(B, k, K) for x in (leaf, paths.length + 1))
        choice = each.expand(B, k, K)
        self._ask(rows.view(-1), parent.reshape(-1), choice.reshape(-1), depth.reshape(-1))
        self._next += k * K

        q = tree.reward[slot] + s.discount * tree.value[slot]
        forbidden = tree.edges[leaf, CHILD] == FORBIDDEN
        taken = ~forbidden & expands.unsqueeze(-1)
        at = torch.where(expands, leaf, tree.nowhere)
        tree.edges[at, CHILD] = torch.where(forbidden, FORBIDDEN, child.to(q.dtype))
        tree.edges[at, VISITS] = taken.to(q.dtype)
        tree.edges[at, Q] = q
        tree.has_children[at] = True
        tree.has_children[tree.nowhere] = False
        self._note(torch.where(taken, q, torch.nan))
        total = torch.where(taken, q, 0.0).sum(dim=-1)
        self._hand_up(
            paths,
            torch.where(expands, total, tree.value[leaf]),
            torch.where(expands, taken.sum(dim=-1).to(q.dtype), 1.0),
            torch.zeros_like(expands),
        )

    def _ask(self, rows: Tensor, parent: Tensor, choice: Tensor, length: Tensor) -> None:
        """Ask the model for new nodes, all [P]; ``length`` is their depth."""
        tree = self.tree
        state = nest.map_structure(lambda x: x[parent], tree.model_state)
        output = self._model.recurrent_inference(state, tree.action_of(parent, choice))
        tree.write(rows, output, length >= self._settings.max_unroll_length)
        tree.is_end[tree.nowhere] = True
        tree.reward[tree.nowhere] = 0.0

    # ---- up -------------------------------------------------------------------------------------

    def _hand_up(self, paths: Paths, total: Tensor, weight: Tensor, is_new: Tensor) -> None:
        """Add what was found at the ends of paths to the nodes on the way.

        Args:
            total: [B, k], sum of the returns found at the last node.
            weight: [B, k], their number.
            is_new: [B, k], bool, whether the last node has just been entered, and its value is the
                first of its returns already.
        """
        tree, path = self.tree, paths.nodes
        found = total.new_zeros(*path.shape[:-1], path.shape[-1] + 1)
        # What is earned on the way to the root is not of this search; nowhere earns nothing.
        found[..., 1:-1] = tree.reward[path[..., 1:]] * weight.unsqueeze(-1)
        found.scatter_(-1, paths.length.unsqueeze(-1) + 1, total.unsqueeze(-1))
        # G[d] = sum_{j > d} discount^(j - d - 1) found[j]
        discounts = _discounts(found.shape[-1], self._settings.discount, found)
        with torch.autocast(found.device.type, enabled=False):
            returns = found @ discounts[:, :-1]
        own = is_new.unsqueeze(-1) & (path == paths.leaf.unsqueeze(-1))
        at = path.masked_fill(own, tree.nowhere).view(-1)
        tree.value_sum.index_add_(0, at, returns.reshape(-1))
        tree.visits.index_add_(0, at, weight.unsqueeze(-1).expand_as(returns).reshape(-1))
        self._update_edges(paths, weight)

    def _update_edges(self, paths: Paths, weight: Tensor) -> None:
        """Values of the edges on paths, and what they mean for the bounds."""
        tree, K, path = self.tree, self.tree.num_children, paths.nodes
        mean = tree.value_sum[path] / tree.visits[path].clamp(min=1)
        child = path[..., 1:]
        is_on = child != tree.nowhere
        q = tree.reward[child] + self._settings.discount * mean[..., 1:]
        parent = path[..., :-1].masked_fill(~is_on, tree.nowhere)
        at = (parent * (4 * K) + paths.choices).reshape(-1)
        flat_edges = tree.edges.view(-1)
        flat_edges.index_copy_(0, at + Q * K, q.reshape(-1))
        if self._settings.expand_all_children:
            more = (weight - 1).unsqueeze(-1) * is_on
            flat_edges.index_add_(0, at + VISITS * K, more.reshape(-1))
        self._note(torch.cat([mean[..., :1], q.masked_fill(~is_on, torch.nan)], dim=-1))

    def _note(self, value: Tensor) -> None:
        """Widen the bounds by values [B, ...] that were found; NaN counts for nothing."""
        value = value.flatten(1)
        unknown = value.isnan()
        low = value.masked_fill(unknown, torch.inf).amin(dim=1)
        high = value.masked_fill(unknown, -torch.inf).amax(dim=1)
        self.tree.low = torch.minimum(self.tree.low, low)
        self.tree.high = torch.maximum(self.tree.high, high)
        self._scale_now = 1 / (self.tree.high - self.tree.low).clamp(
            min=self._settings.value_min_max_delta
        )

    # ---- the result -----------------------------------------------------------------------------

    def root_policy(self) -> Tensor:
        """The exploration policy [B, K] at the roots."""
        edges = self.tree.edges[self._roots]
        score, known = self._value_scores(self._roots, edges, 0)
        count = edges[:, VISITS].sum(dim=1).long() + 1
        weight = self._policy_weight.index_select(0, count).unsqueeze(1)
        return self._policy(score, edges[:, PRIOR], weight, known)


def _discounts(size: int, discount: float, like: Tensor) -> Tensor:
    """[j, d]: discount^(j - d - 1) for j > d, else 0."""
    step = torch.arange(size, device=like.device)
    power = step.unsqueeze(1) - step.unsqueeze(0) - 1
    return torch.where(power >= 0, float(discount) ** power.clamp(min=0).to(like.dtype), 0.0)
