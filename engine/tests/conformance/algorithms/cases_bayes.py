"""Particle variational inference, generators and hyper networks."""

from functools import partial

import torch
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave

import alf
from alf.tensor_specs import TensorSpec


def nll(x):
    """Negative log density of a correlated normal, up to a constant."""
    y = x - torch.tensor([0.3, -0.2])
    return (y**2).sum(-1) + 0.5 * y[:, 0] * y[:, 1]


# ------------------------------------------------------------------- ParVI
def parvi(n=4, **kw):
    from alf.algorithms.particle_vi_algorithm import ParVIAlgorithm

    kw.setdefault("optimizer", sgd())
    return set_params(ParVIAlgorithm(2, num_particles=n, **kw))


for _v in ("svgd", "gfsf", None):
    for _er in (1.0, 0.0, 0.3):

        @case("bayes.parvi.%s.entropy%s.train_step" % (_v, _er))
        def _(v=_v, er=_er):
            """Propagated loss per particle, the plain loss as extra."""
            r = parvi(par_vi=v, entropy_regularization=er).train_step(nll)
            return [r.output, r.info]

        @case("bayes.parvi.%s.entropy%s.update" % (_v, _er))
        def _(v=_v, er=_er):
            a = parvi(par_vi=v, entropy_regularization=er)
            out = []
            for _ in range(2):
                a.update_with_gradient(a.train_step(nll).info._replace(extra=()))
                out.append(a.particles.detach().clone())
            return out


for _v in ("svgd", "gfsf"):

    @case("bayes.parvi.%s.entropy_argument" % _v)
    def _(v=_v):
        return parvi(par_vi=v).train_step(nll, entropy_regularization=0.1).info

    @case("bayes.parvi.%s.loss_mask" % _v)
    def _(v=_v):
        return parvi(par_vi=v).train_step(nll, loss_mask=torch.tensor([1.0, 0.0, 1.0, 0.0])).info

    @case("bayes.parvi.%s.loss_info" % _v)
    def _(v=_v):
        """A loss function may give a tuple with a loss field."""
        from alf.data_structures import LossInfo

        return parvi(par_vi=v).train_step(lambda x: LossInfo(loss=nll(x), extra=2 * nll(x))).info

    @case("bayes.parvi.%s.transform" % _v)
    def _(v=_v):
        """Particles seen through a function: outputs and extra outputs."""
        f = lambda p: (torch.stack([p[:, 0] * 2, p.sum(-1)], -1), p[:, :1] ** 2)
        return parvi(par_vi=v).train_step(nll, transform_func=f).info

    @case("bayes.parvi.%s.two_particles" % _v)
    def _(v=_v):
        return parvi(2, par_vi=v).train_step(nll).info

    @case("bayes.parvi.%s.equal_particles" % _v)
    def _(v=_v):
        a = parvi(par_vi=v)
        a.particles.data.fill_(0.1)
        return a.train_step(nll).info


for _bn in (False, True):

    @case("bayes.parvi.minmax.bn_%s" % _bn)
    def _(bn=_bn):
        with no_noise(normal=wave):
            a = parvi(
                par_vi="minmax",
                critic_hidden_layers=(4,),
                critic_use_bn=bn,
                critic_iter_num=2,
                critic_l2_weight=5.0,
                critic_optimizer=sgd(0.01),
            )
            return a.train_step(nll).info


@case("bayes.parvi.predict_step")
def _():
    a = parvi()
    return [a.predict_step().output, a.num_particles]


@case("bayes.parvi.default_is_gfsf")
def _():
    return parvi().train_step(nll).info


@case("bayes.parvi.refuses_unknown")
def _():
    return refuses(lambda: parvi(par_vi="svgd9"))


# ------------------------------------------------------------ functional ParVI
def fparvi(loss_type="regression", n=3, **kw):
    from alf.algorithms.functional_particle_vi_algorithm import FuncParVIAlgorithm

    kw.setdefault("optimizer", sgd(0.05))
    return set_params(
        FuncParVIAlgorithm(
            input_tensor_spec=TensorSpec((3,)),
            output_dim=2 if loss_type == "regression" else 3,
            fc_layer_params=(4,),
            activation=torch.tanh,
            num_particles=n,
            loss_type=loss_type,
            **kw,
        )
    )


def data(kind, B=4):
    x = wave(B, 3)
    return x, (wave(B, 2, k=0.4) if kind == "regression" else (torch.arange(B) % 3))


for _k in ("regression", "classification"):
    for _v in ("svgd", "gfsf"):

        @case("bayes.func_parvi.%s.%s.train_step" % (_k, _v))
        def _(k=_k, v=_v):
            return fparvi(k, par_vi=v).train_step(data(k)).info

        @case("bayes.func_parvi.%s.%s.function_vi" % (_k, _v))
        def _(k=_k, v=_v):
            with no_noise():
                return (
                    fparvi(
                        k, par_vi=v, function_vi=True, function_bs=4, function_extra_bs_ratio=0.5
                    )
                    .train_step(data(k))
                    .info
                )

    @case("bayes.func_parvi.%s.function_vi_normal_sampler" % _k)
    def _(k=_k):
        with no_noise():
            return (
                fparvi(k, function_vi=True, function_bs=4, function_extra_bs_sampler="normal")
                .train_step(data(k))
                .info
            )

    @case("bayes.func_parvi.%s.predict_step" % _k)
    def _(k=_k):
        a = fparvi(k)
        x = data(k)[0]
        return [a.predict_step(x).output, a.predict_step(x, params=2 * a.particles).output]

    @case("bayes.func_parvi.%s.update" % _k)
    def _(k=_k):
        a = fparvi(k)
        a.update_with_gradient(a.train_step(data(k)).info._replace(extra=()))
        return a.particles

    @case("bayes.func_parvi.%s.train_iter_and_evaluate" % _k)
    def _(k=_k):
        a = fparvi(k)
        x, y = data(k)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=2)
        a.set_data_loader(loader, loader)
        n = a.train_iter()
        return [n, a.particles]


@case("bayes.func_parvi.particle_dim")
def _():
    return [list(fparvi().particles.shape), list(fparvi("classification").particles.shape)]


for _n, _kw in (
    ("loss_type", dict(loss_type="xx")),
    ("voting", dict(voting="xx")),
    ("function_vi_without_batch", dict(function_vi=True)),
):

    @case("bayes.func_parvi.refuses_%s" % _n)
    def _(kw=_kw):
        return refuses(lambda: fparvi(**kw))


def draws():
    """The i-th draw of standard normals differs from the others: the first is
    for the outputs, the second for the resampled particles."""
    count = [0]

    def f(*shape):
        count[0] += 1
        return wave(*shape, k=0.6 + 0.5 * count[0])

    return f


# ----------------------------------------------------------------- generator
def generator(**kw):
    from alf.algorithms.generator import Generator

    kw.setdefault("noise_dim", 2)
    kw.setdefault("hidden_layers", (4,))
    kw.setdefault("optimizer", sgd())
    return set_params(Generator(2, **kw))


_G = {
    "ml": dict(entropy_regularization=0.0),
    "svgd": dict(entropy_regularization=1.0, par_vi="svgd"),
    "svgd2": dict(entropy_regularization=1.0, par_vi="svgd2"),
    "svgd3": dict(entropy_regularization=1.0, par_vi="svgd3"),
    "gfsf": dict(entropy_regularization=1.0, par_vi="gfsf"),
    "svgd3_weight": dict(entropy_regularization=0.2, par_vi="svgd3"),
    "svgd2_averager": dict(entropy_regularization=1.0, par_vi="svgd2", use_kernel_averager=True),
    "gfsf_weight": dict(entropy_regularization=0.2, par_vi="gfsf"),
    "minmax": dict(
        entropy_regularization=1.0, par_vi="minmax", critic_hidden_layers=(4,), critic_use_bn=False
    ),
    "minmax_relu_mlp": dict(
        entropy_regularization=1.0, par_vi="minmax", critic_hidden_layers=(4,), critic_relu_mlp=True
    ),
    "minmax_no_resample": dict(
        entropy_regularization=1.0,
        par_vi="minmax",
        critic_hidden_layers=(4,),
        critic_use_bn=False,
        minmax_resample=False,
    ),
    "ml_mi": dict(entropy_regularization=0.0, mi_weight=0.1),
    "gpvi": dict(
        entropy_regularization=1.0,
        par_vi="svgd3",
        functional_gradient=True,
        inverse_mvp_hidden_size=4,
    ),
    "gpvi_direct": dict(
        entropy_regularization=1.0,
        par_vi="svgd3",
        functional_gradient=True,
        direct_jac_inverse=True,
    ),
    "gpvi_plus": dict(
        noise_dim=1,
        entropy_regularization=1.0,
        par_vi="svgd3",
        functional_gradient=True,
        inverse_mvp_hidden_size=4,
        init_lambda=0.5,
    ),
    "gpvi_plus_block": dict(
        noise_dim=1,
        entropy_regularization=1.0,
        par_vi="svgd3",
        functional_gradient=True,
        inverse_mvp_hidden_size=4,
        block_inverse_mvp=True,
    ),
    "gpvi_plus_direct": dict(
        noise_dim=1,
        entropy_regularization=1.0,
        par_vi="svgd3",
        functional_gradient=True,
        direct_jac_inverse=True,
        init_lambda=0.5,
    ),
    "gpvi_plus_direct_block": dict(
        noise_dim=1,
        entropy_regularization=1.0,
        par_vi="svgd3",
        functional_gradient=True,
        direct_jac_inverse=True,
        block_inverse_mvp=True,
    ),
    "gpvi_plus_lambda": dict(
        noise_dim=1,
        entropy_regularization=1.0,
        par_vi="svgd3",
        functional_gradient=True,
        inverse_mvp_hidden_size=4,
        lambda_trainable=True,
        init_lambda=0.3,
    ),
}
for _n, _kw in _G.items():

    @case("bayes.generator.%s.train_step" % _n)
    def _(kw=_kw):
        """Standard normal draws are a fixed function of their shape."""
        a = generator(**kw)
        with no_noise(normal=draws()):
            r = a.train_step(None, nll, batch_size=6)
            out = r.output if isinstance(r.output, torch.Tensor) else list(r.output)
            return [out, r.info]

    @case("bayes.generator.%s.update" % _n)
    def _(kw=_kw):
        a = generator(**kw)
        with no_noise(normal=draws()):
            li = a.train_step(None, nll, batch_size=6).info
            a.update_with_gradient(li._replace(extra=()))
            return params_of(a)


@case("bayes.generator.conditional.ml")
def _():
    with no_noise(normal=wave):
        from alf.networks import EncodingNetwork

        net = EncodingNetwork(
            [TensorSpec((2,)), TensorSpec((3,))],
            preprocessing_combiner=alf.nest.utils.NestConcat(),
            fc_layer_params=(4,),
            last_layer_size=2,
            last_activation=alf.math.identity,
        )
        a = generator(input_tensor_spec=TensorSpec((3,)), net=net)
        f = lambda oi: nll(oi[0]) + oi[1].sum(-1)
        r = a.train_step(wave(6, 3), f)
        return [r.output, r.info]


@case("bayes.generator.conditional.svgd")
def _():
    from alf.networks import EncodingNetwork

    net = EncodingNetwork(
        [TensorSpec((2,)), TensorSpec((3,))],
        preprocessing_combiner=alf.nest.utils.NestConcat(),
        fc_layer_params=(4,),
        last_layer_size=2,
        last_activation=alf.math.identity,
    )
    a = generator(
        input_tensor_spec=TensorSpec((3,)), net=net, par_vi="svgd", entropy_regularization=1.0
    )
    with no_noise(normal=draws()):
        r = a.train_step(wave(6, 3), lambda oi: nll(oi[0]))
        return [r.output, r.info]


for _v in ("svgd2", "svgd3", "gfsf"):

    @case("bayes.generator.%s.transform" % _v)
    def _(v=_v):
        def f(p):
            extra = None
            if isinstance(p, tuple):
                p, extra = p
            return torch.stack([2 * p[:, 0], p.sum(-1)], -1), p[:, :1] ** 2, extra

        with no_noise(normal=wave):
            return (
                generator(par_vi=v, entropy_regularization=1.0)
                .train_step(None, nll, batch_size=6, transform_func=f)
                .info
            )

    @case("bayes.generator.%s.refuses_inputs" % _v)
    def _(v=_v):
        a = generator(par_vi=v, entropy_regularization=1.0)
        return refuses(lambda: a.train_step(wave(4, 3), nll))


@case("bayes.generator.predict_step")
def _():
    with no_noise(normal=wave):
        a = generator()
        return [
            a.predict_step(noise=wave(3, 2)).output,
            a.predict_step(batch_size=4).output,
            a.noise_dim,
        ]


@case("bayes.generator.moving_average_net")
def _():
    """Prediction uses the averaged net, which after_update moves."""
    with no_noise(normal=wave):
        a = generator(net_moving_average_rate=0.5)
        x = wave(3, 2)
        out = [a.predict_step(noise=x).output]
        a.update_with_gradient(a.train_step(None, nll, batch_size=6).info._replace(extra=()))
        out.append(a.predict_step(noise=x).output)
        a.after_update(None)
        out.append(a.predict_step(noise=x).output)
        return out


for _n, _kw in (
    ("par_vi", dict(par_vi="xx", entropy_regularization=1.0)),
    (
        "too_much_noise",
        dict(noise_dim=3, par_vi="svgd3", entropy_regularization=1.0, functional_gradient=True),
    ),
    (
        "lambda_zero",
        dict(
            noise_dim=1,
            par_vi="svgd3",
            entropy_regularization=1.0,
            functional_gradient=True,
            init_lambda=0.0,
        ),
    ),
):

    @case("bayes.generator.refuses_%s" % _n)
    def _(kw=_kw):
        return refuses(lambda: generator(**kw))


@case("bayes.generator.loss_info_fields")
def _():
    from alf.algorithms.generator import GeneratorLossInfo

    return list(GeneratorLossInfo._fields)


@case("bayes.critic_algorithm.predict_step")
def _():
    from alf.algorithms.generator import CriticAlgorithm

    out = []
    for kw in (dict(use_bn=False), dict(use_bn=False, output_dim=3), dict(use_relu_mlp=True)):
        a = set_params(CriticAlgorithm(TensorSpec((2,)), hidden_layers=(4,), **kw))
        out.append(a.predict_step(wave(5, 2)).output)
    return out


@case("bayes.critic_algorithm.jacobian_diagonal")
def _():
    from alf.algorithms.generator import CriticAlgorithm

    a = set_params(CriticAlgorithm(TensorSpec((2,)), hidden_layers=(4,), use_relu_mlp=True))
    return list(a.predict_step(wave(5, 2), requires_jac_diag=True).output)


for _n, _z, _v in (
    ("plain", (3, 1), (3, 2)),
    ("longer_z", (3, 2), (3, 2)),
    ("rank3", (3, 1), (3, 4, 2)),
    ("longer_vec", (3, 1), (3, 3)),
):

    @case("bayes.inverse_mvp.%s" % _n)
    def _(z=_z, v=_v):
        from alf.algorithms.generator import InverseMVPAlgorithm

        a = set_params(InverseMVPAlgorithm(1, 2, hidden_size=4))
        return list(a.predict_step((wave(*z), wave(*v, k=0.5))).output)


@case("bayes.inverse_mvp.refuses_larger_input")
def _():
    from alf.algorithms.generator import InverseMVPAlgorithm

    return refuses(lambda: InverseMVPAlgorithm(3, 2))


# -------------------------------------------------------------- hyper network
def hyper(loss_type="regression", **kw):
    from alf.algorithms.hypernetwork_algorithm import HyperNetwork

    kw.setdefault("optimizer", sgd(0.05))
    return set_params(
        HyperNetwork(
            input_tensor_spec=TensorSpec((3,)),
            output_dim=2 if loss_type == "regression" else 3,
            fc_layer_params=(4,),
            activation=torch.tanh,
            noise_dim=4,
            hidden_layers=(5,),
            num_particles=4,
            loss_type=loss_type,
            **kw,
        )
    )


for _k in ("regression", "classification"):
    for _v in ("svgd", "svgd2", "svgd3", "gfsf"):

        @case("bayes.hypernetwork.%s.%s.train_step" % (_k, _v))
        def _(k=_k, v=_v):
            with no_noise(normal=wave):
                return hyper(k, par_vi=v).train_step(data(k)).info

    @case("bayes.hypernetwork.%s.update" % _k)
    def _(k=_k):
        with no_noise(normal=wave):
            a = hyper(k)
            a.update_with_gradient(a.train_step(data(k)).info._replace(extra=()))
            return params_of(a)

    @case("bayes.hypernetwork.%s.train_iter_and_evaluate" % _k)
    def _(k=_k):
        with no_noise(normal=wave):
            a = hyper(k)
            x, y = data(k)
            loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=2)
            a.set_data_loader(loader, loader, entropy_regularization=1.0)
            n = a.train_iter()
            a.evaluate()
            return [n, params_of(a)]


@case("bayes.hypernetwork.entropy_from_data")
def _():
    """Without a weight, batch size over data set size is used."""
    with no_noise(normal=wave):
        a = hyper("classification")
        x, y = data("classification")
        ds = torch.utils.data.TensorDataset(x, y)
        ds.data = x
        a.set_data_loader(
            torch.utils.data.DataLoader(ds, batch_size=2), entropy_regularization=None
        )
        return a.train_step((x, y)).info


@case("bayes.hypernetwork.predict_step")
def _():
    with no_noise(normal=wave):
        a = hyper()
        p = a.sample_parameters(num_particles=3)
        return [
            p,
            a.predict_step(wave(4, 3), params=p).output,
            a.predict_step(wave(4, 3)).output,
            a.num_particles,
        ]


@case("bayes.hypernetwork.set_num_particles")
def _():
    with no_noise(normal=wave):
        a = hyper()
        a.set_num_particles(2)
        return [
            a.num_particles,
            list(a.sample_parameters().shape),
            list(a.sample_parameters(noise=wave(5, 4)).shape),
        ]


for _n, _kw in (
    ("gpvi", dict(functional_gradient=True, inverse_mvp_hidden_size=4)),
    (
        "gpvi_block",
        dict(functional_gradient=True, inverse_mvp_hidden_size=4, block_inverse_mvp=True),
    ),
    ("minmax", dict(par_vi="minmax", critic_hidden_layers=(4,), critic_optimizer=None)),
    ("entropy", dict(entropy_regularization=0.1)),
):

    @case("bayes.hypernetwork.%s.train_step" % _n)
    def _(kw=_kw):
        with no_noise(normal=wave):
            return hyper("regression", **kw).train_step(data("regression")).info


for _v in ("svgd2", "svgd3", "gfsf"):

    @case("bayes.hypernetwork.function_vi.%s" % _v)
    def _(v=_v):
        from functools import partial as P

        from alf.algorithms.hypernetwork_algorithm import HyperNetwork

        with no_noise(normal=wave):
            a = set_params(
                HyperNetwork(
                    input_tensor_spec=TensorSpec((3,)),
                    output_dim=1,
                    fc_layer_params=(4,),
                    activation=torch.tanh,
                    noise_dim=4,
                    hidden_layers=(5,),
                    num_particles=4,
                    loss_type="regression",
                    par_vi=v,
                    function_vi=True,
                    function_bs=4,
                    function_extra_bs_ratio=0.5,
                    optimizer=sgd(),
                )
            )
            x = wave(4, 3)
            return a.train_step((x, wave(4, 1, k=0.4))).info


for _n, _kw in (
    ("loss_type", dict(loss_type="xx")),
    ("voting", dict(voting="xx")),
    ("function_vi_minmax", dict(par_vi="minmax", function_vi=True, function_bs=4)),
    ("function_vi_without_batch", dict(function_vi=True)),
    ("function_vi_sampler", dict(function_vi=True, function_bs=4, function_extra_bs_sampler="xx")),
):

    @case("bayes.hypernetwork.refuses_%s" % _n)
    def _(kw=_kw):
        return refuses(lambda: hyper(**kw))


@case("bayes.hypernetwork.needs_specs_or_data")
def _():
    from alf.algorithms.hypernetwork_algorithm import HyperNetwork

    return refuses(lambda: HyperNetwork(fc_layer_params=(4,)))
