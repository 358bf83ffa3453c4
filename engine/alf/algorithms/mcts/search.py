"""Monte-Carlo tree search for a batch: all trees advance together, one simulation at a time.

A simulation goes down from the roots to leaves, lets the model look one step beyond, and hands the
values up again (Schrittwieser et al. 2020, "Mastering Atari, Go, chess and shogi by planning with a
learned model", appendix B). Python loops over simulations, and over depth as long as some path
goes on. Axis letters as in `tree`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from alf.algorithms.mcts import policy as policies
from alf.algorithms.mcts.settings import SearchSettings
from alf.algorithms.mcts.tree import CHILD, FORBIDDEN, PRIOR, VISITS, Q, Tree, plant
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
            output,
            settings.num_nodes(K),
            settings.num_parallel_sims,
            to_play,
            settings.known_value_bounds,
            forbidden,
        )
        device = output.value.device
        self._roots = self.tree.roots
        self._next = 1  # the first row of each tree that is not used yet
        self._update_scale()
        size = settings.num_simulations * K + K + 2 + settings.num_parallel_sims
        counts = torch.arange(size, device=device, dtype=dtype)
        constants = policies.exploration_constants(counts, settings.pb_c_init, settings.pb_c_base)
        below = counts - 1 if settings.ucb_parent_visit_count_minus_one else counts
        # By the visits of a parent: the factor of prior / (1 + visits), and the weight of the
        # divergence, which falls as that of Grill et al. does (eq. 8, where the denominator has
        # the number of actions too).
        self._ucb_factor = constants * below.clamp(min=0).sqrt()
        self._policy_weight = constants / counts.clamp(min=1).sqrt()

    def run(self) -> Tree:
        """The trees after all simulations."""
        s = self._settings
        roots = self._roots.reshape(-1, 1, 1)
        if s.expand_all_children or s.expand_all_root_children:
            paths = Paths(roots, roots[..., :0], torch.zeros_like(roots[..., 0]))
            self._expand_all(paths, paths.length == 0)
            children = self._roots.unsqueeze(1) + torch.arange(1, self._next, device=roots.device)
            self._choose_best(children, torch.ones_like(children[0]))
        else:
            self._choose_best(roots[..., 0], torch.zeros_like(roots[0, 0]))
        for _ in range(s.num_simulations // s.num_parallel_sims):
            self._simulate()
        return self.tree

    def _simulate(self) -> None:
        paths = self._go_down()
        if self._settings.expand_all_children:
            self._expand_all(paths, ~self.tree.is_end[paths.leaf])
        else:
            self._expand_leaves(paths)

    def _rows(self, k: int) -> Tensor:
        """[B, k], the next rows that are not used yet, one for each path."""
        next_rows = torch.arange(self._next, self._next + k, device=self._roots.device)
        return self._roots.unsqueeze(1) + next_rows

    # ---- down -----------------------------------------------------------------------------------

    def _go_down(self) -> Paths:
        """The paths of one simulation, along the best children.

        Of paths that have been the same so far each takes the next best child of their last node.
        Where they choose the same child, and it is not expanded yet, they end at one new node.
        A path that has ended goes on nowhere.
        """
        tree, K, k = self.tree, self.tree.num_children, self._settings.num_parallel_sims
        flat_edges, flat_best = tree.edges.view(-1), tree.best.view(-1)
        roots = self._roots.unsqueeze(1)
        node, nodes, choices = roots.expand(-1, k), [roots.expand(-1, k)], []
        going = torch.ones_like(node, dtype=torch.bool)
        while True:
            choice = flat_best[node * k + self._ranks(node)]
            at = node * (4 * K) + choice  # CHILD comes first
            child = flat_edges[at]
            is_new = child < 0
            child = torch.where(is_new, self._next + _first_same(at), child.long())
            flat_edges.index_copy_(0, at.view(-1), child.view(-1).to(flat_edges.dtype))
            node = (roots + child).masked_fill(~going, tree.nowhere)
            nodes.append(node)
            choices.append(choice)
            going = going & ~self._stops(node, is_new)
            # A loop over depth as long as any path goes on; this is the only look at a tensor.
            if not bool(going.any()):
                break
            node = node.masked_fill(~going, tree.nowhere)
        path = torch.stack(nodes, dim=-1)
        length = (path[..., 1:] != tree.nowhere).sum(dim=-1)
        return Paths(path, torch.stack(choices, dim=-1), length)

    def _ranks(self, node: Tensor) -> Tensor:
        """Which of the best children of ``node`` [B, k] each path takes, [B, k]."""
        k = node.shape[1]
        if k == 1:
            return torch.zeros_like(node)
        if self._settings.by_policy:  # drawn independently for each path
            return torch.arange(k, device=node.device).expand_as(node)
        return (node.unsqueeze(2) == node.unsqueeze(1)).tril(-1).sum(dim=2)

    def _stops(self, node: Tensor, is_new: Tensor) -> Tensor:
        """Bool like ``node``, whether a path ends there."""
        is_end = self.tree.is_end[node]
        if self._settings.expand_all_children:
            return is_end | ~self.tree.has_children[node]
        return is_end | is_new

    # ---- choosing -------------------------------------------------------------------------------

    def _choose_best(self, nodes: Tensor, depth: Tensor) -> None:
        """Find anew the best children of nodes, which the next paths will take.

        They are found when the values below a node change, not when a path comes by: the bounds of
        the values may have changed meanwhile without effect on a node that no path has passed.

        The second best child is the best one if the visits of the best child and of the node were
        one more, and so on: the same child can be among them more than once.

        Args:
            nodes: [B, n].
            depth: [n], their depth.
        """
        s, tree = self._settings, self.tree
        edges = tree.edges[nodes]  # [B, n, 4, K]
        visits, prior = edges[..., VISITS, :], edges[..., PRIOR, :]
        score, known = self._value_scores(nodes, edges, depth)
        count = tree.visits[nodes].long()
        if s.by_policy:
            weight = self._policy_weight[count].view(-1, 1)
            score, prior, known = (x.flatten(0, 1) for x in (score, prior, known))
            p = self._policy(score, prior, weight, known)
            drawn = torch.multinomial(p, s.num_parallel_sims, replacement=True)
            tree.best[nodes] = drawn.view(*nodes.shape, -1)
            return
        if s.ucb_break_tie_eps > 0:
            score = score + s.ucb_break_tie_eps * torch.rand_like(score)
        if self._has_forbidden:
            score = score.masked_fill(edges[..., CHILD, :] == FORBIDDEN, -torch.inf)
        best = []
        for i in range(s.num_parallel_sims):
            factor = self._ucb_factor[count + i].unsqueeze(-1)
            best.append(torch.addcdiv(score, prior * factor, 1 + visits).argmax(dim=-1))
            if i + 1 < s.num_parallel_sims:
                visits = visits.scatter_add(
                    -1, best[-1].unsqueeze(-1), torch.ones_like(visits[..., :1])
                )
        tree.best[nodes] = torch.stack(best, dim=-1)

    def _policy(self, score: Tensor, prior: Tensor, weight: Tensor, known: Tensor) -> Tensor:
        if self._settings.unexpanded_value_score == "none":
            return policies.policy_of_known(self._settings.policy, score, prior, weight, known)
        return self._settings.policy(score, prior, weight)[0]

    def _value_scores(self, nodes: Tensor, edges: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Values [B, n, K] of the children on a scale from 0 to 1, for the player whose turn it is.

        Also which of them are expanded, bool [B, n, K].
        """
        s, tree = self._settings, self.tree
        known = edges[..., CHILD, :] >= 0
        bottom, scale = self._scale(depth)
        score = (edges[..., Q, :] - bottom) * scale
        parent = None
        if s.unexpanded_value_score == "mean_with_parent":
            mean = tree.value_sum[nodes] / tree.visits[nodes].clamp(min=1)
            parent = ((mean.unsqueeze(-1) - bottom) * scale).squeeze(-1).clamp(0, 1)
        return policies.fill_unexpanded(score, known, s.unexpanded_value_score, parent), known

    def _scale(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """What is worth nothing [B, n, 1] to who plays at depth [n], and the scale to [0, 1].

        To player 1 everything is worth as much less as it is worth more to player 0.
        """
        tree = self.tree
        bottom, scale = (x.view(-1, 1, 1) for x in (tree.low, self._scale_now))
        if tree.to_play is not None:
            is_second = ((tree.to_play.unsqueeze(1) + depth) % 2 == 1).unsqueeze(-1)
            bottom = torch.where(is_second, tree.high.view(-1, 1, 1), bottom)
            scale = torch.where(is_second, -scale, scale)
        return bottom, scale

    # ---- beyond ---------------------------------------------------------------------------------

    def _expand_leaves(self, paths: Paths) -> None:
        """Let the model say what the new nodes at the ends of the paths are."""
        tree, k = self.tree, self._settings.num_parallel_sims
        leaf, last = paths.leaf, (paths.length - 1).unsqueeze(-1)
        parent = paths.nodes.gather(-1, last)
        choice = paths.choices.gather(-1, last)
        # Where a path has ended at an old node, or at the new one of another, the model is asked in
        # vain.
        rows = torch.where(leaf == self._rows(k), leaf, tree.nowhere)
        self._ask(rows.view(-1), parent.view(-1), choice.view(-1), paths.length.view(-1))
        self._next += k
        value = tree.value[leaf]
        self._hand_up(paths, value, torch.ones_like(value))
        self._choose_best_of(paths)

    def _expand_all(self, paths: Paths, expands: Tensor) -> None:
        """Let the model say what all children of the last nodes of paths are.

        They count as one visit each, all of the value that the prior expects of them.

        Args:
            expands: [B, 1], bool; elsewhere the path only hands up the value of its last node.
        """
        tree, s, K, leaf = self.tree, self._settings, self.tree.num_children, paths.leaf
        B = leaf.shape[0]
        choice = torch.arange(K, device=leaf.device)
        child = (self._next + choice).expand(B, 1, K)
        slot = self._roots.reshape(B, 1, 1) + child
        rows = torch.where(expands.unsqueeze(-1), slot, tree.nowhere)
        parent, depth = (x.unsqueeze(-1).expand(B, 1, K) for x in (leaf, paths.length + 1))
        self._ask(
            rows.view(-1),
            parent.reshape(-1),
            choice.expand(B, 1, K).reshape(-1),
            depth.reshape(-1),
        )
        self._next += K

        value = tree.value[slot]
        q = tree.reward[slot] + s.discount * value
        forbidden = tree.edges[leaf, CHILD] == FORBIDDEN
        taken = ~forbidden & expands.unsqueeze(-1)
        at = torch.where(expands, leaf, tree.nowhere)
        tree.value_sum[rows] = value
        tree.visits[rows] = 1.0
        tree.edges[at, CHILD] = torch.where(forbidden, FORBIDDEN, child.to(q.dtype))
        tree.edges[at, VISITS] = taken.to(q.dtype)
        tree.edges[at, Q] = q
        tree.has_children[at] = True
        tree.has_children[tree.nowhere] = False
        if s.expand_all_children:
            # As ALF has it: without the rewards.
            self._note(torch.where(taken, s.discount * value, torch.nan))
        prior = tree.edges[leaf, PRIOR]
        expected = (prior * q).sum(dim=-1) / prior.sum(dim=-1)
        self._hand_up(
            paths,
            torch.where(expands, expected, tree.value[leaf]),
            torch.where(expands, taken.sum(dim=-1).to(q.dtype), 1.0),
        )
        self._choose_best_of(paths)

    def _ask(self, rows: Tensor, parent: Tensor, choice: Tensor, length: Tensor) -> None:
        """Ask the model for new nodes, all [P]; ``length`` is their depth."""
        tree = self.tree
        state = nest.map_structure(lambda x: x[parent], tree.model_state)
        output = self._model.recurrent_inference(state, tree.action_of(parent, choice))
        tree.write(rows, output, length >= self._settings.max_unroll_length)
        tree.is_end[tree.nowhere] = True
        tree.reward[tree.nowhere] = 0.0

    # ---- up -------------------------------------------------------------------------------------

    def _hand_up(self, paths: Paths, value: Tensor, weight: Tensor) -> None:
        """Add what was found at the ends of paths to the nodes on the way.

        Args:
            value: [B, k], mean of the returns found at the last node.
            weight: [B, k], their number.
        """
        tree, path = self.tree, paths.nodes
        found = value.new_zeros(*path.shape[:-1], path.shape[-1] + 1)
        # What is earned on the way to the root is not of this search; nowhere earns nothing.
        found[..., 1:-1] = tree.reward[path[..., 1:]]
        found.scatter_(-1, paths.length.unsqueeze(-1) + 1, value.unsqueeze(-1))
        # G[d] = sum_{j > d} discount^(j - d - 1) found[j]
        discounts = _discounts(found.shape[-1], self._settings.discount, found)
        with torch.autocast(found.device.type, enabled=False):
            returns = (found @ discounts[:, :-1]) * weight.unsqueeze(-1)
        at = path.reshape(-1)
        tree.value_sum.index_add_(0, at, returns.reshape(-1))
        tree.visits.index_add_(0, at, weight.unsqueeze(-1).expand_as(returns).reshape(-1))
        tree.visits[tree.nowhere] = 0.0
        self._update_edges(paths, weight)

    def _update_edges(self, paths: Paths, weight: Tensor) -> None:
        """Visits and values of the edges on paths, and what they mean for the bounds."""
        tree, K, path = self.tree, self.tree.num_children, paths.nodes
        mean = tree.value_sum[path] / tree.visits[path].clamp(min=1)
        is_on = path != tree.nowhere
        q = tree.reward[path] + self._settings.discount * mean  # of the root: its reward is 0
        parent = path[..., :-1].masked_fill(~is_on[..., 1:], tree.nowhere)
        at = (parent * (4 * K) + paths.choices).reshape(-1)
        flat_edges = tree.edges.view(-1)
        flat_edges.index_copy_(0, at + Q * K, q[..., 1:].reshape(-1))
        more = weight.unsqueeze(-1) * is_on[..., 1:]
        flat_edges.index_add_(0, at + VISITS * K, more.reshape(-1))
        self._note(q.masked_fill(~is_on, torch.nan))

    def _choose_best_of(self, paths: Paths) -> None:
        """Find anew the best children of all nodes on paths."""
        B, k, size = paths.nodes.shape
        depth = torch.arange(size, device=paths.nodes.device).expand(k, size)
        self._choose_best(paths.nodes.reshape(B, -1), depth.reshape(-1))

    def _note(self, value: Tensor) -> None:
        """Widen the bounds by values [B, ...] that were found; NaN counts for nothing."""
        if self._settings.known_value_bounds is not None:
            return
        value = value.flatten(1)
        unknown = value.isnan()
        low = value.masked_fill(unknown, torch.inf).amin(dim=1)
        high = value.masked_fill(unknown, -torch.inf).amax(dim=1)
        self.tree.low = torch.minimum(self.tree.low, low)
        self.tree.high = torch.maximum(self.tree.high, high)
        self._update_scale()

    def _update_scale(self) -> None:
        self._scale_now = 1 / (self.tree.high - self.tree.low).clamp(
            min=self._settings.value_min_max_delta
        )

    # ---- the result -----------------------------------------------------------------------------

    def root_policy(self) -> Tensor:
        """The exploration policy [B, K] at the roots."""
        roots = self._roots.unsqueeze(1)
        edges = self.tree.edges[roots]
        score, known = self._value_scores(roots, edges, torch.zeros_like(roots[0]))
        weight = self._policy_weight[self.tree.visits[roots].long()]
        return self._policy(score.squeeze(1), edges[:, 0, PRIOR], weight, known.squeeze(1))


def _first_same(x: Tensor) -> Tensor:
    """The first place [B, k] in each row of x [B, k] where the same number stands."""
    if x.shape[1] == 1:
        return torch.zeros_like(x)
    return (x.unsqueeze(2) == x.unsqueeze(1)).int().argmax(dim=2)


def _discounts(size: int, discount: float, like: Tensor) -> Tensor:
    """[j, d]: discount^(j - d - 1) for j > d, else 0."""
    step = torch.arange(size, device=like.device)
    power = step.unsqueeze(1) - step.unsqueeze(0) - 1
    return torch.where(power >= 0, float(discount) ** power.clamp(min=0).to(like.dtype), 0.0)
