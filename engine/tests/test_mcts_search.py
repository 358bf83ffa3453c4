"""Tree search on tensors: it is the search of one tree at a time, for all trees at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from slow_mcts import RandomGame, SlowSearch

from alf.algorithms.mcts.search import Search
from alf.algorithms.mcts.settings import SearchSettings
from alf.algorithms.mcts.tree import CHILD, VISITS, Q
from alf.algorithms.mcts_models import ModelOutput, ModelState
from alf.nest import nest

BASIC = SearchSettings(num_simulations=30, discount=0.9, pb_c_init=1.25, pb_c_base=20.0)


def row(output: Any, b: int) -> Any:
    return nest.map_structure(lambda x: x[b : b + 1], output)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"two": True},
        {"two": True, "discount": 1.0, "known_value_bounds": (-4.0, 4.0)},
        {"rewards": False, "two": True},
        {"value_min_max_delta": 1.0},
        {"unexpanded_value_score": 0.0},
        {"unexpanded_value_score": "max"},
        {"unexpanded_value_score": "min", "two": True},
        {"unexpanded_value_score": "none"},
        {"unexpanded_value_score": "mean"},
        {"unexpanded_value_score": "mean_with_parent", "two": True},
        {"ucb_parent_visit_count_minus_one": True},
        {"max_unroll_length": 2},
        {"over": -0.5},
    ],
    ids=str,
)
def test_visits_are_those_of_a_recursive_search(changes: dict[str, Any]) -> None:
    changes = dict(changes)
    is_two, rewards = changes.pop("two", False), changes.pop("rewards", True)
    game = RandomGame(seed=1, num_actions=4, over=changes.pop("over", 0.55), rewards=rewards)
    settings = dataclasses.replace(BASIC, **changes)
    roots = game.roots(12)
    to_play = torch.arange(12) % 2 if is_two else None
    search = Search(game, roots, settings, to_play)
    tree = search.run()
    visits, q = tree.edges[tree.roots, VISITS], tree.edges[tree.roots, Q]
    for b in range(12):
        first = None if to_play is None else int(to_play[b])
        root = SlowSearch(game, row(roots, b), settings, first).run()
        expected = [root.children[a].visits if a in root.children else 0 for a in range(4)]
        assert visits[b].tolist() == expected
        assert float(tree.value_sum[tree.roots[b]]) == pytest.approx(root.total)
        for a, child in root.children.items():
            assert float(q[b, a]) == pytest.approx(child.reward + settings.discount * child.mean)


def test_the_trees_of_a_batch_do_not_know_of_each_other() -> None:
    game = RandomGame(seed=2)
    roots = game.roots(6)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = nest.map_structure(lambda x: x[order], roots)
    one, other = (Search(game, r, BASIC).run() for r in (roots, shuffled))
    assert torch.equal(one.edges[one.roots, VISITS][order], other.edges[other.roots, VISITS])


class Line:
    """States are numbers; action 1 adds one, action 0 nothing, and the number is the reward."""

    def root(self, prior: list[float], value: float = 0.0) -> ModelOutput:
        return ModelOutput(
            value=torch.tensor([value]),
            reward=torch.zeros(1),
            action_probs=torch.tensor([prior]),
            state=ModelState(state=torch.zeros(1)),
        )

    def recurrent_inference(self, state: ModelState, action: torch.Tensor) -> ModelOutput:
        number = state.state + action
        return ModelOutput(
            value=10 * number,
            reward=number,
            action_probs=torch.tensor([[0.5, 0.5]]).expand(len(number), 2),
            state=ModelState(state=number),
        )


def test_the_first_simulations_have_hand_numbers() -> None:
    """Prior (0.6, 0.4): the first visit goes to action 0 (0.5 + 0.6 c against 0.5 + 0.4 c).

    It finds 0 + 0.5 * 0 = 0; the root has 0 as well: both bounds are 0, so action 0 scores 0 and
    action 1, unexpanded, 0.5. Action 1 finds 1 + 0.5 * 10 = 6. The root's mean is (0 + 0 + 6) / 3.
    """
    settings = dataclasses.replace(BASIC, num_simulations=2, discount=0.5)
    tree = Search(Line(), Line().root([0.6, 0.4]), settings).run()
    assert tree.edges[0, VISITS].tolist() == [1.0, 1.0]
    assert tree.edges[0, CHILD].tolist() == [1.0, 2.0]
    assert tree.edges[0, Q].tolist() == [0.0, 6.0]
    assert float(tree.value_sum[0] / tree.visits[0]) == pytest.approx(2.0)
    assert (float(tree.low), float(tree.high)) == (0.0, 6.0)


def test_the_value_of_the_root_counts_for_the_bounds_as_that_of_other_nodes_does() -> None:
    """Reward and discounted mean; the model's own value of the root, 100, does not count.

    After one visit the root's mean is (100 + 0) / 2, so the bounds are 0 and 0.5 * 50.
    """
    settings = dataclasses.replace(BASIC, num_simulations=1, discount=0.5)
    tree = Search(Line(), Line().root([0.6, 0.4], value=100.0), settings).run()
    assert (float(tree.low), float(tree.high)) == (0.0, 25.0)


def test_bounds_that_are_known_stay() -> None:
    settings = dataclasses.replace(BASIC, num_simulations=4, known_value_bounds=(-1.0, 1.0))
    tree = Search(Line(), Line().root([0.6, 0.4], value=100.0), settings).run()
    assert (float(tree.low), float(tree.high)) == (-1.0, 1.0)


def test_all_children_of_a_leaf_are_expanded_at_once_if_asked_for() -> None:
    """Two levels of ``Line`` by hand; the second expansion is that of action 1's child.

    Root: children have q 0 and 1 + 0.5 * 10 = 6, of which the prior expects 4.5, twice. Below
    action 1: q = 1 + 0.5 * 10 = 6 and 2 + 0.5 * 20 = 12, 9 expected, so its mean is
    (10 + 9 + 9) / 3 and its q 1 + 0.5 * 28 / 3.
    """
    settings = dataclasses.replace(BASIC, num_simulations=1, discount=0.5, expand_all_children=True)
    tree = Search(Line(), Line().root([0.25, 0.75]), settings).run()
    assert tree.edges[0, VISITS].tolist() == [1.0, 3.0]
    assert tree.edges[0, Q].tolist() == pytest.approx([0.0, 1 + 0.5 * 28 / 3])
    assert tree.edges[2, Q].tolist() == [6.0, 12.0]
    # 0 and twice 4.5 from the root's expansion; then twice 1 + 0.5 * 9
    assert float(tree.value_sum[0]) == pytest.approx(9 + 11)
    assert float(tree.visits[0]) == 5


def test_only_the_roots_children_are_expanded_before_the_search_if_asked_for() -> None:
    settings = dataclasses.replace(
        BASIC, num_simulations=2, discount=0.5, expand_all_root_children=True
    )
    tree = Search(Line(), Line().root([0.99, 0.01]), settings).run()
    assert tree.edges[0, VISITS].sum() == 4
    assert tree.edges[0, CHILD].tolist() == [1.0, 2.0]
    assert tree.edges[0, Q, 1] > 1  # looked at, in spite of its prior


@pytest.mark.parametrize("changes", [{}, {"expand_all_children": True}, {"by_policy": True}])
@pytest.mark.parametrize("parallel", [1, 3])
def test_every_visit_below_a_node_is_counted(changes: dict[str, Any], parallel: int) -> None:
    torch.manual_seed(0)
    game = RandomGame(seed=3)
    if changes.get("expand_all_children") and parallel > 1:
        with pytest.raises(ValueError, match=r"num_parallel_sims is 3.*expand_all_children"):
            dataclasses.replace(BASIC, num_parallel_sims=parallel, **changes)
        return
    settings = dataclasses.replace(BASIC, num_parallel_sims=parallel, **changes)
    search = Search(game, game.roots(5), settings)
    tree = search.run()
    below = tree.edges[:-1, VISITS].sum(dim=1)
    inner = (below > 0) & ~tree.is_end[:-1]
    found = (tree.visits[:-1] - below)[inner]
    # A leaf for which parallel paths waited together has as many visits before it has children.
    assert (found == 1).all() if parallel == 1 else ((found >= 1) & (found <= parallel)).all()
    child = tree.edges[:-1, CHILD]
    offset = torch.arange(len(child)) // tree.num_nodes * tree.num_nodes
    rows = (offset.unsqueeze(1) + child.long())[child > 0]
    assert torch.equal(tree.edges[:-1, VISITS][child > 0], tree.visits[rows])
    mean = tree.value_sum[rows] / tree.visits[rows]
    torch.testing.assert_close(tree.edges[:-1, Q][child > 0], tree.reward[rows] + 0.9 * mean)
    if not changes:
        assert tree.edges[tree.roots, VISITS].sum(dim=1).tolist() == [30.0] * 5


def test_parallel_paths_spread_over_the_children_as_visits_without_values_would() -> None:
    """Equal priors, no values yet: each of three paths sees the visits of those before."""
    settings = dataclasses.replace(BASIC, num_simulations=2, num_parallel_sims=2)
    tree = Search(Line(), Line().root([0.55, 0.45]), settings).run()
    assert tree.edges[0, VISITS].tolist() == [1.0, 1.0]
    settings = dataclasses.replace(settings, num_simulations=3, num_parallel_sims=3)
    tree = Search(Line(), Line().root([0.9, 0.1]), settings).run()
    # 0.9 / (1 + n) stays above 0.1: all three wait for the same leaf
    assert tree.edges[0, VISITS].tolist() == [3.0, 0.0]
    assert tree.edges[0, CHILD].tolist() == [1.0, -1.0]
    assert float(tree.visits[1]) == 3


def test_forbidden_actions_are_never_taken_at_the_root() -> None:
    torch.manual_seed(0)
    game = RandomGame(seed=4)
    roots = game.roots(8)
    forbidden = torch.zeros(8, 3, dtype=torch.bool)
    forbidden[torch.arange(8), torch.arange(8) % 3] = True
    prior = torch.where(forbidden, 0.0, roots.action_probs)
    roots = roots._replace(action_probs=prior / prior.sum(dim=1, keepdim=True))
    for changes in ({}, {"by_policy": True}, {"expand_all_children": True}):
        settings = dataclasses.replace(BASIC, **changes)
        search = Search(game, roots, settings, forbidden=forbidden)
        tree = search.run()
        assert (tree.edges[tree.roots, VISITS][forbidden] == 0).all()
        assert (search.root_policy()[forbidden] == 0).all()


def test_the_game_does_not_go_on_after_its_end() -> None:
    game = RandomGame(seed=5, over=-1.1)  # wherever the second number is negative
    tree = Search(game, game.roots(20), BASIC).run()
    is_over = tree.is_end[:-1]
    assert is_over.any()
    assert (tree.edges[:-1][is_over][:, VISITS] == 0).all()
    mean = tree.value_sum[:-1] / tree.visits[:-1].clamp(min=1)
    seen = is_over & (tree.visits[:-1] > 0)
    torch.testing.assert_close(mean[seen], tree.value[:-1][seen])
