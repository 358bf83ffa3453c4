"""``alf.utils.dist_utils`` and ``alf.utils.distributions``."""

import functools

import torch
import torch.distributions as td
from harness import case, pattern, ramp, refuses

import alf

T, B = alf.TensorSpec, alf.BoundedTensorSpec


def du():
    from alf.utils import dist_utils

    return dist_utils


def x(*shape):
    return pattern(shape, 1.0, phase=0.7)


def transform_facts(t, values):
    y = t(values)
    return [y, t.log_abs_det_jacobian(values, y), t.inv(y)]


@case("transforms.StableTanh")
def _():
    return transform_facts(du().StableTanh(), ramp(7, lo=-3.0, hi=3.0))


@case("transforms.StableTanh.large_inputs_stay_finite")
def _():
    t = du().StableTanh()
    v = torch.tensor([-30.0, 30.0])
    return [t.log_abs_det_jacobian(v, t(v)), torch.isfinite(t.inv(torch.tensor([-1.0, 1.0])))]


@case("transforms.Softplus")
def _():
    return [
        transform_facts(du().Softplus(), ramp(5, lo=-3.0, hi=3.0)),
        transform_facts(du().Softplus(hinge_softness=0.5), ramp(5, lo=-3.0, hi=3.0)),
    ]


@case("transforms.Softlower_Softupper")
def _():
    return [
        transform_facts(du().Softlower(1.0), ramp(5, lo=-3.0, hi=5.0)),
        transform_facts(du().Softupper(2.0, 0.5), ramp(5, lo=-3.0, hi=5.0)),
    ]


@case("transforms.Softclip")
def _():
    return [
        transform_facts(du().Softclip(-1.0, 2.0), ramp(5, lo=-2.0, hi=3.0)),
        transform_facts(du().Softclip(-1.0, 2.0, 0.5), ramp(5, lo=-2.0, hi=3.0)),
    ]


@case("transforms.SoftclipTF")
def _():
    return transform_facts(du().SoftclipTF(-1.0, 2.0, 0.5), ramp(5, lo=-2.0, hi=3.0))


@case("transforms.Softsign")
def _():
    return transform_facts(du().Softsign(), ramp(7, lo=-3.0, hi=3.0))


@case("distributions.DiagMultivariateNormal")
def _():
    d = du().DiagMultivariateNormal(x(3, 2), x(3, 2).abs() + 0.5)
    return [d, d.entropy(), d.stddev, d.mean]


@case("distributions.DiagMultivariateCauchy")
def _():
    d = du().DiagMultivariateCauchy(x(3, 2), x(3, 2).abs() + 0.5)
    return [d.log_prob(x(3, 2) * 2), d.loc, d.scale, d.batch_shape, d.event_shape]


@case("distributions.StableCauchy.samples_are_clipped")
def _():
    d = du().StableCauchy(torch.zeros(2000), torch.ones(2000))
    return bool(d.rsample().abs().max() < 32)


@case("distributions.Beta.mode")
def _():
    d = du().Beta(torch.tensor([2.0, 3.0, 0.5, 1.0, 2.0]), torch.tensor([2.0, 1.5, 0.5, 1.0, 1.0]))
    return [d.mode[:2], d.concentration1, d.concentration0]


@case("distributions.Beta.sample_stays_inside_by_eps")
def _():
    d = du().Beta(torch.full((500,), 0.01), torch.full((500,), 0.01), eps=0.001)
    s = d.rsample()
    return [bool(s.min() >= 0.0009), bool(s.max() <= 0.9991)]


@case("distributions.DiagMultivariateBeta")
def _():
    d = du().DiagMultivariateBeta(x(3, 2).abs() + 1.5, x(3, 2).abs() + 2)
    return [d, d.entropy(), d.mean]


@case("distributions.AffineTransformedDistribution")
def _():
    base = td.Independent(td.Normal(x(3, 2), x(3, 2).abs() + 0.5), 1)
    d = du().AffineTransformedDistribution(
        base, torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.5])
    )
    return [d.mean, d.variance, d.stddev, d.entropy(), d.log_prob(x(3, 2))]


@case("distributions.OneHotCategoricalStraightThrough")
def _():
    d = du().OneHotCategoricalStraightThrough(logits=x(3, 4))
    return [d.mode, d.log_prob(torch.eye(4)[:3]), d.entropy()]


@case("distributions.OneHotCategoricalGumbelSoftmax.hard_and_soft")
def _():
    c = du().OneHotCategoricalGumbelSoftmax
    hard, soft = (
        c(hard_sample=True, tau=1.0, logits=x(3, 4)).rsample(),
        c(hard_sample=False, tau=1.0, logits=x(3, 4)).rsample(),
    )
    return [
        bool(((hard - hard.round()).abs() < 1e-6).all()),
        hard.sum(-1),
        soft.sum(-1),
        bool(((soft > 0) & (soft < 1)).all()),
    ]


def truncated(name):
    from alf.utils import distributions

    return getattr(distributions, name)(
        loc=torch.tensor([[0.0, 0.5], [2.0, -3.0]]),
        scale=torch.tensor([[1.0, 0.5], [2.0, 1.0]]),
        lower_bound=torch.tensor([-1.0, 0.0]),
        upper_bound=torch.tensor([1.0, 2.0]),
    )


@case("distributions.TruncatedNormal")
def _():
    d = truncated("TruncatedNormal")
    return [d, d.log_prob(torch.tensor([0.3, 1.0])), d.loc, d.scale, d.lower_bound, d.upper_bound]


@case("distributions.TruncatedCauchy")
def _():
    d = truncated("TruncatedCauchy")
    return [d.log_prob(torch.tensor([0.3, 1.0])), d.mode]


@case("distributions.TruncatedT2")
def _():
    """The base density is 1 / (2 (1 + x^2)^1.5)."""
    return truncated("TruncatedT2").log_prob(torch.tensor([0.3, 1.0]))


@case("distributions.Truncated.samples_in_bounds")
def _():
    out = []
    for n in ("TruncatedNormal", "TruncatedCauchy", "TruncatedT2"):
        s = truncated(n).rsample((200,))
        out.append(
            [
                s.shape,
                bool((s[..., 0].abs() <= 1).all()),
                bool(((s[..., 1] >= 0) & (s[..., 1] <= 2)).all()),
            ]
        )
    return out


@case("distributions.TruncatedNormal.kl")
def _():
    from alf.utils.distributions import TruncatedNormal

    other = TruncatedNormal(
        loc=torch.tensor([[0.5, 0.5], [0.0, 1.0]]),
        scale=torch.tensor([[2.0, 0.5], [1.0, 1.0]]),
        lower_bound=torch.tensor([-1.0, 0.0]),
        upper_bound=torch.tensor([1.0, 2.0]),
    )
    return [
        td.kl_divergence(truncated("TruncatedNormal"), truncated("TruncatedNormal")),
        td.kl_divergence(truncated("TruncatedNormal"), other),
    ]


@case("distributions.ITS.cdf_and_icdf")
def _():
    from alf.utils import distributions as m

    v = ramp(5, lo=-2.0, hi=2.0)
    p = ramp(5, lo=0.1, hi=0.9)
    return {
        c: [getattr(m, c)().cdf(v), getattr(m, c)().icdf(p), getattr(m, c)().log_prob(v)]
        for c in ("NormalITS", "CauchyITS", "T2ITS")
    }


# ---- parameters and specs ------------------------------------------------------


def examples():
    normal = du().DiagMultivariateNormal(x(3, 2), x(3, 2).abs() + 0.5)
    return {
        "categorical": td.Categorical(logits=x(3, 4)),
        "normal": td.Normal(x(3), x(3).abs() + 0.5),
        "independent_normal": td.Independent(td.Normal(x(3, 2), x(3, 2).abs() + 0.5), 1),
        "diag_normal": normal,
        "squashed": td.TransformedDistribution(
            normal, [du().StableTanh(), du().AffineTransform(loc=1.0, scale=2.0)]
        ),
        "beta": du().Beta(x(3).abs() + 1.5, x(3).abs() + 2),
        "diag_beta": du().DiagMultivariateBeta(x(3, 2).abs() + 1.5, x(3, 2).abs() + 2),
        "truncated": truncated("TruncatedNormal"),
        "mixture": td.MixtureSameFamily(
            td.Categorical(logits=x(3, 2)),
            td.Independent(td.Normal(x(3, 2, 2), x(3, 2, 2).abs() + 0.5), 1),
        ),
        "one_hot": td.OneHotCategorical(logits=x(3, 4)),
        "categorical_of_probs": td.Categorical(probs=x(3, 4).softmax(-1)),
    }


def add_example(name):
    if name in ("categorical", "normal", "diag_normal", "beta", "truncated"):

        @case("dist_utils.params.%s" % name)
        def _():
            """The parameters, as a dictionary, of a distribution."""
            return du().distributions_to_params(examples()[name])

    @case("dist_utils.round_trip.%s" % name)
    def _():
        """The distribution built from spec and parameters is the same."""
        d = examples()[name]
        spec = du().extract_spec(d, from_dim=1)
        d2 = du().params_to_distributions(du().distributions_to_params(d), spec)
        v = d.sample()
        return [
            bool((d.log_prob(v) - d2.log_prob(v)).abs().max() < 1e-5),
            alf.nest.flatten(du().to_distribution_param_spec(spec)),
            d2.batch_shape,
            d2.event_shape,
        ]

    @case("dist_utils.mode.%s" % name)
    def _():
        return du().get_mode(examples()[name]).float()


for _name in (
    "categorical",
    "normal",
    "independent_normal",
    "diag_normal",
    "squashed",
    "beta",
    "diag_beta",
    "truncated",
    "mixture",
    "one_hot",
    "categorical_of_probs",
):
    add_example(_name)


@case("dist_utils.params.of_a_nest_keeps_tensors")
def _():
    return du().distributions_to_params(
        {"d": td.Normal(torch.zeros(2), torch.ones(2)), "t": torch.ones(2)}
    )


@case("dist_utils.params.refuses_other_leaves")
def _():
    return [
        refuses(du().distributions_to_params, [3]),
        refuses(du().extract_spec, [3]),
        refuses(du().to_distribution_param_spec, [3]),
    ]


@case("dist_utils.extract_spec.of_a_nest")
def _():
    s = du().extract_spec({"t": torch.ones(4, 3), "d": td.Categorical(logits=x(4, 5))})
    return [s["t"], type(s["d"]).__name__, s["d"].input_params_spec]


@case("dist_utils.extract_spec.from_dim")
def _():
    return [du().extract_spec(torch.ones(4, 3, 2), from_dim=d) for d in (0, 1, 2)]


@case("dist_utils.DistributionSpec.build_wrong_structure")
def _():
    s = du().DistributionSpec.from_distribution(
        td.Normal(torch.zeros(2), torch.ones(2)), from_dim=1
    )
    return [
        refuses(s.build_distribution, {"loc": torch.zeros(2)}),
        s.build_distribution({"loc": torch.zeros(3), "scale": torch.ones(3)}),
    ]


@case("dist_utils.params_to_distributions.other_batch_shape")
def _():
    d = du().DiagMultivariateNormal(x(3, 2), x(3, 2).abs() + 0.5)
    s = du().extract_spec(d)
    p = alf.nest.map_structure(lambda v: torch.stack([v] * 4), du().distributions_to_params(d))
    e = du().params_to_distributions(p, s)
    return [e.batch_shape, e.event_shape, e.log_prob(torch.zeros(4, 3, 2))]


# ---- entropies and probabilities -------------------------------------------------


@case("dist_utils.compute_entropy.sums_over_the_nest")
def _():
    return du().compute_entropy(
        {"a": td.Categorical(logits=x(3, 4)), "b": examples()["diag_normal"]}
    )


@case("dist_utils.compute_log_probability.sums_over_the_nest")
def _():
    d = {"a": td.Categorical(logits=x(3, 4)), "b": examples()["diag_normal"]}
    return du().compute_log_probability(d, {"a": torch.tensor([0, 1, 3]), "b": x(3, 2)})


@case("dist_utils.compute_log_probability.structures_differ")
def _():
    return refuses(
        du().compute_log_probability, [td.Categorical(logits=x(3, 4))], (torch.tensor([0, 1, 3]),)
    )


@case("dist_utils.entropy_with_fallback.closed_form")
def _():
    d = {"a": td.Categorical(logits=x(3, 4)), "b": examples()["diag_normal"]}
    return [
        list(du().entropy_with_fallback(d)),
        list(du().entropy_with_fallback(d, return_sum=False)),
    ]


@case("dist_utils.entropy_with_fallback.sampled_is_near")
def _():
    d = td.TransformedDistribution(
        du().DiagMultivariateNormal(torch.zeros(4000, 1), torch.full((4000, 1), 0.1)),
        [du().AffineTransform(loc=0.0, scale=2.0)],
    )
    e, g = du().entropy_with_fallback(d)
    exact = td.Normal(0.0, 0.2).entropy()
    return [e.shape, bool((e.mean() - exact).abs() < 0.05), g.shape]


@case("dist_utils.estimated_entropy.near_the_exact")
def _():
    d = td.Normal(torch.zeros(2), torch.tensor([1.0, 2.0]))
    e, g = du().estimated_entropy(d, num_samples=20000)
    return [bool((e - d.entropy()).abs().max() < 0.05), e.shape]


@case("dist_utils.estimated_entropy.gradient_of_discrete")
def _():
    """Without rsample the value for the gradient is minus half the mean square."""
    d = td.Categorical(probs=torch.tensor([[1.0, 0.0]]) * 0.5 + 0.25 * torch.tensor([[0.0, 2.0]]))
    e, g = du().estimated_entropy(d, num_samples=10)
    return [e, g]


@case("dist_utils.sample_action_distribution.with_log_prob")
def _():
    d = {"a": td.Categorical(logits=x(3, 4)), "b": examples()["diag_normal"]}
    s, lp = du().sample_action_distribution(d, return_log_prob=True)
    return [
        s["a"].shape,
        s["b"].shape,
        bool((lp - du().compute_log_probability(d, s)).abs().max() < 1e-5),
    ]


@case("dist_utils.rsample_action_distribution")
def _():
    loc = torch.zeros(3, 2, requires_grad=True)
    s, lp = du().rsample_action_distribution(
        du().DiagMultivariateNormal(loc, torch.ones(3, 2)), return_log_prob=True
    )
    return [
        s.requires_grad,
        lp.shape,
        refuses(du().rsample_action_distribution, td.Categorical(logits=x(3, 4))),
    ]


@case("dist_utils.epsilon_greedy_sample.zero_is_the_mode")
def _():
    return du().epsilon_greedy_sample(
        {"a": td.Categorical(logits=x(3, 4)), "b": examples()["squashed"]}, eps=0.0
    )


@case("dist_utils.epsilon_greedy_sample.share_of_random_actions")
def _():
    d = td.Categorical(logits=torch.tensor([[1.0, 0.0]]).repeat(4000, 1))
    share = [float((du().epsilon_greedy_sample(d, eps=e) == 1).float().mean()) for e in (0.5, 1.0)]
    p = float(torch.tensor([1.0, 0.0]).softmax(0)[1])
    return [abs(share[0] - 0.5 * p) < 0.04, abs(share[1] - p) < 0.04]


@case("dist_utils.epsilon_greedy_sample.whole_rows_are_random")
def _():
    """An action of several parts is greedy or random as a whole."""
    d = du().DiagMultivariateNormal(torch.zeros(500, 3), torch.ones(500, 3))
    z = du().epsilon_greedy_sample(d, eps=0.5) == 0
    return bool((z.all(-1) | (~z).all(-1)).all())


@case("dist_utils.get_base_dist")
def _():
    b = du().get_base_dist
    e = examples()
    return [
        type(b(e[n])).__name__
        for n in (
            "normal",
            "independent_normal",
            "diag_normal",
            "squashed",
            "categorical",
            "beta",
            "truncated",
        )
    ]


@case("dist_utils.get_rmode.keeps_the_gradient")
def _():
    loc = torch.zeros(3, 2, requires_grad=True)
    m = du().get_rmode(
        td.TransformedDistribution(
            du().DiagMultivariateNormal(loc, torch.ones(3, 2)), [du().StableTanh()]
        )
    )
    return [m.requires_grad, m]


@case("dist_utils.calc_default_target_entropy.continuous")
def _():
    f = du().calc_default_target_entropy
    return [
        float(f(B((2,), minimum=-1, maximum=1))),
        float(f(B((2,), minimum=[-1, 0], maximum=[1, 5]), min_prob=0.2)),
        float(f(B((), minimum=0, maximum=0.5))),
    ]


@case("dist_utils.calc_default_target_entropy.discrete")
def _():
    f = du().calc_default_target_entropy
    return [float(f(B((), torch.int64, 0, 3))), float(f(B((2,), torch.int64, 0, 1), min_prob=0.3))]


@case("dist_utils.calc_default_target_entropy.one_action_refused")
def _():
    return refuses(du().calc_default_target_entropy, B((), torch.int64, 0, 0))


@case("dist_utils.calc_default_target_entropy_quantized")
def _():
    f = du().calc_default_target_entropy_quantized
    return [
        float(f(B((2,), minimum=-1, maximum=1), 7)),
        float(f(B((2,), minimum=-1, maximum=1), 15, ent_per_action_dim=-0.5)),
    ]


@case("dist_utils.calc_default_max_entropy")
def _():
    f = du().calc_default_max_entropy
    return [
        float(f(B((2,), minimum=-1, maximum=1))),
        float(f(B((2,), minimum=[-1, 0], maximum=[1, 0.5]), fraction=0.5)),
        float(f(B((), torch.int64, 0, 3))),
    ]


@case("dist_utils.calc_default_max_entropy.fraction_outside")
def _():
    return [refuses(du().calc_default_max_entropy, B((1,)), fraction=f) for f in (0.0, 1.5)]


@case("dist_utils.calc_uniform_log_prob")
def _():
    f = du().calc_uniform_log_prob
    return [
        float(f(B((2,), minimum=-1, maximum=1))),
        float(f(B((3,), torch.int64, 0, 3))),
        refuses(f, T((2,))),
    ]


@case("dist_utils.kl.of_diag_normals")
def _():
    d1, d2 = (
        du().DiagMultivariateNormal(x(3, 2), x(3, 2).abs() + 0.5),
        du().DiagMultivariateNormal(torch.zeros(3, 2), torch.ones(3, 2)),
    )
    return td.kl_divergence(d1, d2)


@case("dist_utils.kl.of_diag_betas")
def _():
    d1, d2 = (
        du().DiagMultivariateBeta(x(3, 2).abs() + 1.5, x(3, 2).abs() + 2),
        du().DiagMultivariateBeta(torch.ones(3, 2), torch.ones(3, 2)),
    )
    return td.kl_divergence(d1, d2)


@case("dist_utils.kl.of_affine_transformed")
def _():
    a = functools.partial(
        du().AffineTransformedDistribution,
        loc=torch.tensor([1.0, 1.0]),
        scale=torch.tensor([2.0, 2.0]),
    )
    d1, d2 = (
        a(du().DiagMultivariateNormal(x(3, 2), x(3, 2).abs() + 0.5)),
        a(du().DiagMultivariateNormal(torch.zeros(3, 2), torch.ones(3, 2))),
    )
    return refuses(td.kl_divergence, d1, d2)
