"""Algorithm: gradient steps, optimizers by tree, state dicts, checkpoints at construction."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_rl import make_config
from torch import nn

from alf.algorithms.algorithm import Algorithm, Loss
from alf.data_structures import LossInfo
from alf.experience_replayers.replay_buffer import BatchInfo
from alf.optimizers import SGD, Adam
from alf.tensor_specs import TensorSpec
from alf.utils.checkpoint_utils import Checkpointer, enable_checkpoint


class Scalar(Algorithm):
    """An algorithm with one parameter w = 0."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(config=make_config(), **kwargs)
        self.w = nn.Parameter(torch.zeros(()))


class Node(Algorithm):
    """An algorithm whose attributes are given."""

    def __init__(self, ignore: tuple[str, ...] = (), optimizer: Any = None, **parts: Any) -> None:
        super().__init__(optimizer=optimizer, config=make_config(), name="node")
        self._ignore = ignore
        for name, part in parts.items():
            setattr(self, name, part)

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return list(self._ignore)


def linear() -> nn.Linear:
    return nn.Linear(1, 1, bias=False)


def trained_by(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


# ---- Gradient steps -------------------------------------------------------------------------


def test_masked_entries_count_in_the_mean_as_zeros() -> None:
    alg = Scalar(optimizer=SGD(lr=1.0))
    loss = alg.w * torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    mask = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    info = LossInfo(loss=loss, scalar_loss=10 * alg.w, extra={"a": torch.ones(2, 2)})
    info, params = alg.update_with_gradient(info, mask, weight=0.5)
    # 0.5 * ((1 + 2 + 0 + 4) / 4 + 10)
    assert alg.w.item() == -5.875
    assert info.extra["a"].item() == 0.75
    assert [name for name, _ in params] == ["w"]


def test_importance_weights_to_the_minus_beta_multiply_the_loss() -> None:
    alg = Scalar(optimizer=SGD(lr=1.0))
    alg._config.priority_replay_beta = 0.5
    batch = BatchInfo(importance_weights=torch.tensor([4.0, 1.0]))
    loss = alg.w * torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    alg.update_with_gradient(LossInfo(loss=loss), batch_info=batch)
    # (1 / 2 + 2 + 3 / 2 + 4) / 4
    assert alg.w.item() == -2.0


def test_importance_weights_can_be_divided_by_their_largest() -> None:
    alg = Scalar(optimizer=SGD(lr=1.0))
    alg._config.priority_replay_beta = 1.0
    alg._config.normalize_importance_weights_by_max = True
    batch = BatchInfo(importance_weights=torch.tensor([2.0, 4.0]))
    alg.update_with_gradient(LossInfo(loss=alg.w * torch.ones(1, 2)), batch_info=batch)
    # (1 + 0.5) / 2
    assert alg.w.item() == -0.75


@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 1, 1)])
def test_a_loss_of_other_shape_is_refused(shape: tuple[int, ...]) -> None:
    alg = Scalar(optimizer=SGD(lr=1.0))
    with pytest.raises(ValueError, match=r"allowed: \[T, B\]"):
        alg.update_with_gradient(LossInfo(loss=alg.w * torch.ones(shape)), torch.ones(2, 2))


def test_a_parameter_without_optimizer_is_named() -> None:
    alg = Node(a=linear(), b=linear())
    alg.add_optimizer(SGD(lr=1.0), [alg.a])
    with pytest.raises(ValueError, match=r"have no optimizer: b\.weight\."):
        alg.update_with_gradient(LossInfo(loss=alg.b(torch.ones(1, 1))))


def test_frozen_parameters_need_no_optimizer() -> None:
    alg = Node(a=linear(), b=linear(), optimizer=SGD(lr=1.0))
    alg.b.requires_grad_(False)
    alg.update_with_gradient(LossInfo(loss=alg.b(alg.a(torch.ones(1, 1)))))
    assert trained_by(alg.default_optimizer) == [alg.a.weight]


def test_calc_loss_wants_a_loss_info() -> None:
    with pytest.raises(ValueError, match="LossInfo"):
        Scalar().calc_loss(torch.ones(2, 2))


def test_loss_algorithm_weights_its_input() -> None:
    alg = Loss(loss_weight=2.0)
    step = alg.train_step(torch.full((3,), 1.5))
    assert alg.calc_loss(step.info).loss.tolist() == [3.0, 3.0, 3.0]


# ---- Optimizers -----------------------------------------------------------------------------


def test_each_optimizer_gets_what_no_nearer_one_claims() -> None:
    child = Node(net=linear(), extra=linear(), optimizer=Adam(lr=1.0, name="child"))
    orphan = Node(net=linear())
    root = Node(
        child=child,
        orphan=orphan,
        own=linear(),
        special=linear(),
        target=linear(),
        ignore=("target",),
        optimizer=Adam(lr=1.0, name="default"),
    )
    special = Adam(lr=1.0, name="special")
    root.add_optimizer(special, [root.special])
    entries = json.loads(root.get_optimizer_info())
    assert {e["optimizer"]: e["parameters"] for e in entries} == {
        "child": ["child.extra.weight", "child.net.weight"],
        "default": ["orphan.net.weight", "own.weight"],
        "special": ["special.weight"],
    }
    assert root.optimizers() == [root.default_optimizer, special, child.default_optimizer]
    assert root.optimizers(recurse=False) == [root.default_optimizer, special]


def test_an_ignored_algorithm_keeps_its_optimizer_to_itself() -> None:
    child = Node(net=linear(), optimizer=Adam(lr=1.0))
    root = Node(child=child, own=linear(), ignore=("child",), optimizer=Adam(lr=1.0))
    assert root.optimizers() == [root.default_optimizer]
    both = root.optimizers(include_ignored_attributes=True)
    assert both == [root.default_optimizer, child.default_optimizer]


def test_algorithms_in_module_lists_are_found() -> None:
    levels = nn.ModuleList([Node(net=linear(), optimizer=SGD(lr=1.0)), Node(net=linear())])
    root = Node(levels=levels, optimizer=SGD(lr=1.0))
    root._setup_optimizers()
    assert trained_by(levels[0].default_optimizer) == [levels[0].net.weight]
    assert trained_by(root.default_optimizer) == [levels[1].net.weight]


def test_a_visible_child_is_trained_by_its_parent_too() -> None:
    child = Node(net=linear(), optimizer=SGD(lr=1.0))
    child.force_params_visible_to_parent = True
    root = Node(child=child, optimizer=SGD(lr=1.0))
    root._setup_optimizers()
    assert trained_by(root.default_optimizer) == trained_by(child.default_optimizer)


def test_two_optimizers_for_one_parameter_are_refused() -> None:
    alg = Node(a=linear())
    alg.add_optimizer(SGD(lr=1.0, name="x"), [alg.a])
    alg.add_optimizer(SGD(lr=1.0, name="y"), [alg.a.weight])
    with pytest.raises(ValueError, match=r"'a\.weight' .* two optimizers: x and y"):
        alg._setup_optimizers()


def test_children_which_train_one_module_with_two_optimizers_are_refused() -> None:
    shared = linear()
    children = [Node(net=shared, optimizer=SGD(lr=1.0, name=n)) for n in "xy"]
    with pytest.raises(ValueError, match=r"trained by two optimizers: x of .* and y of"):
        Node(a=children[0], b=children[1])._setup_optimizers()


def test_one_optimizer_of_two_algorithms_trains_both_and_is_saved_once() -> None:
    def tree() -> Node:
        optimizer = SGD(lr=1.0, momentum=0.5, name="shared")
        child = Node(net=linear(), optimizer=optimizer)
        return Node(child=child, net=linear(), optimizer=optimizer)

    alg, other = tree(), tree()
    assert len(alg.optimizers()) == 1
    assert len(trained_by(alg.default_optimizer)) == 2
    loss = sum(p.sum() for p in alg.parameters())
    loss.backward()
    alg.optimizers()[0].step()
    other.optimizers()
    state = alg.state_dict()
    assert sum("_optimizers" in key for key in state) == 1
    result = other.load_state_dict(state)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    momentum = [s["momentum_buffer"].tolist() for s in other.default_optimizer.state.values()]
    assert len(momentum) == 2


@pytest.mark.parametrize("shape", ["two names", "cycle"])
def test_an_algorithm_reached_twice_counts_once(shape: str) -> None:
    child = Node(net=linear())
    if shape == "cycle":
        alg = Node(a=child, optimizer=SGD(lr=1.0))
        child.parent = alg
    else:
        alg = Node(a=child, b=child, optimizer=SGD(lr=1.0))
    alg._setup_optimizers()
    assert trained_by(alg.default_optimizer) == [child.net.weight]
    assert [key for key in alg.state_dict() if "_optimizers" not in key] == ["a.net.weight"]


def test_assignment_is_made_again_only_when_modules_change() -> None:
    alg = Node(a=linear(), optimizer=SGD(lr=1.0))
    first = alg._setup_optimizers()
    assert alg._setup_optimizers() is first
    alg.a.append = linear()
    assert alg._setup_optimizers() is not first
    assert trained_by(alg.default_optimizer) == [alg.a.weight, alg.a.append.weight]


def _replace(alg: Node) -> None:
    alg.child.a = linear()


def _freeze(alg: Node) -> None:
    alg.child.a.weight.requires_grad_(False)


def _exchange_a_parameter(alg: Node) -> None:
    alg.child.a.weight = nn.Parameter(torch.ones(1, 1))


def _add_an_optimizer(alg: Node) -> None:
    alg.child.add_optimizer(SGD(lr=2.0), [alg.child.a])


def _show_to_the_parent(alg: Node) -> None:
    alg.child.force_params_visible_to_parent = True


@pytest.mark.parametrize(
    "change", [_replace, _freeze, _exchange_a_parameter, _add_an_optimizer, _show_to_the_parent]
)
def test_assignment_is_made_again_after_each_kind_of_change(change: Callable) -> None:
    alg = Node(child=Node(a=linear(), b=linear(), optimizer=SGD(lr=1.0)), optimizer=SGD(lr=1.0))
    first = alg._setup_optimizers()
    assert alg._setup_optimizers() is first
    change(alg)
    assert alg._setup_optimizers() is not first


def test_a_copy_of_an_algorithm_trains_its_own_parameters() -> None:
    alg = Node(a=linear(), optimizer=SGD(lr=1.0))
    first = alg._setup_optimizers()
    other = copy.deepcopy(alg)
    assert other._setup_optimizers() is not first
    assert trained_by(other.default_optimizer) == [other.a.weight]
    assert alg._setup_optimizers() is first


def test_unoptimized_parameters_in_plain_containers_are_reported() -> None:
    alg = Node(a=linear(), hidden=[linear()], frozen=linear(), optimizer=SGD(lr=1.0))
    alg.frozen.requires_grad_(False)
    names = json.loads(alg.get_unoptimized_parameter_info())
    assert names == ["frozen.weight", "hidden.0.weight"]


def test_parameter_statistics_are_norms_mean_and_deviation() -> None:
    alg = Node(a=nn.Linear(2, 1, bias=False))
    alg.a.weight.data = torch.tensor([[3.0, -4.0]])
    assert alg.compute_paras_statistics()["a.weight"].tolist() == pytest.approx(
        [2.5, 3.5, -0.5, 3.5 * 2**0.5]
    )
    assert alg.get_param_name(alg.a.weight) == "a.weight"
    assert alg.get_param_name(nn.Parameter(torch.ones(()))) is None


# ---- State dicts ----------------------------------------------------------------------------


def test_a_shared_module_is_saved_under_its_first_path() -> None:
    shared = linear()
    alg = Node(first=nn.ModuleDict({"low": shared}), second=shared, child=Node(net=shared))
    assert list(alg.state_dict()) == ["first.low.weight"]
    other = copy.deepcopy(alg)
    shared.weight.data.fill_(7.0)
    assert other.load_state_dict(alg.state_dict()) == ([], [])
    assert other.second.weight.item() == 7.0
    assert other.second is other.first["low"]


def test_a_shared_parameter_is_saved_once() -> None:
    alg = Node(a=linear(), b=linear())
    alg.b.weight = alg.a.weight
    assert list(alg.state_dict()) == ["a.weight"]
    assert alg.load_state_dict(alg.state_dict()) == ([], [])


def test_cyclic_modules_are_saved_once() -> None:
    child = Node(net=linear(), ignore=("parent",), optimizer=SGD(lr=1.0))
    root = Node(child=child, own=linear(), optimizer=SGD(lr=1.0))
    child.parent = root
    keys = ["_optimizers.0", "child._optimizers.0", "child.net.weight", "own.weight"]
    assert sorted(root.state_dict()) == keys
    assert root.load_state_dict(root.state_dict()) == ([], [])


def test_an_algorithm_inside_a_plain_module_keeps_its_optimizer() -> None:
    holder = nn.ModuleDict({"alg": Node(net=linear(), optimizer=SGD(lr=1.0))})
    assert sorted(holder.state_dict()) == ["alg._optimizers.0", "alg.net.weight"]


def test_modules_of_torch_are_left_alone() -> None:
    layer = linear()
    assert layer.state_dict(keep_vars=True)["weight"] is layer.weight
    with pytest.raises(RuntimeError, match="Missing key"):
        layer.load_state_dict({})


def test_modules_without_checkpoint_are_left_out() -> None:
    alg = Node(a=linear(), b=nn.Sequential(linear()))
    full = alg.state_dict()
    enable_checkpoint(alg.b, False)
    assert list(alg.state_dict()) == ["a.weight"]
    # and what a checkpoint has of them is passed over
    assert alg.load_state_dict(full) == ([], [])


def test_strict_loading_names_missing_and_unexpected_keys() -> None:
    alg = Node(a=linear(), optimizer=SGD(lr=1.0))
    state = alg.state_dict()
    state["x.y"] = state.pop("a.weight")
    with pytest.raises(RuntimeError, match=r"missing keys: a\.weight; unexpected keys: x\.y"):
        alg.load_state_dict(state)
    assert alg.load_state_dict(state, strict=False) == (["a.weight"], ["x.y"])
    del state["_optimizers.0"]
    assert alg.load_state_dict(state, strict=False).missing_keys == ["_optimizers.0", "a.weight"]


def test_a_value_of_other_shape_is_refused_even_if_not_strict() -> None:
    alg = Node(a=linear())
    text = r"a\.weight is \[2, 2\] in the checkpoint and \[1, 1\] here$"
    with pytest.raises(RuntimeError, match=text):
        alg.load_state_dict({"a.weight": torch.ones(2, 2)}, strict=False)


def test_training_goes_on_exactly_after_loading() -> None:
    def step(alg: Algorithm) -> None:
        alg.update_with_gradient(LossInfo(loss=alg.net(torch.ones(1, 1)) ** 2))

    first = Node(net=linear(), optimizer=Adam(lr=0.1))
    for _ in range(3):
        step(first)
    second = Node(net=linear(), optimizer=Adam(lr=0.1))
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        step(first)
    alone = first.net.weight.item()
    for _ in range(3):
        step(second)
    assert second.net.weight.item() == alone
    # and the two do not share their moments
    assert first.net.weight.item() == alone


def test_batch_norm_and_extra_state_survive() -> None:
    class Extra(nn.Module):
        value = 0

        def get_extra_state(self) -> int:
            return self.value

        def set_extra_state(self, state: int) -> None:
            self.value = state

    alg = Node(norm=nn.BatchNorm1d(1), extra=Extra())
    alg.norm(torch.tensor([[1.0], [3.0]]))
    alg.extra.value = 5
    other = Node(norm=nn.BatchNorm1d(1), extra=Extra())
    assert other.load_state_dict(alg.state_dict()) == ([], [])
    assert other.norm.running_mean.item() == pytest.approx(0.2)
    assert other.extra.value == 5


@pytest.mark.parametrize("prefix", ["alg.child@", "algorithm.child@"])
def test_parameters_come_from_a_checkpoint_and_stay(tmp_path: Any, prefix: str) -> None:
    source = Node(child=Node(net=linear()), own=linear(), optimizer=Adam(lr=1.0))
    Checkpointer(str(tmp_path), algorithm=source).save(3)

    class Loaded(Node):
        def __init__(self, **kwargs: Any) -> None:
            Algorithm.__init__(self, config=make_config(), checkpoint=f"{prefix}{tmp_path}/ckpt-3")
            self._ignore = ()
            self.net = linear()

    loaded = Loaded()
    assert loaded.pre_loaded
    assert loaded.net.weight.item() == source.child.net.weight.item()
    loaded.load_state_dict({"net.weight": torch.full((1, 1), 9.0)})
    assert loaded.net.weight.item() == source.child.net.weight.item()
    loaded.load_state_dict({"net.weight": torch.full((1, 1), 9.0)}, skip_preloded=False)
    assert loaded.net.weight.item() == 9.0


def test_a_checkpoint_without_prefix_is_the_whole_algorithm(tmp_path: Any) -> None:
    source = Scalar()
    source.w.data.fill_(2.0)
    Checkpointer(str(tmp_path), algorithm=source).save(1)
    assert Scalar(checkpoint=f"{tmp_path}/ckpt-1").w.item() == 2.0


@pytest.mark.parametrize("prefix", ["", "alg@"])
def test_a_checkpoint_of_something_else_is_one_line_that_names_it(
    tmp_path: Any, prefix: str
) -> None:
    Checkpointer(str(tmp_path), alg=torch.nn.Linear(2, 2)).save(1)
    checkpoint = f"{prefix}{tmp_path}/ckpt-1"
    with pytest.raises(ValueError, match=r"^checkpoint='.*ckpt-1' of .*; allowed: ") as caught:
        Scalar(checkpoint=checkpoint)
    assert checkpoint in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- The rest -------------------------------------------------------------------------------


def test_post_init_runs_once_at_the_very_end() -> None:
    calls = []

    class A(Algorithm):
        def __init__(self) -> None:
            super().__init__()
            calls.append("A")

        def _post_init(self) -> None:
            super()._post_init()
            calls.append("post")

    class B(A):
        def __init__(self) -> None:
            super().__init__()
            calls.append("B")

    B()
    assert calls == ["A", "B", "post"]
    A()
    assert calls[3:] == ["A", "post"]


def test_initial_states_cannot_be_spoilt() -> None:
    alg = Algorithm(train_state_spec=TensorSpec((2,)))
    for get in (
        alg.get_initial_train_state,
        alg.get_initial_rollout_state,
        alg.get_initial_predict_state,
    ):
        get(3).add_(1.0)
        assert get(3).tolist() == [[0.0, 0.0]] * 3


def test_state_specs_follow_each_other() -> None:
    a, b = TensorSpec((1,)), TensorSpec((2,))
    assert Algorithm(train_state_spec=a).predict_state_spec is a
    assert Algorithm(train_state_spec=a, rollout_state_spec=b).predict_state_spec is b


def test_use_rollout_state_reaches_all_but_ignored_children() -> None:
    grandchild, ignored = Node(), Node()
    root = Node(child=Node(grandchild=grandchild), ignored=ignored, ignore=("ignored",))
    root.use_rollout_state = True
    assert grandchild.use_rollout_state
    assert not ignored.use_rollout_state


def test_on_policy_cannot_be_changed() -> None:
    alg = Algorithm(is_on_policy=True)
    with pytest.raises(ValueError, match=r"set_on_policy\(False\)"):
        alg.set_on_policy(False)


def test_an_algorithm_is_not_callable() -> None:
    with pytest.raises(ValueError, match="rollout_step"):
        Algorithm()(torch.ones(1))


def test_a_step_costs_no_walk_when_the_mode_is_right() -> None:
    alg = Node(a=nn.Dropout())
    alg._set_training(False)
    assert not alg.a.training
    alg.a.train()
    alg._set_training(False)
    assert alg.a.training
    alg._set_training(True)
    assert alg.training


def test_nan_in_a_loss_is_not_hidden_by_its_mask() -> None:
    alg = Scalar(optimizer=SGD(lr=1.0))
    before = alg.w.item()
    with pytest.raises(ValueError, match=r"'Algorithm', update at iteration .*: the loss is nan"):
        alg.update_with_gradient(
            LossInfo(loss=alg.w + torch.tensor([[math.nan, 1.0]])), torch.tensor([[0.0, 1.0]])
        )
    assert alg.w.item() == before
