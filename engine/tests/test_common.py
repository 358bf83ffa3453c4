"""alf.utils.common: target networks, periodic work, modes, states, files of a run."""

from __future__ import annotations

import math
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_rl import CountingEnv, TinyOffPolicy, TinyOnPolicy, make_config
from torch import nn

import alf
import alf.summary as summary
from alf.tensor_specs import BoundedTensorSpec
from alf.utils import common
from alf.utils.distributed import data_distributed


def parameter(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value))


# ---- Target networks ------------------------------------------------------------------------


def test_a_target_goes_a_fraction_of_the_way_at_every_period() -> None:
    model, target = parameter(0.0), parameter(5.0)
    update = common.TargetUpdater(model, target, tau=0.25, period=2)
    assert target.item() == 0.0
    model.data.fill_(8.0)
    values = []
    for _ in range(4):
        update()
        values.append(target.item())
    assert values == [0.0, 2.0, 2.0, 3.5]


def test_without_init_copy_a_target_keeps_its_start() -> None:
    target = parameter(5.0)
    common.TargetUpdater(parameter(0.0), target, init_copy=False)
    assert target.item() == 5.0


def test_a_delayed_target_follows_the_update_before() -> None:
    model, target = parameter(1.0), parameter(0.0)
    update = common.TargetUpdater(model, target, tau=1.0, delayed_update=True)
    values = []
    for value in (2.0, 3.0, 4.0):
        model.data.fill_(value)
        update()
        values.append(target.item())
    assert values == [1.0, 2.0, 3.0]


def test_buffers_follow_and_counts_are_copied() -> None:
    model, target = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    update = common.TargetUpdater([model], [target], tau=0.5)
    model.running_mean.fill_(4.0)
    model.num_batches_tracked.fill_(7)
    update()
    assert target.running_mean.item() == 2.0
    assert target.num_batches_tracked.item() == 7


def test_tau_may_be_scheduled() -> None:
    model, target, tau = parameter(0.0), parameter(0.0), [0.5]
    update = common.TargetUpdater(model, target, tau=lambda: tau[0])
    model.data.fill_(8.0)
    update()
    assert target.item() == 4.0
    tau[0] = 0.25
    update()
    assert target.item() == 5.0


def test_the_updater_owns_a_counter_and_no_models() -> None:
    update = common.TargetUpdater(nn.Linear(2, 2), nn.Linear(2, 2), period=3)
    update()
    assert {k: int(v) for k, v in update.state_dict().items()} == {"_counter": 1}
    other = common.TargetUpdater(nn.Linear(2, 2), nn.Linear(2, 2), period=3)
    other.load_state_dict(update.state_dict())
    calls = []
    other._follow = lambda *args: calls.append(1)
    other()
    assert calls == []
    other()
    assert calls == [1]


def test_models_and_targets_must_match() -> None:
    with pytest.raises(ValueError, match="1 models, but 2"):
        common.TargetUpdater(nn.Linear(1, 1), [nn.Linear(1, 1), nn.Linear(1, 1)])
    with pytest.raises(ValueError, match="shapes"):
        common.TargetUpdater(nn.Linear(1, 1), nn.Linear(2, 1))


def test_targets_get_no_gradient() -> None:
    model, target = nn.Linear(1, 1), nn.Linear(1, 1)
    common.TargetUpdater(model, target, tau=0.5)()
    assert all(p.grad_fn is None and p.grad is None for p in target.parameters())


# ---- Periodic work --------------------------------------------------------------------------


def test_a_body_runs_at_every_period_th_call() -> None:
    calls = []
    every = common.Periodically(lambda: calls.append(len(calls)), period=3)
    for _ in range(7):
        every()
    assert len(calls) == 2


def test_no_period_is_never() -> None:
    calls: list[int] = []
    every = common.Periodically(lambda: calls.append(1), period=None)
    every()
    assert calls == []
    with pytest.raises(ValueError, match="period is 0"):
        common.Periodically(lambda: None, period=0)


def test_a_reset_draws_new_weights_and_restores_the_rest() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    scale = parameter(3.0)
    calls: list[int] = []
    reset = common.PeriodicReset([net, scale], period=2, post_processings=[lambda: calls.append(1)])
    first = net[0].weight.detach().clone()
    scale.data.fill_(9.0)
    net[1].running_mean.fill_(5.0)
    reset()
    assert torch.equal(net[0].weight, first)
    reset()
    assert not torch.equal(net[0].weight, first)
    assert scale.item() == 3.0
    assert net[1].running_mean.tolist() == [0.0] * 4
    assert calls == [1]


# ---- Modes ----------------------------------------------------------------------------------


def test_modes_nest_and_come_back_after_errors() -> None:
    @common.mark_replay
    def fail() -> None:
        assert common.is_replay()
        raise KeyError

    with common.rollout_context():
        with common.eval_context():
            assert common.is_eval()
        assert common.is_rollout()
        with pytest.raises(KeyError):
            fail()
        assert common.exe_mode_name() == "rollout"
    assert common.exe_mode_name() == "other"
    with pytest.raises(ValueError, match="mode is 9"):
        common.set_exe_mode(9)


def test_training_means_replay_or_on_policy_rollout() -> None:
    off, on = TinyOffPolicy(), TinyOnPolicy()
    with common.rollout_context():
        assert common.is_training(on)
        assert not common.is_training(off)
    with common.replay_context():
        assert common.is_training(off)
        assert not common.is_training(on)
    with common.pretrain_context():
        assert common.is_training(off)


# ---- States and time steps ------------------------------------------------------------------


def test_only_the_masked_rows_are_reset() -> None:
    state = {"a": torch.ones(3, 2), "b": (), "c": torch.tensor([5, 6, 7])}
    zeros = {"a": torch.zeros(3, 2), "b": (), "c": torch.zeros(3, dtype=torch.int64)}
    mask = torch.tensor([False, True, False])
    result = common.reset_state_if_necessary(state, zeros, mask)
    assert result["a"].tolist() == [[1, 1], [0, 0], [1, 1]]
    assert result["b"] == ()
    assert result["c"].tolist() == [5, 0, 7]


def test_axes_are_added_at_the_end_or_at_the_front() -> None:
    x, y = torch.zeros(3), torch.zeros(3, 4, 5)
    assert common.expand_dims_as(x, y).shape == (3, 1, 1)
    assert common.expand_dims_as(x, y, end=False).shape == (1, 1, 3)
    with pytest.raises(ValueError, match="3 axes"):
        common.expand_dims_as(y, x)


def test_detach_cuts_tensors_and_distributions() -> None:
    w = torch.ones(3, requires_grad=True)
    nest = {"x": 2 * w, "d": torch.distributions.Normal(3 * w, torch.ones(3)), "n": ()}
    result = common.detach(nest)
    assert not result["x"].requires_grad
    assert not result["d"].mean.requires_grad
    assert result["d"].mean.tolist() == [3.0] * 3
    assert result["n"] == ()


def test_the_first_time_step_knows_its_environments() -> None:
    time_step = common.get_initial_time_step(CountingEnv(), first_env_id=10)
    assert time_step.env_id.tolist() == [10, 11]


# ---- Settings -------------------------------------------------------------------------------


def test_intervals_divide_the_run() -> None:
    config = make_config(num_iterations=1000)
    assert common.compute_summary_or_eval_interval(config, 3) == 334
    assert common.compute_summary_or_eval_interval(config, 5000) == 1
    config = make_config(
        num_iterations=1000, update_counter_every_mini_batch=True, num_updates_per_train_iter=4
    )
    assert common.compute_summary_or_eval_interval(config, 10) == 400


def test_intervals_of_environment_steps_count_the_environments_there_are() -> None:
    steps: dict[str, Any] = {"num_iterations": 0, "num_env_steps": 12_000}
    config = make_config(**steps, unroll_length=2)
    queued = make_config(**steps, unroll_length=0, async_unroll=True, max_unroll_length=4)
    alf.reset_configs()
    try:
        alf.config("create_environment", num_parallel_environments=3)
        assert common.compute_summary_or_eval_interval(config, 10) == 200
        assert common.compute_summary_or_eval_interval(queued, 10) == 100
        alf.config("create_environment", nonparallel=True, raise_if_used=False)
        assert common.compute_summary_or_eval_interval(config, 10) == 600
    finally:
        alf.reset_configs()


def test_a_target_entropy_is_that_of_a_uniform_choice_among_a_part_of_the_actions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = BoundedTensorSpec((), torch.int64, 0, 19)
    monkeypatch.setattr(common, "get_action_spec", lambda: spec)
    assert common.active_action_target_entropy(0.25) == pytest.approx(math.log(5))
    assert common.active_action_target_entropy(0.05, min_entropy=0.3) == 0.3
    with pytest.raises(ValueError, match=r"active_action_portion is 0\.0"):
        common.active_action_target_entropy(0.0)


def test_epsilon_comes_from_the_config() -> None:
    assert common.get_epsilon_greedy(make_config(epsilon_greedy=0.25)) == 0.25
    assert common.get_epsilon_greedy(None) == 0.0


def test_a_seed_fixes_all_generators() -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002

    try:
        assert common.set_random_seed(5) == 5
        first = draw()
        common.set_random_seed(5)
        assert draw() == first
        assert common.set_random_seed(None) != common.set_random_seed(None)
    finally:
        torch.use_deterministic_algorithms(False)


# ---- Summaries and log ----------------------------------------------------------------------


@pytest.mark.parametrize(("first", "expected"), [(True, [0, 1, 2, 3, 6]), (False, [0, 3, 6])])
def test_summaries_are_recorded_every_interval(
    tmp_path: Path, first: bool, expected: list[int]
) -> None:
    steps = []

    def func() -> None:
        for step in range(8):
            summary.set_global_counter(step)
            if summary.should_record_summaries():
                steps.append(step)

    summary.enable_summary()
    try:
        common.run_under_record_context(func, str(tmp_path), 3, 1, summarize_first_interval=first)
    finally:
        summary.disable_summary()
        summary.reset_global_counter()
    assert steps == expected


def test_a_warning_is_given_once(monkeypatch: Any) -> None:
    lines: list[Any] = []
    monkeypatch.setattr("absl.logging.log", lambda *args: lines.append(args[-1]))
    for value in (1, 1, 2):
        common.warning_once("a test of %d", value)
    assert lines == ["a test of 1", "a test of 2"]


# ---- Images, numbers, parameters ------------------------------------------------------------


def test_images_are_scaled_where_asked_for() -> None:
    observation = {"image": torch.tensor([0, 255], dtype=torch.uint8), "x": torch.tensor([3])}
    result = common.image_scale_transformer(observation, fields=["image"])
    assert result["image"].tolist() == [-1.0, 1.0]
    assert result["x"].tolist() == [3]
    assert common.cast_transformer(observation)["image"].dtype == torch.float32


def test_a_value_that_is_not_finite_is_found() -> None:
    common.check_numerics({"a": torch.ones(2), "b": torch.ones(2, dtype=torch.int64)})
    with pytest.raises(ValueError, match="1 of 2 values of b"):
        common.check_numerics({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])})


def test_parameters_are_found_in_plain_containers() -> None:
    module = nn.Module()
    module.hidden = [{"x": nn.Linear(1, 1, bias=False)}]
    module.own = parameter(1.0)
    names = [name for name, _ in common.get_all_parameters(module)]
    assert names == ["own", "hidden.0.x.weight"]


def test_parameters_are_found_in_a_plain_object_that_holds_modules() -> None:
    class Plain:
        def __init__(self) -> None:
            self.net = nn.Linear(1, 1, bias=False)
            self.more = {"a": [nn.Linear(2, 1, bias=False)]}
            self.number = 3

    names = [name for name, _ in common.get_all_parameters(Plain())]
    assert names == ["net.weight", "more.a.0.weight"]


def test_small_helpers() -> None:
    class A:
        pass

    @common.add_method(A)
    def two(self: A) -> int:
        return 2

    assert A().two() == 2
    assert common.as_list(3) == [3]
    assert common.as_list((1, 2)) == [1, 2]
    assert common.tuplify2d(3) == (3, 3)
    assert common.tuplify2d([1, 2]) == (1, 2)
    ports = common.get_unused_port(20000, n=3)
    assert len(set(ports)) == 3
    assert "test_small_helpers" in common.call_stack()[-1]


# ---- Files of a run -------------------------------------------------------------------------


def test_the_saved_configuration_is_found(tmp_path: Path) -> None:
    assert common.get_conf_file(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError, match=r"alf_config\.py"):
        common.read_conf_file(str(tmp_path))
    path = tmp_path / common.ALF_CONFIG_FILE
    path.write_text("import alf\n")
    assert common.get_conf_file(str(tmp_path)) == str(path)
    assert common.read_conf_file(str(tmp_path)) == "import alf\n"


def test_a_snapshot_has_the_code_and_can_be_unpacked(tmp_path: Path, monkeypatch: Any) -> None:
    source = tmp_path / "src"
    (source / "alf" / "__pycache__").mkdir(parents=True)
    (source / "alf" / "__init__.py").write_text("x = 1\n")
    (source / "alf" / "__pycache__" / "a.pyc").write_text("")
    (source / "alf" / "big.bin").write_text("")
    extra = tmp_path / "extra" / "mod"
    extra.mkdir(parents=True)
    (extra / "__init__.py").write_text("")
    monkeypatch.setenv("ALF_SNAPSHOT_REPO_ROOTS", f"mod={extra.parent}")
    root = tmp_path / "run"
    common.generate_alf_snapshot(str(source), "", str(root))
    with tarfile.open(root / "alf.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["alf", "alf/__init__.py"]
    target = Path(common.unzip_alf_snapshot(str(root)))
    assert (target / "alf" / "__init__.py").read_text() == "x = 1\n"
    assert (target / "mod" / "__init__.py").is_file()
    assert common.get_alf_snapshot_env_vars(str(root))["PYTHONPATH"].startswith(str(target))
    monkeypatch.setenv("ALF_SNAPSHOT_REPO_ROOTS", "mod=/nowhere")
    with pytest.raises(ValueError, match="mod=/nowhere"):
        common.snapshot_repo_roots()


def test_a_snapshot_does_not_go_into_the_package(tmp_path: Path) -> None:
    (tmp_path / "alf").mkdir()
    with pytest.raises(ValueError, match="choose a root_dir outside"):
        common.generate_alf_snapshot(str(tmp_path), "", str(tmp_path / "alf" / "run"))


def test_the_root_of_this_package_is_known() -> None:
    assert common.is_repo_root(common.alf_root(), "alf")
    assert not common.is_repo_root("/", "alf")


# ---- Data parallel --------------------------------------------------------------------------


def test_gradients_are_averaged_over_processes(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = parameter(2.0)

        @data_distributed
        def loss(self, x: torch.Tensor) -> torch.Tensor:
            return self.w * x

    net = Net()
    net.loss(torch.tensor(3.0)).backward()
    assert net.w.grad.item() == 3.0
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        net._ddp_activated_rank = 0
        net.w.grad = None
        net.loss(torch.tensor(5.0)).backward()
        assert net.w.grad.item() == 5.0
        assert list(net.state_dict()) == ["w"]
    finally:
        net.__dict__.pop("_ddp_performers", None)
        torch.distributed.destroy_process_group()
