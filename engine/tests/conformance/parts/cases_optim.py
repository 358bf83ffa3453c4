"""``alf.optimizers``: steps on fixed gradients, clipping, schedules, particles, trajectories."""

import math

import torch
import torch.nn as nn
from harness import case, fill, pattern, refuses

import alf
from alf import layers


def x(*shape):
    return pattern(shape, 1.0, phase=0.7)


def parameters():
    """A matrix and a vector with fixed values."""
    return [nn.Parameter(pattern((3, 2), 0.5)), nn.Parameter(pattern((3,), 0.5, 1.0))]


def steps(optimizer, count=3, params=None, scale=1.0, group=None):
    """The parameters after ``count`` steps with gradients that change by step."""
    params = params or parameters()
    optimizer.add_param_group(dict(group or {}, params=params))
    for i in range(count):
        for p in params:
            p.grad = pattern(p.shape, scale * (i + 1), phase=0.2 + i)
        optimizer.step()
    return [p.detach().clone() for p in params]


@case("optimizers.Adam.three_steps")
def _():
    return steps(alf.optimizers.Adam(lr=0.1))


@case("optimizers.Adam.default_learning_rate_eps_betas")
def _():
    d = alf.optimizers.Adam().defaults
    return [d["lr"], list(d["betas"]), d["eps"], d["weight_decay"], d["amsgrad"]]


@case("optimizers.Adam.amsgrad_weight_decay")
def _():
    return steps(alf.optimizers.Adam(lr=0.1, amsgrad=True, weight_decay=0.2))


@case("optimizers.AdamW.three_steps")
def _():
    return steps(alf.optimizers.AdamW(lr=0.1, weight_decay=0.2))


@case("optimizers.AdamW.defaults")
def _():
    d = alf.optimizers.AdamW().defaults
    return [d["lr"], list(d["betas"]), d["eps"], d["weight_decay"], d["amsgrad"]]


@case("optimizers.AdamW.amsgrad")
def _():
    return steps(alf.optimizers.AdamW(lr=0.1, amsgrad=True), 4)


@case("optimizers.SGD.momentum")
def _():
    return steps(alf.optimizers.SGD(lr=0.1, momentum=0.9))


@case("optimizers.SGD.nesterov_weight_decay")
def _():
    return steps(alf.optimizers.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1))


@case("optimizers.AdamTF.three_steps")
def _():
    """Epsilon is added as in TensorFlow ("epsilon hat")."""
    return steps(alf.optimizers.AdamTF(lr=0.1, eps=0.1))


@case("optimizers.AdamTF.defaults")
def _():
    d = alf.optimizers.AdamTF().defaults
    return [d["lr"], list(d["betas"]), d["eps"], d["weight_decay"], d["amsgrad"]]


@case("optimizers.AdamTF.weight_decay_amsgrad")
def _():
    return steps(alf.optimizers.AdamTF(lr=0.1, weight_decay=0.2, amsgrad=True))


@case("optimizers.AdamTF.weight_decay_of_one_parameter")
def _():
    p = parameters()
    p[0].opt_args = {"weight_decay": 0.5}
    return steps(alf.optimizers.AdamTF(lr=0.1), params=p)


@case("optimizers.fixed_norm_of_one_parameter")
def _():
    """The Frobenius norm of that parameter stays what it was."""
    p = parameters()
    p[0].opt_args = {"fixed_norm": True}
    before = p[0].norm().item()
    after = steps(alf.optimizers.Adam(lr=0.1), params=p)
    return [before, after[0].norm(), after]


def normalized(**options):
    p = parameters()
    m = nn.ParameterList(p)
    (
        alf.optimizers.nero_plus.NeroPlus.initialize(m, **options)
        if hasattr(alf.optimizers, "nero_plus")
        else alf.optimizers.NeroPlus.initialize(m, **options)
    )
    return p


@case("optimizers.NeroPlus.initialize")
def _():
    return [p.detach() for p in normalized()]


@case("optimizers.NeroPlus.three_steps")
def _():
    return steps(alf.optimizers.NeroPlus(lr=0.1), params=normalized())


@case("optimizers.NeroPlus.normalizing_grad_by_norm")
def _():
    return steps(
        alf.optimizers.NeroPlus(lr=0.1, normalizing_grad_by_norm=True), params=normalized()
    )


@case("optimizers.NeroPlus.max_norm_not_fixed")
def _():
    o = dict(max_norm=0.8, fixed_norm=False, zero_mean=False)
    return steps(alf.optimizers.NeroPlus(lr=0.1, **o), params=normalized(**o))


@case("optimizers.NeroPlus.weight_decay_and_l2")
def _():
    o = dict(max_norm=math.inf, fixed_norm=False, zero_mean=False)
    return steps(
        alf.optimizers.NeroPlus(lr=0.1, weight_decay=0.1, l2_regularization=0.1, **o),
        params=normalized(**o),
    )


@case("optimizers.NeroPlus.beta1_zero")
def _():
    return steps(alf.optimizers.NeroPlus(lr=0.1, betas=(0.0, 0.9)), params=normalized())


@case("optimizers.NeroPlus.opt_args_of_a_parameter")
def _():
    p = parameters()
    p[0].opt_args = dict(fixed_norm=False, max_norm=math.inf, zero_mean=False, lr_scale=0.5)
    p[1].opt_args = dict(lr=0.01)
    return steps(alf.optimizers.NeroPlus(lr=0.1), params=p)


@case("optimizers.NeroPlus.not_initialized_is_refused")
def _():
    return refuses(steps, alf.optimizers.NeroPlus(lr=0.1))


@case("optimizers.clipping.each_gradient")
def _():
    return steps(alf.optimizers.SGD(lr=1.0, gradient_clipping=0.5), 1)


@case("optimizers.clipping.global_norm")
def _():
    return steps(alf.optimizers.SGD(lr=1.0, gradient_clipping=0.5, clip_by_global_norm=True), 1)


@case("optimizers.clipping.below_the_threshold")
def _():
    return steps(alf.optimizers.SGD(lr=1.0, gradient_clipping=1e3, clip_by_global_norm=True), 1)


@case("optimizers.clipping.two_groups_share_one_global_norm")
def _():
    o = alf.optimizers.SGD(lr=1.0, gradient_clipping=0.5, clip_by_global_norm=True)
    a, b = parameters()
    o.add_param_group({"params": [a]})
    o.add_param_group({"params": [b]})
    for p in (a, b):
        p.grad = pattern(p.shape, 1.0)
    o.step()
    return [a, b]


@case("optimizers.lr_scheduler.is_called_each_step")
def _():
    from alf.utils import schedulers

    s = schedulers.LinearScheduler("percent", [(0, 1.0), (1.0, 0.0)])
    o = alf.optimizers.SGD(lr=s)
    p = nn.Parameter(torch.zeros(1))
    o.add_param_group({"params": [p]})
    out = []
    for v in (0, 0.25, 0.5, 1.0):
        schedulers.update_progress("percent", v)
        p.grad = torch.ones(1)
        o.step()
        out.append(p.item())
    schedulers.update_progress("percent", 0)
    return out


@case("optimizers.lr.of_one_group")
def _():
    return steps(alf.optimizers.SGD(lr=1.0), 1, group={"lr": 0.1})


@case("optimizers.parameter_without_gradient")
def _():
    o = alf.optimizers.Adam(lr=0.1, gradient_clipping=1.0)
    a, b = parameters()
    o.add_param_group({"params": [a, b]})
    a.grad = pattern(a.shape)
    o.step()
    return [a, b]


@case("optimizers.names")
def _():
    return alf.optimizers.Adam(lr=0.1, name="mine").name


@case("optimizers.positional_arguments_are_refused")
def _():
    return refuses(alf.optimizers.Adam, 0.1)


@case("optimizers.state_dict_round_trip")
def _():
    a, b = alf.optimizers.Adam(lr=0.1), alf.optimizers.Adam(lr=0.1)
    p = parameters()
    steps(a, 2, params=p)
    q = [nn.Parameter(v.detach().clone()) for v in p]
    b.add_param_group({"params": q})
    b.load_state_dict(a.state_dict())
    for o, ps in ((a, p), (b, q)):
        for v in ps:
            v.grad = pattern(v.shape, 2.0)
        o.step()
    return [bool((u - v).abs().max() < 1e-6) for u, v in zip(p, q)]


def particles(method, weight=1.0):
    f = fill(layers.FCBatchEnsemble(2, 3, 4, ensemble_group=1))
    o = alf.optimizers.SGD(lr=0.1, parvi=method, repulsive_weight=weight)
    params = [p for p in f.parameters() if hasattr(p, "ensemble_group")]
    o.add_param_group({"params": params})
    for p in params:
        p.grad = pattern(p.shape, 1.0, phase=0.2)
    o.step()
    return {
        str(list(p.shape)) + str(i): p.detach()
        for i, p in enumerate(sorted(params, key=lambda p: (list(p.shape), float(p.sum()))))
    }


@case("optimizers.parvi.svgd")
def _():
    return particles("svgd")


@case("optimizers.parvi.gfsf")
def _():
    return particles("gfsf")


@case("optimizers.parvi.repulsive_weight")
def _():
    return particles("svgd", 0.1)


@case("optimizers.parvi.unknown")
def _():
    return refuses(alf.optimizers.SGD, lr=0.1, parvi="langevin")


@case("optimizers.capacity.all_on_for_small_parameters")
def _():
    """Every parameter has at least min_capacity learnable elements."""
    return steps(alf.optimizers.SGD(lr=1.0, capacity_ratio=0.01), 1)


@case("optimizers.capacity.share_of_moving_elements")
def _():
    o = alf.optimizers.SGD(lr=1.0, capacity_ratio=0.25, min_capacity=1)
    p = nn.Parameter(torch.zeros(4000))
    o.add_param_group({"params": [p]})
    moved = []
    for _ in range(2):
        p.grad = torch.ones(4000)
        o.step()
        moved.append(p != 0)
    return [abs(float(moved[0].float().mean()) - 0.25) < 0.03, bool((moved[0] == moved[1]).all())]


@case("optimizers.capacity.masked_out_value")
def _():
    o = alf.optimizers.SGD(lr=1.0, capacity_ratio=0.5, min_capacity=1, masked_out_value=7.0)
    p = nn.Parameter(torch.zeros(1000))
    o.add_param_group({"params": [p]})
    p.grad = torch.ones(1000)
    o.step()
    return sorted(set(p.tolist()))


@case("optimizers.get_opt_arg")
def _():
    from alf.optimizers.utils import get_opt_arg

    p = nn.Parameter(torch.zeros(1))
    out = [get_opt_arg(p, "lr", 3)]
    p.opt_args = {"lr": 5}
    return out + [get_opt_arg(p, "lr", 3), get_opt_arg(p, "other")]


@case("optimizers.TrustedUpdater.shrinks_a_large_step")
def _():
    from alf.optimizers.trusted_updater import TrustedUpdater

    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    t = TrustedUpdater([p])
    old = p.detach().clone()
    with torch.no_grad():
        p.add_(torch.tensor([3.0, 4.0]))
    change, n = t.adjust_step(lambda: (p - old).norm(), 1.0)
    return [change, n, p]


@case("optimizers.TrustedUpdater.small_step_untouched")
def _():
    from alf.optimizers.trusted_updater import TrustedUpdater

    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    t = TrustedUpdater([p])
    old = p.detach().clone()
    with torch.no_grad():
        p.add_(0.1)
    change, n = t.adjust_step(lambda: (p - old).norm(), 1.0)
    return [change, n, p]


@case("optimizers.TrustedUpdater.nested_changes_and_second_call")
def _():
    from alf.optimizers.trusted_updater import TrustedUpdater

    p = nn.Parameter(torch.tensor([0.0, 0.0]))
    t = TrustedUpdater([p])
    out = []
    for _ in range(2):
        old = p.detach().clone()
        with torch.no_grad():
            p.add_(torch.tensor([1.0, 4.0]))
        c, n = t.adjust_step(lambda: {"a": p[0] - old[0], "b": p[1] - old[1]}, {"a": 2.0, "b": 1.0})
        out += [c["a"], c["b"], n, p.detach().clone()]
    return out


@case("optimizers.TrustedUpdater.hopeless_is_refused")
def _():
    from alf.optimizers.trusted_updater import TrustedUpdater

    p = nn.Parameter(torch.tensor([0.0]))
    return refuses(TrustedUpdater([p]).adjust_step, lambda: torch.tensor(5.0), 1.0)


# ---- gradient noise scale --------------------------------------------------------------


@case("optimizers.GNS.equal_samples_have_no_noise")
def _():
    from alf.optimizers.utils import GradientNoiseScaleEstimator

    e = GradientNoiseScaleEstimator(batch_size_ratio=0.25)
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    loss = (w.unsqueeze(0) * torch.ones(8, 2)).sum(-1)
    return bool(torch.as_tensor(e(loss, [w])).abs() < 1e-3)


# ---- trajectories -----------------------------------------------------------------------


def quadratic(obs, actions):
    """Smallest at 0.3 in every coordinate."""
    return ((actions - 0.3) ** 2).sum(-1)


@case("traj.Random.near_the_minimum_and_in_bounds")
def _():
    from alf.optimizers.traj_optimizers import RandomOptimizer

    o = RandomOptimizer(2, 5000, quadratic, upper_bound=1.0, lower_bound=-1.0)
    s = o.obtain_solution(torch.zeros(3, 4))
    return [s.shape, bool((s - 0.3).abs().max() < 0.15)]


@case("traj.CEM.converges")
def _():
    from alf.optimizers.traj_optimizers import CEMOptimizer

    o = CEMOptimizer(
        4,
        500,
        quadratic,
        upper_bound=1.0,
        lower_bound=-1.0,
        elite_size=30,
        max_iter_num=10,
        epsilon=0.0,
    )
    s = o.obtain_solution(torch.zeros(3, 4))
    return [s.shape, bool((s - 0.3).abs().max() < 0.05)]


@case("traj.CEM.no_iterations_is_the_middle")
def _():
    from alf.optimizers.traj_optimizers import CEMOptimizer

    o = CEMOptimizer(2, 500, quadratic, upper_bound=2.0, lower_bound=-1.0, max_iter_num=0)
    return o.obtain_solution(torch.zeros(2, 4))


@case("traj.CEM.initial_mean")
def _():
    from alf.optimizers.traj_optimizers import CEMOptimizer

    o = CEMOptimizer(2, 500, quadratic, upper_bound=2.0, lower_bound=-1.0, max_iter_num=0)
    return [
        o.obtain_solution(torch.zeros(2, 4), init_mean=x(2, 1, 2)),
        refuses(o.obtain_solution, torch.zeros(2, 4), init_mean=x(2, 2)),
    ]


@case("traj.CEM.stops_when_the_variance_is_small")
def _():
    from alf.optimizers.traj_optimizers import CEMOptimizer

    calls = []
    o = CEMOptimizer(
        1,
        200,
        lambda obs, a: (calls.append(1), quadratic(obs, a))[1],
        upper_bound=1.0,
        lower_bound=-1.0,
        elite_size=5,
        max_iter_num=50,
        epsilon=0.01,
        tau=1.0,
    )
    o.obtain_solution(torch.zeros(1, 1))
    return len(calls) < 10


@case("traj.CEM.tau_moves_softly")
def _():
    """One step with tau 0.5 from mean 0 ends half way to the elite mean."""
    from alf.optimizers.traj_optimizers import CEMOptimizer

    o = CEMOptimizer(
        1, 4000, quadratic, upper_bound=1.0, lower_bound=-1.0, elite_size=5, max_iter_num=1, tau=0.5
    )
    return bool((o.obtain_solution(torch.zeros(1, 1)) - 0.15).abs().max() < 0.03)
