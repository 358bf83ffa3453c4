"""Optimizers that are filled later."""

from __future__ import annotations

import copy

import pytest
import torch

import alf
from alf.optimizers import SGD, Adam, AdamTF, AdamW, NeroPlus
from alf.optimizers.trusted_updater import TrustedUpdater
from alf.optimizers.utils import GradientNoiseScaleEstimator, get_opt_arg
from alf.utils.schedulers import LinearScheduler, update_progress

ALL = [Adam, AdamW, AdamTF, SGD]


def parameters(seed: int = 0) -> list[torch.nn.Parameter]:
    g = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=g)) for s in [(3, 4), (5,), ()]]


def set_grads(params, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=g)


def run(optimizer, params, steps: range) -> list[torch.Tensor]:
    for i in steps:
        set_grads(params, i)
        optimizer.step()
    return [p.detach().clone() for p in params]


def assert_all_close(a, b, **kwargs) -> None:
    for x, y in zip(a, b, strict=True):
        assert torch.allclose(x, y, **kwargs), (x, y)


@pytest.mark.parametrize(
    ("ours", "theirs", "kwargs"),
    [
        (Adam, torch.optim.Adam, {"lr": 0.1}),
        (Adam, torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True, "eps": 1e-3}),
        (AdamW, torch.optim.AdamW, {"lr": 0.1}),
        (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    ],
)
def test_steps_are_those_of_torch(ours, theirs, kwargs):
    params, others = parameters(), parameters()
    optimizer = ours(**kwargs)
    optimizer.add_param_group({"params": params})
    expected = run(theirs(others, **kwargs), others, range(5))
    assert_all_close(run(optimizer, params, range(5)), expected, atol=1e-6)


@pytest.mark.parametrize("cls", ALL)
def test_without_parameters_there_is_one_empty_group(cls):
    optimizer = cls(lr=0.1)
    assert [g["params"] for g in optimizer.param_groups] == [[]]
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("cls", ALL)
def test_training_goes_on_exactly_after_save_and_load(cls, tmp_path):
    kwargs = {"momentum": 0.9} if cls is SGD else {"amsgrad": True}
    params = parameters()
    optimizer = cls(lr=0.1, gradient_clipping=1.0, **kwargs)
    optimizer.add_param_group({"params": params})
    run(optimizer, params, range(3))
    torch.save(optimizer.state_dict(), tmp_path / "optimizer")
    resumed = [torch.nn.Parameter(p.detach().clone()) for p in params]
    other = cls(lr=0.1, gradient_clipping=1.0, **kwargs)
    other.add_param_group({"params": resumed})
    other.load_state_dict(torch.load(tmp_path / "optimizer", weights_only=True))
    expected = run(optimizer, params, range(3, 6))
    for x, y in zip(run(other, resumed, range(3, 6)), expected, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("cls", [Adam, AdamW, AdamTF, SGD])
def test_moments_of_other_shapes_are_refused(cls):
    def trained(shape):
        param = torch.nn.Parameter(torch.ones(shape))
        optimizer = cls(lr=0.1, **({"momentum": 0.9} if cls is SGD else {}))
        optimizer.add_param_group({"params": [param]})
        param.grad = torch.ones(shape)
        optimizer.step()
        return optimizer

    state = trained((4, 2)).state_dict()
    with pytest.raises(ValueError, match=r"of parameter 0 has shape \(4, 2\).* here \(4, 3\)"):
        trained((4, 3)).load_state_dict(state)
    trained((4, 2)).load_state_dict(state)


@pytest.mark.parametrize("cls", ALL)
def test_a_copy_keeps_its_settings(cls):
    optimizer = cls(lr=0.25, gradient_clipping=2.0, clip_by_global_norm=True, name="mine")
    other = copy.deepcopy(optimizer)
    params = parameters()
    other.add_param_group({"params": params})
    set_grads(params, 0)
    for p in params:
        p.grad.mul_(1000)
    other.step()
    norm = torch.cat([p.grad.flatten() for p in params]).norm()
    assert norm == pytest.approx(2.0, rel=1e-5)
    assert other.name == "mine"
    assert len(optimizer.param_groups) == 1


def test_adam_tf_by_hand():
    p = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = AdamTF(lr=0.1, eps=0.01)
    optimizer.add_param_group({"params": [p]})
    p.grad = torch.tensor([0.5])
    optimizer.step()
    # m = 0.05, v = 0.00025, lr_1 = 0.1 * sqrt(0.001) / 0.1
    first = 1 - 0.001**0.5 * 0.05 / (0.00025**0.5 + 0.01)
    assert p.item() == pytest.approx(first, rel=1e-5)
    p.grad = torch.tensor([-1.0])
    optimizer.step()
    m, v = 0.9 * 0.05 - 0.1, 0.999 * 0.00025 + 0.001
    lr = 0.1 * (1 - 0.999**2) ** 0.5 / (1 - 0.9**2)
    assert p.item() == pytest.approx(first - lr * m / (v**0.5 + 0.01), rel=1e-5)
    optimizer.reset_state()
    assert not optimizer.state


def test_adam_tf_with_tiny_epsilon_is_adam():
    params, others = parameters(), parameters()
    kwargs = {"lr": 0.1, "eps": 1e-12, "weight_decay": 0.1, "amsgrad": False}
    optimizer = AdamTF(**kwargs)
    optimizer.add_param_group({"params": params})
    expected = run(torch.optim.Adam(others, **kwargs), others, range(5))
    assert_all_close(run(optimizer, params, range(5)), expected, atol=1e-5)


def test_parameters_without_gradient_stay():
    for cls in ALL:
        params = parameters()
        before = params[0].detach().clone()
        optimizer = cls(lr=0.1, gradient_clipping=1.0)
        optimizer.add_param_group({"params": params})
        params[1].grad = torch.ones(5)
        optimizer.step()
        assert torch.equal(params[0], before)
        assert not torch.equal(params[1], parameters()[1])


@pytest.mark.parametrize("by_global_norm", [False, True])
def test_gradients_are_clipped_together_or_one_by_one(by_global_norm):
    params = parameters()
    optimizer = SGD(lr=0.0, gradient_clipping=2.0, clip_by_global_norm=by_global_norm)
    optimizer.add_param_group({"params": params[:1]})
    optimizer.add_param_group({"params": params[1:]})
    params[0].grad = torch.zeros(3, 4)
    params[0].grad[0, 0] = 3.0
    params[1].grad = torch.tensor([0.0, 4.0, 0.0, 0.0, 0.0])
    params[2].grad = torch.tensor(0.0)
    optimizer.step()
    norms = [p.grad.norm().item() for p in params]
    assert norms == pytest.approx([1.2, 1.6, 0.0] if by_global_norm else [2.0, 2.0, 0.0])


def test_small_gradients_are_not_scaled_up():
    params = parameters()
    optimizer = SGD(lr=0.0, gradient_clipping=100.0)
    optimizer.add_param_group({"params": params})
    set_grads(params, 0)
    before = [p.grad.clone() for p in params]
    optimizer.step()
    assert_all_close([p.grad for p in params], before)


def test_learning_rate_follows_its_schedule():
    p = torch.nn.Parameter(torch.zeros(()))
    optimizer = SGD(lr=LinearScheduler("iterations", [(0, 1.0), (10, 0.0)]))
    optimizer.add_param_group({"params": [p]})
    try:
        for iteration, expected in [(0, -1.0), (5, -1.5), (10, -1.5)]:
            update_progress("iterations", iteration)
            p.grad = torch.ones(())
            optimizer.step()
            assert p.item() == pytest.approx(expected)
    finally:
        update_progress("iterations", 0)


def test_options_of_parameters_and_groups_win_over_the_schedule():
    params = parameters()
    params[1].opt_args = {"lr": 10.0}
    optimizer = SGD(lr=1.0)
    optimizer.add_param_group({"params": params[:2]})
    optimizer.add_param_group({"params": params[2:], "lr": 100.0})
    before = [p.detach().clone() for p in params]
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    change = [(b - p).mean().item() for b, p in zip(before, params, strict=True)]
    assert change == pytest.approx([1.0, 10.0, 100.0], rel=1e-4)
    assert get_opt_arg(params[1], "lr") == 10.0
    assert get_opt_arg(params[0], "lr", 7) == 7


def test_a_learning_rate_set_anew_survives_loading():
    old, new = Adam(lr=1.0), Adam(lr=0.5)
    for optimizer in (old, new):
        optimizer.add_param_group({"params": parameters()})
    new.load_state_dict(old.state_dict())
    assert [g["lr"] for g in new.param_groups] == [0.5, 0.5]


def test_closure_is_evaluated_before_clipping():
    p = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = SGD(lr=1.0, gradient_clipping=1.0)
    optimizer.add_param_group({"params": [p]})

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert p.item() == pytest.approx(2.0)


def test_unknown_particle_methods_are_refused():
    with pytest.raises(ValueError, match="parvi"):
        Adam(lr=0.1, parvi="minmax")


def test_settings_come_from_the_configuration():
    alf.reset_configs()
    alf.config("Adam", gradient_clipping=3.0)
    try:
        assert Adam(lr=0.1)._gradient_clipping == 3.0
    finally:
        alf.reset_configs()
    with pytest.raises(ValueError, match="gradient_clipping"):
        Adam(gradient_clipping=-1.0)


def test_a_step_is_shortened_until_its_change_is_allowed():
    p, q = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    updater = TrustedUpdater([p, q])
    with torch.no_grad():
        p.copy_(torch.tensor([3.0, 4.0]))
        q.fill_(1.0)

    def change():
        return {"p": p.norm() ** 2, "q": q.norm()}

    before, trials = updater.adjust_step(change, {"p": 1.0, "q": 100.0})
    assert before["p"] == pytest.approx(25.0)
    assert trials > 0
    assert p.norm() ** 2 <= 1.0
    assert torch.allclose(p / p.norm(), torch.tensor([0.6, 0.8]))
    # 0.9 of the way that would be allowed if the change were proportional: 1 / 25, then it fits
    assert p.norm().item() == pytest.approx(5 * 0.9 / 25)
    assert updater.adjust_step(change, {"p": 25.0, "q": 100.0})[1] == 0


def test_changes_are_absolute_and_hopeless_ones_are_refused():
    p = torch.nn.Parameter(torch.zeros(1))
    updater = TrustedUpdater([p])
    with torch.no_grad():
        p.sub_(4.0)
    change, trials = updater.adjust_step(lambda: p.detach()[0].clone(), 1.0)
    assert (float(change), trials) == (-4.0, 1)
    assert p.item() == pytest.approx(-4 * 0.9 / 4)
    before = p.item()
    with torch.no_grad():
        p.add_(1.0)
    with pytest.raises(ValueError, match="change is still"):
        updater.adjust_step(lambda: torch.tensor(5.0), 1.0)
    assert p.item() == before


def _steps(optimizer, params, count=3):
    optimizer.add_param_group({"params": params})
    for i in range(count):
        for p in params:
            p.grad = torch.sin(torch.arange(p.numel()) * 1.7 + i).reshape(p.shape)
        optimizer.step()


@pytest.mark.parametrize("cls", [Adam, AdamTF, AdamW, SGD])
def test_a_fixed_norm_stays_and_the_direction_learns(cls):
    p, q = (torch.nn.Parameter(torch.randn(3, 2)) for _ in range(2))
    p.opt_args = {"fixed_norm": True}
    start, norm = p.detach().clone(), p.norm().item()
    _steps(cls(lr=0.1), [p, q])
    assert p.norm().item() == pytest.approx(norm, rel=1e-5)
    assert (p - start).abs().max() > 0.01
    assert q.norm().item() != pytest.approx(norm, rel=1e-3)


@pytest.mark.parametrize("cls", [Adam, AdamTF, AdamW, SGD, NeroPlus])
def test_a_smaller_capacity_trains_the_same_part_of_each_parameter(cls):
    options = {"weight_decay": 0.1} if cls is not SGD else {"momentum": 0.9}
    make = lambda: cls(lr=0.1, capacity_ratio=0.25, min_capacity=100, **options)  # noqa: E731
    large, small = torch.nn.Parameter(torch.ones(4000)), torch.nn.Parameter(torch.ones(100))
    _steps(make(), [large, small])
    moved = large != 1
    assert moved.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (small != 1).all()  # at least 100 elements of each
    again = torch.nn.Parameter(torch.ones(4000))
    _steps(make(), [again, torch.nn.Parameter(torch.ones(100))], 1)
    assert torch.equal(again != 1, moved)  # after a restart and in other processes too
    copied = copy.deepcopy(make())
    assert copied._capacity is not None
    _steps(copied, [again], 1)


def test_elements_out_of_capacity_have_their_value_and_capacity_may_grow():
    progress = [0.25]
    optimizer = SGD(
        lr=1.0, capacity_ratio=lambda: progress[0], min_capacity=1, masked_out_value=7.0
    )
    p = torch.nn.Parameter(torch.zeros(1000))
    optimizer.add_param_group({"params": [p]})

    def step():
        p.grad = torch.ones(1000)
        optimizer.step()
        return p != 7.0

    first = step()
    assert p.unique().tolist() == [-1.0, 7.0]
    progress[0] = 0.5
    second = step()
    assert (first & ~second).sum() == 0
    assert second.float().mean().item() == pytest.approx(0.5, abs=0.05)
    progress[0] = 1.0
    assert step().all()


def test_an_option_that_would_do_nothing_is_refused():
    p = torch.nn.Parameter(torch.zeros(2))
    p.opt_args = {"fixd_norm": True}
    with pytest.raises(ValueError, match=r"opt_args has 'fixd_norm'; allowed: .*fixed_norm"):
        Adam(lr=0.1).add_param_group({"params": [p]})
    p.opt_args = {"zero_mean": False, "weight_decay": 0.1}  # of NeroPlus, and its own
    Adam(lr=0.1).add_param_group({"params": [p]})


def test_settings_of_an_optimizer_are_given_by_name():
    with pytest.raises(TypeError):
        Adam(0.1)  # would be the clipping of gradients
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match="capacity_ratio"):
            SGD(lr=0.1, capacity_ratio=wrong)


def test_noise_scale_is_that_of_known_gradients():
    """Gradients with mean g and covariance s^2 I: the noise scale is n s^2 / |g|^2."""
    torch.manual_seed(0)
    w = torch.nn.Parameter(torch.zeros(10))
    estimator = GradientNoiseScaleEstimator(batch_size_ratio=0.2, update_rate=0.01)
    for _ in range(800):
        x = 1.0 + 2.0 * torch.randn(40, 10)
        scale = estimator(x @ w, [w])
    assert scale.item() == pytest.approx(10 * 4 / 10, rel=0.3)
    with pytest.raises(ValueError, match="mode"):
        GradientNoiseScaleEstimator(mode="other")
