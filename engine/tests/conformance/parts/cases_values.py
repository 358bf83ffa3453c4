"""``value_ops``, ``losses``, ``math_ops`` (``alf.math``), ``tensor_utils``, ``conditional_ops``."""

import torch
import torch.distributions as td
from harness import case, pattern, ramp, refuses

import alf
from alf.utils import losses, math_ops, tensor_utils, value_ops

FIRST, MID, LAST = 0, 1, 2


def x(*shape):
    return pattern(shape, 1.0, phase=0.7)


REWARDS = torch.tensor([[1.0, 0.0], [2.0, 1.0], [3.0, -1.0], [4.0, 2.0]])
VALUES = torch.tensor([[1.0, 1.5], [2.0, 0.5], [1.0, 1.0], [0.5, 2.0]])
STEPS = torch.tensor([[MID, MID], [MID, LAST], [MID, FIRST], [MID, MID]])
DISCOUNTS = torch.tensor([[0.9, 0.9], [0.9, 0.0], [0.9, 0.9], [0.9, 0.9]])


# ---- returns ------------------------------------------------------------------


@case("value_ops.discounted_return")
def _():
    """The value stands for what follows the last step."""
    return value_ops.discounted_return(REWARDS, VALUES, STEPS, DISCOUNTS)


@case("value_ops.discounted_return.batch_major")
def _():
    return value_ops.discounted_return(
        REWARDS.t(), VALUES.t(), STEPS.t(), DISCOUNTS.t(), time_major=False
    )


@case("value_ops.discounted_return.one_trajectory_of_rank_1")
def _():
    return value_ops.discounted_return(REWARDS[:, 0], VALUES[:, 0], STEPS[:, 0], DISCOUNTS[:, 0])


@case("value_ops.discounted_return.quantiles")
def _():
    v = torch.stack([VALUES, VALUES + 1, VALUES - 2], -1)
    return value_ops.discounted_return(REWARDS, v, STEPS, DISCOUNTS)


@case("value_ops.discounted_return.last_step_takes_its_value")
def _():
    s = torch.tensor([MID, LAST, FIRST])
    return value_ops.discounted_return(
        torch.tensor([0.0, 1.0, 5.0]),
        torch.tensor([1.0, 7.0, 3.0]),
        s,
        torch.tensor([1.0, 0.5, 1.0]),
    )


@case("value_ops.discounted_return.one_step_refused")
def _():
    return refuses(value_ops.discounted_return, REWARDS[:1], VALUES[:1], STEPS[:1], DISCOUNTS[:1])


@case("value_ops.one_step_discounted_return")
def _():
    return value_ops.one_step_discounted_return(REWARDS, VALUES, STEPS, DISCOUNTS)


@case("value_ops.one_step_discounted_return.last_step")
def _():
    """At a last step it is the step's own discounted value."""
    s = torch.tensor([MID, LAST, FIRST])
    return value_ops.one_step_discounted_return(
        torch.tensor([0.0, 1.0, 5.0]),
        torch.tensor([1.0, 7.0, 3.0]),
        s,
        torch.tensor([1.0, 0.5, 1.0]),
    )


@case("value_ops.gae.lambda_1")
def _():
    return value_ops.generalized_advantage_estimation(REWARDS, VALUES, STEPS, DISCOUNTS)


@case("value_ops.gae.lambda_half")
def _():
    return value_ops.generalized_advantage_estimation(
        REWARDS, VALUES, STEPS, DISCOUNTS, td_lambda=0.5
    )


@case("value_ops.gae.lambda_0_batch_major")
def _():
    return value_ops.generalized_advantage_estimation(
        REWARDS.t(), VALUES.t(), STEPS.t(), DISCOUNTS.t(), td_lambda=0.0, time_major=False
    )


@case("value_ops.gae.last_step_is_zero")
def _():
    s = torch.tensor([MID, LAST, FIRST, MID])
    return value_ops.generalized_advantage_estimation(
        torch.tensor([0.0, 1.0, 5.0, 2.0]),
        torch.tensor([1.0, 7.0, 3.0, 1.0]),
        s,
        torch.tensor([1.0, 0.0, 1.0, 1.0]),
    )


@case("value_ops.action_importance_ratio.modes")
def _():
    d, r = (
        td.Normal(torch.tensor([0.0, 1.0]), torch.ones(2)),
        td.Normal(torch.tensor([0.5, 0.0]), torch.ones(2)),
    )
    a = torch.tensor([0.2, 2.0])
    out = {}
    for mode in ("double_sided", "capping"):
        out[mode] = list(
            value_ops.action_importance_ratio(
                d, r, a, mode, alf.summary.scope("s"), 0.2, 0.0, True, False
            )
        )
    out["clipped"] = list(
        value_ops.action_importance_ratio(
            d, r, a, "capping", alf.summary.scope("s"), 0.2, 1.0, False, False
        )
    )
    out["given"] = list(
        value_ops.action_importance_ratio(
            d,
            None,
            a,
            "capping",
            alf.summary.scope("s"),
            0.2,
            0.0,
            False,
            False,
            rollout_log_prob=torch.tensor([-1.0, -2.0]),
        )
    )
    return out


@case("value_ops.action_importance_ratio.unknown_mode")
def _():
    d = td.Normal(torch.zeros(2), torch.ones(2))
    return refuses(
        value_ops.action_importance_ratio,
        d,
        d,
        torch.zeros(2),
        "none",
        alf.summary.scope("s"),
        0.2,
        0.0,
        False,
        False,
    )


# ---- losses ---------------------------------------------------------------------


@case("losses.element_wise")
def _():
    a, b = torch.tensor([0.0, 0.5, 3.0]), torch.tensor([0.2, -2.0, 3.5])
    return [losses.element_wise_huber_loss(a, b), losses.element_wise_squared_loss(a, b)]


@case("losses.huber_function")
def _():
    return [
        losses.huber_function(ramp(5, lo=-3.0, hi=3.0)),
        losses.huber_function(ramp(5, lo=-3.0, hi=3.0), delta=0.5),
    ]


@case("losses.multi_quantile_huber_loss")
def _():
    q = x(2, 4)
    return [
        losses.multi_quantile_huber_loss(q, torch.tensor([0.3, -0.2])),
        losses.multi_quantile_huber_loss(q, x(2, 3)),
        losses.multi_quantile_huber_loss(q, torch.tensor([0.3, -0.2]), delta=0.0),
    ]


def first(v):
    return v if isinstance(v, torch.Tensor) else v[0]


@case("losses.iqn_huber_loss.returns_loss_and_difference")
def _():
    v = losses.iqn_huber_loss(
        x(3, 2, 4), x(3, 2, 4) * 2, fixed_tau=torch.tensor([0.125, 0.375, 0.625, 0.875])
    )
    return [type(v).__name__, [t.shape for t in v] if isinstance(v, tuple) else v.shape]


@case("losses.iqn_huber_loss.fixed_tau")
def _():
    tau = torch.tensor([0.125, 0.375, 0.625, 0.875])
    return [
        first(losses.iqn_huber_loss(x(3, 2, 4), x(3, 2, 4) * 2, fixed_tau=tau)),
        first(
            losses.iqn_huber_loss(
                x(3, 2, 4), x(3, 2, 4) * 2, fixed_tau=tau, sum_over_quantiles=False
            )
        ),
    ]


@case("losses.iqn_huber_loss.sampled_tau")
def _():
    tau = torch.rand(3, 2, 4).sort(-1).values * 0 + ramp(4, lo=0.1, hi=0.9)
    nd = torch.full((3, 2, 5), 0.2)
    return first(losses.iqn_huber_loss(x(3, 2, 4), x(3, 2, 5) * 2, tau_hat=tau, next_delta_tau=nd))


@case("losses.iqn_huber_loss.no_tau_refused")
def _():
    return refuses(losses.iqn_huber_loss, x(3, 2, 4), x(3, 2, 4))


@case("losses.SquareLoss.plain_and_transformed")
def _():
    t = math_ops.SqrtLinearTransform(0.1)
    a, b = losses.SquareLoss(), losses.SquareLoss(t)
    v = torch.tensor([-3.0, 0.5, 8.0])
    return [
        a(x(3), v),
        a.calc_expectation(x(3)),
        b(x(3), v),
        b.calc_expectation(x(3)),
        refuses(a, x(3), x(2)),
    ]


def discrete(cls, **options):
    loss = getattr(losses, cls)(**options)
    logits = x(5, 7)
    target = torch.tensor([-3.0, -0.4, 0.0, 1.25, 10.0])
    # The gradient, since a constant such as the target's entropy does not matter.
    logits.requires_grad_()
    (grad,) = torch.autograd.grad(loss(logits, target).sum(), logits)
    out = {"gradient": grad, "expectation": loss.calc_expectation(logits.detach())}
    if not options:
        out["whole_numbers"] = loss(logits.detach()[:2], torch.tensor([1.0, -2.0]))
    return out


def bias(cls, n=7, **options):
    b = torch.full((n,), 9.0)
    getattr(losses, cls)(**options).initialize_bias(b)
    return b


for _cls in ("SquareLoss", "QuantileRegressionLoss"):

    @case("losses.%s.initialize_bias" % _cls)
    def _(cls=_cls):
        return bias(cls)


for _cls in ("DiscreteRegressionLoss", "OrderedDiscreteRegressionLoss"):

    @case("losses.%s.expectation_after_initialize_bias_is_near_zero" % _cls)
    def _(cls=_cls):
        """The first prediction, of zero weights, is close to 0."""
        loss = getattr(losses, cls)()
        return bool(loss.calc_expectation(bias(cls, 21).unsqueeze(0)).abs().max() < 0.1)


@case("losses.DiscreteRegressionLoss")
def _():
    return discrete("DiscreteRegressionLoss")


@case("losses.DiscreteRegressionLoss.transform")
def _():
    return discrete("DiscreteRegressionLoss", transform=math_ops.SqrtLinearTransform(0.1))


@case("losses.DiscreteRegressionLoss.transform_inverse_after_mean")
def _():
    return discrete(
        "DiscreteRegressionLoss",
        transform=math_ops.SqrtLinearTransform(0.1),
        inverse_after_mean=True,
    )


@case("losses.DiscreteRegressionLoss.even_number_of_bins")
def _():
    loss = losses.DiscreteRegressionLoss()
    return [loss(x(2, 6), torch.tensor([-2.0, 3.0])), loss.calc_expectation(x(2, 6))]


@case("losses.OrderedDiscreteRegressionLoss")
def _():
    return discrete("OrderedDiscreteRegressionLoss")


@case("losses.OrderedDiscreteRegressionLoss.transform")
def _():
    return discrete("OrderedDiscreteRegressionLoss", transform=math_ops.Sqrt1pTransform())


@case("losses.OrderedDiscreteRegressionLoss.inverse_after_mean")
def _():
    return discrete(
        "OrderedDiscreteRegressionLoss",
        transform=math_ops.Sqrt1pTransform(),
        inverse_after_mean=True,
    )


@case("losses.QuantileRegressionLoss")
def _():
    return discrete("QuantileRegressionLoss")


@case("losses.QuantileRegressionLoss.delta_and_transform")
def _():
    return [
        discrete("QuantileRegressionLoss", delta=0.5),
        discrete("QuantileRegressionLoss", transform=math_ops.Log1pTransform()),
        discrete(
            "QuantileRegressionLoss", transform=math_ops.Log1pTransform(), inverse_after_mean=True
        ),
    ]


@case("losses.MeanSquaredLoss")
def _():
    return [
        losses.MeanSquaredLoss(debug_summaries=False).forward(x(3, 4), x(3, 4) * 2),
        losses.MeanSquaredLoss(batch_dims=2, debug_summaries=False).forward(
            x(3, 2, 4), x(3, 2, 4) * 2
        ),
    ]


@case("losses.BipartiteMatchingLoss.reductions")
def _():
    cost = torch.tensor([[[1.0, 5.0, 9.0], [4.0, 1.0, 7.0], [8.0, 2.0, 3.0]]])
    out = {}
    for r in ("mean", "sum", "none"):
        v = losses.BipartiteMatchingLoss(reduction=r)(cost)
        out[r] = v if isinstance(v, torch.Tensor) else list(v)
    return out


@case("losses.BipartiteMatchingLoss.other_cost_matrix")
def _():
    match = torch.tensor([[[1.0, 5.0], [4.0, 1.0]], [[5.0, 1.0], [1.0, 5.0]]])
    v = losses.BipartiteMatchingLoss(reduction="none")(match, x(2, 2, 2))
    return v if isinstance(v, torch.Tensor) else list(v)


@case("losses.BipartiteMatchingLoss.unknown_reduction")
def _():
    return refuses(losses.BipartiteMatchingLoss, reduction="median")


# ---- alf.math -------------------------------------------------------------------


@case("math.clipped_exp_swish_square_identity")
def _():
    v = ramp(5, lo=-30.0, hi=10.0)
    return [
        alf.math.clipped_exp(v),
        alf.math.clipped_exp(v, -1, 1),
        alf.math.swish(x(3)),
        alf.math.square(x(3)),
        alf.math.identity(3),
    ]


@case("math.add_ignore_empty")
def _():
    f = alf.math.add_ignore_empty
    return [f((), torch.ones(1)), f(torch.ones(1), ()), f(torch.ones(1), torch.ones(1)), f((), ())]


@case("math.soft_bounds")
def _():
    v = ramp(7, lo=-3.0, hi=5.0)
    m = alf.math
    return [
        m.softlower(v, 1.0),
        m.softupper(v, 2.0, 0.5),
        m.softclip_tf(v, 0.0, 2.0, 0.5),
        m.softclip(v, 0.0, 2.0, 0.5),
        m.softclip(v, 0.0, 2.0),
    ]


@case("math.softsign")
def _():
    v = ramp(5, lo=-3.0, hi=3.0).requires_grad_()
    y = alf.math.softsign(v)
    y.sum().backward()
    w = ramp(5, lo=-3.0, hi=3.0)
    return [y, v.grad, alf.math.softsign_(w), w]


@case("math.n_ary")
def _():
    v = [x(3), -x(3), torch.full((3,), 0.2)]
    m = alf.math
    return [m.max_n(v), m.min_n(v), m.add_n(v), m.mul_n(v)]


@case("math.weighted_reduce_mean")
def _():
    f = alf.math.weighted_reduce_mean
    return [
        f(x(2, 3), torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])),
        f(x(2, 3), torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]), dim=1),
        f(x(2, 3), torch.zeros(2, 3)),
    ]


@case("math.sum_to_leftmost")
def _():
    return [alf.math.sum_to_leftmost(x(2, 3, 2), d) for d in (1, 2, 3)]


@case("math.argmin_of_each_row")
def _():
    return alf.math.argmin(torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]]))


@case("math.normalize_min_max")
def _():
    return [
        alf.math.normalize_min_max(torch.tensor([[1.0, 3.0], [2.0, 5.0]])),
        alf.math.normalize_min_max(torch.full((2, 2), 3.0)),
    ]


@case("math.binary_neg_entropy")
def _():
    return alf.math.binary_neg_entropy(torch.tensor([0.0, 0.1, 0.5, 1.0]))


@case("math.invertible_transforms")
def _():
    v = torch.tensor([-100.0, -1.0, 0.0, 0.3, 50.0])
    out = {}
    for n, t in (
        ("sqrt_linear", alf.math.SqrtLinearTransform(0.1)),
        ("sqrt1p", alf.math.Sqrt1pTransform()),
        ("log1p", alf.math.Log1pTransform()),
        ("log1p_5", alf.math.Log1pTransform(alpha=5)),
    ):
        out[n] = [
            t.transform(v),
            t.inverse_transform(v.sign() * v.abs().sqrt()),
            bool((t.inverse_transform(t.transform(v)) - v).abs().max() < 1e-2),
        ]
    return out


@case("math.shuffle.keeps_rows_together")
def _():
    n = alf.math.shuffle({"a": torch.arange(10), "b": torch.arange(10) * 2})
    return [bool((n["b"] == n["a"] * 2).all()), sorted(n["a"].tolist())]


# ---- tensor_utils -----------------------------------------------------------------


@case("tensor_utils.extend_and_prepend")
def _():
    t = tensor_utils
    return [
        t.tensor_extend(torch.ones(2, 2), torch.full((2,), 3.0)),
        t.tensor_extend_zero(torch.ones(2, 2)),
        t.tensor_extend_zero(torch.ones(2, 2), dim=1),
        t.tensor_prepend(torch.ones(2, 2), torch.full((2,), 3.0)),
        t.tensor_prepend_zero(torch.ones(2, 2)),
        t.tensor_extend_new_dim(torch.ones(2, 3), 1, 4).shape,
    ]


@case("tensor_utils.reverse_cumulative")
def _():
    return [
        tensor_utils.reverse_cumsum(x(3, 2), 0),
        tensor_utils.reverse_cumprod(x(3, 2), 0),
        tensor_utils.reverse_cumsum(x(3, 2), 1),
    ]


@case("tensor_utils.explained_variance")
def _():
    f = tensor_utils.explained_variance
    y = torch.tensor([1.0, 2.0, 3.0, 4.0])
    return [
        f(y + 0.1, y),
        f(torch.zeros(4), y),
        f(y * 2, torch.ones(4)),
        f(
            torch.tensor([1.0, 2.0, 9.0, 4.0]),
            y,
            valid_mask=torch.tensor([True, True, False, True]),
        ),
        f(x(3, 4), x(3, 4) * 2, dim=0),
    ]


@case("tensor_utils.to_tensor")
def _():
    t = torch.ones(2)
    return [
        tensor_utils.to_tensor([1, 2]),
        tensor_utils.to_tensor(3.5, dtype=torch.float32),
        tensor_utils.to_tensor(t) is t,
    ]


@case("tensor_utils.global_norm")
def _():
    return tensor_utils.global_norm([torch.tensor([3.0]), torch.tensor([[4.0, 12.0]])])


@case("tensor_utils.clip_by_global_norm")
def _():
    v = [torch.tensor([3.0]), torch.tensor([4.0])]
    a, n = tensor_utils.clip_by_global_norm(v, 1.0)
    b, m = tensor_utils.clip_by_global_norm(v, 10.0)
    c, k = tensor_utils.clip_by_global_norm(v, 1.0, use_norm=torch.tensor(10.0))
    return [list(a), n, list(b), m, list(c), k, v]


@case("tensor_utils.clip_by_global_norm.in_place")
def _():
    v = [torch.tensor([3.0]), torch.tensor([4.0])]
    tensor_utils.clip_by_global_norm(v, 1.0, in_place=True)
    return v


@case("tensor_utils.clip_by_norms")
def _():
    v = [torch.tensor([3.0]), torch.tensor([0.3, 0.4])]
    out = [alf.nest.flatten(tensor_utils.clip_by_norms(v, 1.0)), [t.clone() for t in v]]
    tensor_utils.clip_by_norms(v, 1.0, in_place=True)
    return out + [v]


@case("tensor_utils.cov")
def _():
    return [tensor_utils.cov(x(4, 3)), tensor_utils.cov(x(3, 4), rowvar=True)]


@case("tensor_utils.scale_gradient")
def _():
    v = torch.ones(2, requires_grad=True)
    y = tensor_utils.scale_gradient(v, 0.5)
    (y * 3).sum().backward()
    return [y, v.grad]


@case("tensor_utils.BatchSquash")
def _():
    b = tensor_utils.BatchSquash(2)
    f = b.flatten(x(2, 3, 4))
    return [f.shape, b.unflatten(torch.zeros(6, 5)).shape]


@case("tensor_utils.append_coordinate")
def _():
    return tensor_utils.append_coordinate(torch.zeros(1, 1, 3, 2))


@case("tensor_utils.spatial_broadcast")
def _():
    return tensor_utils.spatial_broadcast(torch.tensor([[1.0, 2.0]]), (2, 3))


# ---- conditional_ops --------------------------------------------------------------


@case("conditional_ops.select_from_mask")
def _():
    from alf.utils.conditional_ops import select_from_mask

    return select_from_mask({"a": x(3, 2), "b": torch.arange(3)}, torch.tensor([True, False, True]))


@case("conditional_ops.conditional_update")
def _():
    from alf.utils.conditional_ops import conditional_update

    f = lambda v, w: {"y": v * 10 + w}
    n = {"y": torch.zeros(3)}
    return [
        conditional_update(n, torch.tensor(m), f, torch.arange(3.0), torch.ones(3))
        for m in ([True, False, True], [False] * 3, [True] * 3)
    ]


@case("conditional_ops.conditional_update.function_sees_selected_rows_only")
def _():
    from alf.utils.conditional_ops import conditional_update

    seen = []
    conditional_update(
        torch.zeros(3),
        torch.tensor([False, True, True]),
        lambda v: (seen.append(v.tolist()), v)[1],
        torch.arange(3.0),
    )
    conditional_update(
        torch.zeros(3),
        torch.tensor([False] * 3),
        lambda v: (seen.append(v.tolist()), v)[1],
        torch.arange(3.0),
    )
    return seen
