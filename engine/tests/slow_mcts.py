"""A search of one tree, node by node and recursively: the slow twin of the batched one."""

from __future__ import annotations

import math
from typing import Any

import torch

from alf.algorithms.mcts.settings import SearchSettings
from alf.algorithms.mcts_models import ModelOutput, ModelState


class RandomGame:
    """A deterministic model of arbitrary numbers, with a few states at which the game is over."""

    def __init__(self, seed: int, num_actions: int = 3, over: float = 0.55, rewards: bool = True):
        generator = torch.Generator().manual_seed(seed)
        self._step = torch.randn(num_actions, 4, 4, generator=generator, dtype=torch.float64)
        self._heads = torch.randn(4, 2 + num_actions, generator=generator, dtype=torch.float64)
        self._over = over
        self._rewards = rewards

    def roots(self, batch_size: int, seed: int = 0) -> ModelOutput:
        generator = torch.Generator().manual_seed(seed)
        state = torch.randn(batch_size, 4, generator=generator, dtype=torch.float64)
        return self._output(state.tanh())

    def recurrent_inference(self, state: ModelState, action: torch.Tensor) -> ModelOutput:
        return self._output((self._step[action] @ state.state.unsqueeze(-1)).squeeze(-1).tanh())

    def _output(self, state: torch.Tensor) -> ModelOutput:
        heads = (state.unsqueeze(1) @ self._heads).squeeze(1)
        return ModelOutput(
            value=heads[:, 0],
            reward=heads[:, 1] if self._rewards else (),
            game_over=(state[:, 0] > self._over) & (state[:, 1] < 0),
            action_probs=heads[:, 2:].softmax(dim=1),
            state=ModelState(state=state),
        )


class Node:
    """A node with its statistics; ``prior`` and ``children`` are those of its actions."""

    def __init__(self, output: Any, depth: int) -> None:
        self.state, self.depth = output.state, depth
        self.prior = output.action_probs[0].tolist()
        self.reward = float(output.reward[0]) if isinstance(output.reward, torch.Tensor) else 0.0
        self.is_over = bool(output.game_over[0])
        self.value = float(output.value[0])
        self.children: dict[int, Node] = {}
        self.best = -1  # the child to go to next
        self.total, self.visits = 0.0, 0

    @property
    def mean(self) -> float:
        return self.total / self.visits


class SlowSearch:
    """The same search as `Search`, by UCB and with one path at a time."""

    def __init__(self, model: Any, root: Any, settings: SearchSettings, to_play: int | None):
        self.model, self.settings, self.to_play = model, settings, to_play
        self.root = Node(root, 0)
        self.root.total, self.root.visits = self.root.value, 1
        self.is_known = settings.known_value_bounds is not None
        self.low, self.high = settings.known_value_bounds or (math.inf, -math.inf)
        self.root.best = self._best(self.root)

    def run(self) -> Node:
        for _ in range(self.settings.num_simulations):
            passed: list[Node] = []  # whose means have changed in this simulation
            self._visit(self.root, passed)
            for node in passed:
                self._note((node is not self.root) * node.reward + self._discounted(node))
            for node in passed:
                node.best = self._best(node)
        return self.root

    def _discounted(self, node: Node) -> float:
        return self.settings.discount * node.mean

    def _note(self, value: float) -> None:
        if not self.is_known:
            self.low, self.high = min(self.low, value), max(self.high, value)

    def _best(self, node: Node) -> int:
        return max(range(len(node.prior)), key=self._scores(node).__getitem__)

    def _visit(self, node: Node, passed: list[Node]) -> float:
        """One simulation from here on; returns what it found."""
        settings = self.settings
        is_end = node.is_over or node.depth >= settings.max_unroll_length
        if (node is not self.root and is_end) or node.visits == 0:
            found = node.value
        else:
            action = node.best
            if action not in node.children:
                output = self.model.recurrent_inference(node.state, torch.tensor([action]))
                node.children[action] = Node(output, node.depth + 1)
            child = node.children[action]
            found = child.reward + settings.discount * self._visit(child, passed)
        node.total += found
        node.visits += 1
        passed.append(node)
        return found

    def _scores(self, node: Node) -> list[float]:
        s = self.settings
        known = {a: self._share(node, c) for a, c in node.children.items()}
        below = node.visits - 1 if s.ucb_parent_visit_count_minus_one else node.visits
        factor = math.sqrt(below) * (
            s.pb_c_init + math.log((node.visits + s.pb_c_base + 1) / s.pb_c_base)
        )
        scores = []
        for a, prior in enumerate(node.prior):
            visits = node.children[a].visits if a in node.children else 0
            value = known[a] if a in known else self._unknown(node, list(known.values()))
            scores.append(value + prior * factor / (1 + visits))
        return scores

    def _unknown(self, node: Node, known: list[float]) -> float:
        rule = self.settings.unexpanded_value_score
        if not isinstance(rule, str):
            return rule
        if rule == "mean_with_parent":
            known = [*known, min(max(self._normal(node, node.mean), 0.0), 1.0)]
        if not known:
            return 0.0
        simple = {"max": max, "min": min, "none": min}
        return simple[rule](known) if rule in simple else sum(known) / len(known)

    def _share(self, node: Node, child: Node) -> float:
        return self._normal(node, child.reward + self.settings.discount * child.mean)

    def _normal(self, node: Node, value: float) -> float:
        width = max(self.high - self.low, self.settings.value_min_max_delta)
        if self.to_play is not None and (self.to_play + node.depth) % 2 == 1:
            return (self.high - value) / width
        return (value - self.low) / width
