"""``alf.layers``, ``alf.norm_layers``, ``alf.initializers``."""

import torch
import torch.nn as nn
from harness import case, fill, fill_symmetric, pattern, refuses

import alf
from alf import layers


def x(*shape):
    return pattern(shape, 1.0, phase=0.7)


def shapes(module):
    return sorted([list(p.shape) for p in module.parameters()])


def size(module):
    return sum(p.numel() for p in module.parameters())


# ---- small layers ---------------------------------------------------------


@case("layers.Identity_Cast_Detach_Scale")
def _():
    return [
        layers.Identity()(x(2, 2)),
        layers.Cast(torch.int32)(torch.tensor([1.7, -1.7])),
        layers.Cast()(torch.tensor([1])),
        layers.Detach()(x(2)),
        layers.Scale(2.5)(x(2)),
    ]


@case("layers.Detach.stops_the_gradient")
def _():
    return layers.Detach()(torch.ones(2, requires_grad=True)).requires_grad


@case("layers.Transpose.without_the_batch")
def _():
    return [
        layers.Transpose()(x(2, 3, 4)),
        layers.Transpose(-1, -2)(x(2, 3, 4)).shape,
        layers.Transpose(0, 2)(x(2, 3, 4, 5)).shape,
        layers.Transpose(0, -1)(x(2, 3, 4, 5)).shape,
    ]


@case("layers.Transpose.make_parallel")
def _():
    """Neither the batch nor the replica dimension counts."""
    return [
        layers.Transpose().make_parallel(2)(x(3, 2, 4, 5)).shape,
        layers.Transpose(-1, -2).make_parallel(2)(x(3, 2, 4, 5)).shape,
    ]


@case("layers.Permute.without_the_batch")
def _():
    return [
        layers.Permute(2, 0, 1)(x(2, 3, 4, 5)).shape,
        layers.Permute(1, 0)(x(1, 2, 3)),
        refuses(layers.Permute, -1, 0),
    ]


@case("layers.OneHot")
def _():
    return layers.OneHot(4)(torch.tensor([[0, 3], [1, 1]]))


@case("layers.OneHot.make_parallel")
def _():
    return layers.OneHot(3).make_parallel(2)(torch.tensor([[0, 2]]))


@case("layers.Reshape")
def _():
    return [
        layers.Reshape(3, 2)(x(2, 6)).shape,
        layers.Reshape((6,))(x(2, 3, 2)).shape,
        layers.Reshape(-1)(x(2, 3, 2)).shape,
        layers.Reshape(())(x(4, 1)).shape,
    ]


@case("layers.Reshape.make_parallel")
def _():
    return layers.Reshape(2, 3).make_parallel(4)(x(5, 4, 6)).shape


@case("layers.Sum")
def _():
    """dim does not count the batch dimension."""
    return [layers.Sum(0)(x(2, 3, 2)), layers.Sum(dim=-1)(x(2, 3, 2)), layers.Sum(1)(x(2, 3, 2))]


@case("layers.Sum.make_parallel")
def _():
    return layers.Sum(0).make_parallel(2)(x(4, 2, 3, 5)).shape


@case("layers.AddN")
def _():
    return layers.AddN()([x(2), x(2), torch.ones(2)])


@case("layers.Lambda")
def _():
    return layers.Lambda(lambda v: v * 2)(x(3))


@case("layers.GetFields")
def _():
    n = {"a": x(2), "b": {"c": torch.ones(1)}}
    return [layers.GetFields(("b.c", "a"))(n), layers.GetFields(q="b.c", r="a")(n)]


@case("layers.ReplicationPad2d.one_number")
def _():
    return layers.ReplicationPad2d(1)(torch.arange(4).reshape(1, 1, 2, 2))


@case("layers.ReplicationPad2d.left_right_top_bottom")
def _():
    return layers.ReplicationPad2d((1, 2, 3, 1))(
        torch.arange(6, dtype=torch.uint8).reshape(1, 1, 2, 3)
    )


@case("layers.RandomCrop.padding_repeats_the_nearest_pixel")
def _():
    y = layers.RandomCrop((3, 2), padding=1)(torch.arange(2 * 16).reshape(2, 1, 4, 4).float())
    return [y.shape, bool((y[0] < 16).all()), bool((y[1] >= 16).all())]


@case("layers.RandomCrop.whole_image")
def _():
    return layers.RandomCrop(3)(x(2, 1, 3, 3))


@case("layers.ScaleGradient")
def _():
    v = torch.ones(3, requires_grad=True)
    y = layers.ScaleGradient(0.25)(v)
    y.sum().backward()
    return [y, v.grad]


@case("layers.SummarizeGradient.passes_values_and_gradients")
def _():
    v = torch.ones(3, requires_grad=True)
    y = layers.SummarizeGradient("g")(v * 2)
    (y * 3).sum().backward()
    return [y, v.grad]


@case("layers.SimpleAttention")
def _():
    q, k, v = x(2, 3, 4), x(2, 5, 4) * 0.5, x(2, 5, 6)
    return layers.SimpleAttention()(q, k, v)


@case("layers.AMPWrapper.disabled")
def _():
    return layers.AMPWrapper(False, fill(layers.FC(3, 2)))(x(2, 3))


@case("layers.normalize_along_batch_dims")
def _():
    return layers.normalize_along_batch_dims(
        x(2, 3, 2), torch.tensor([0.1, -0.2]), torch.tensor([4.0, 9.0]), 1e-3
    )


@case("layers.GFT")
def _():
    return fill(layers.GFT(2, 3, 4), 0.8)((x(2, 3, 2, 2).abs(), x(2, 4)))


# ---- fixed decoding -------------------------------------------------------


@case("layers.FixedDecodingLayer.poly")
def _():
    d = layers.FixedDecodingLayer(3, 5, basis_type="poly", tau=0.5)
    return [d.weight, d(x(2, 3))]


@case("layers.FixedDecodingLayer.cheb")
def _():
    return layers.FixedDecodingLayer(4, 6, basis_type="cheb", tau=0.7).weight


@case("layers.FixedDecodingLayer.rbf")
def _():
    return layers.FixedDecodingLayer(4, 4, basis_type="rbf", sigma=0.5).weight


@case("layers.FixedDecodingLayer.haar")
def _():
    return layers.FixedDecodingLayer(8, 8, basis_type="haar", tau=0.5).weight


@case("layers.FixedDecodingLayer.refusals")
def _():
    f = layers.FixedDecodingLayer
    return [
        refuses(f, 3, 4, basis_type="rbf"),
        refuses(f, 3, 3, basis_type="haar"),
        refuses(f, 0, 3, basis_type="poly"),
        refuses(f, 3, 3, basis_type="spline"),
    ]


@case("layers.FixedDecodingLayer.not_trainable")
def _():
    return [p.requires_grad for p in layers.FixedDecodingLayer(3, 3).parameters()]


# ---- FC -----------------------------------------------------------------


@case("layers.FC.plain")
def _():
    f = fill(layers.FC(3, 2))
    return [
        f(x(4, 3)),
        f(x(2, 5, 3)).shape,
        f(x(3)).shape,
        f.weight,
        f.bias,
        f.input_size,
        f.output_size,
    ]


@case("layers.FC.activation")
def _():
    return fill(layers.FC(3, 4, activation=torch.tanh))(x(2, 3))


@case("layers.FC.no_bias")
def _():
    f = fill(layers.FC(3, 2, use_bias=False))
    return [f.bias, f(x(2, 3))]


@case("layers.FC.use_bn_drops_the_bias")
def _():
    f = layers.FC(3, 2, use_bn=True)
    return [f.bias is None, shapes(f)]


@case("layers.FC.use_bn_in_train_mode")
def _():
    f = fill(layers.FC(3, 2, use_bn=True, activation=torch.relu))
    y = f(x(5, 3))
    return [y, {k: v for k, v in f.state_dict().items() if "running" in k}.__len__()]


@case("layers.FC.use_bn_updates_running_statistics")
def _():
    f = fill(layers.FC(3, 2, use_bn=True))
    f(x(5, 3))
    return [b for n, b in f.named_buffers() if "running" in n]


@case("layers.FC.use_bn_in_eval_mode")
def _():
    return fill(layers.FC(3, 2, use_bn=True)).eval()(x(5, 3))


@case("layers.FC.use_ln")
def _():
    f = fill(layers.FC(3, 4, use_ln=True))
    return [shapes(f), f(x(2, 3))]


@case("layers.FC.use_ln_without_bias")
def _():
    """Without a bias the layer norm keeps no offset either."""
    f = fill(layers.FC(3, 4, use_ln=True, use_bias=False))
    return f(x(2, 3))


@case("layers.FC.use_ln_and_use_bn")
def _():
    return fill(layers.FC(3, 4, use_ln=True, use_bn=True))(x(5, 3))


@case("layers.FC.bias_init_value_and_initializers")
def _():
    f = layers.FC(3, 2, bias_init_value=0.5, kernel_initializer=lambda w: w.fill_(2.0))
    g = layers.FC(3, 2, bias_initializer=lambda b: b.fill_(-1.0), bias_init_value=3.0)
    return [f.bias, f.weight, g.bias]


@case("layers.FC.default_bias_is_zero")
def _():
    return layers.FC(3, 2).bias


@case("layers.FC.use_torch_init_bounds")
def _():
    f = layers.FC(100, 50, use_torch_init=True)
    return [
        bool(f.weight.abs().max() <= 0.1),
        bool(f.weight.abs().max() > 0.09),
        bool(f.bias.abs().max() <= 0.1),
        bool(f.bias.abs().max() > 0.05),
    ]


@case("layers.FC.kernel_init_gain_scales_the_std")
def _():
    a = layers.FC(1000, 200).weight.std()
    b = layers.FC(1000, 200, kernel_init_gain=2.0).weight.std()
    return [round(float(b / a), 1), round(float(a) * 1000**0.5, 1)]


@case("layers.FC.gain_of_relu_and_tanh")
def _():
    """The weights' deviation makes up for what the activation shrinks."""
    return [
        round(float(layers.FC(1000, 400, activation=f).weight.std()) * 1000**0.5, 1)
        for f in (torch.relu, torch.tanh, torch.sigmoid)
    ]


@case("layers.FC.opt_args_on_parameters")
def _():
    f = layers.FC(3, 2, weight_opt_args={"lr": 0.1}, bias_opt_args={"lr": 0.2})
    return [f.weight.opt_args, f.bias.opt_args]


@case("layers.FC.wrong_input_size")
def _():
    return refuses(layers.FC(3, 2), x(4, 5))


@case("layers.FC.make_parallel.type_and_shapes")
def _():
    p = layers.FC(3, 2, activation=torch.tanh, use_ln=True).make_parallel(4)
    return [type(p).__name__, size(p), p(x(5, 3)).shape]


# ---- ParallelFC -----------------------------------------------------------


@case("layers.ParallelFC.shared_input")
def _():
    p = fill(layers.ParallelFC(3, 2, 4))
    return [p(x(5, 3)), p.weight.shape, p.bias.shape]


@case("layers.ParallelFC.own_inputs")
def _():
    return fill(layers.ParallelFC(3, 2, 4, activation=torch.relu))(x(5, 4, 3))


@case("layers.ParallelFC.one_output")
def _():
    return fill(layers.ParallelFC(3, 1, 2))(x(2, 2, 3))


@case("layers.ParallelFC.no_bias")
def _():
    p = fill(layers.ParallelFC(3, 2, 2, use_bias=False))
    return [p.bias, p(x(2, 3))]


@case("layers.ParallelFC.layer_i_equals_FC")
def _():
    p, f = fill(layers.ParallelFC(3, 2, 2)), layers.FC(3, 2)
    with torch.no_grad():
        f.weight.copy_(p.weight[1])
        f.bias.copy_(p.bias[1])
    v = x(4, 2, 3)
    return (p(v)[:, 1] - f(v[:, 1])).abs().max() < 1e-6


@case("layers.ParallelFC.use_bn_train")
def _():
    return fill(layers.ParallelFC(3, 2, 2, use_bn=True))(x(4, 2, 3))


@case("layers.ParallelFC.use_bn_eval")
def _():
    return fill(layers.ParallelFC(3, 2, 2, use_bn=True)).eval()(x(4, 2, 3))


@case("layers.ParallelFC.use_ln")
def _():
    return fill(layers.ParallelFC(3, 4, 2, use_ln=True))(x(4, 2, 3))


@case("layers.ParallelFC.wrong_shapes")
def _():
    p = layers.ParallelFC(3, 2, 4)
    return [
        refuses(p, x(5, 2)),
        refuses(p, x(5, 3, 3)),
        refuses(p, x(3)),
        refuses(p, x(2, 2, 4, 3)),
    ]


@case("layers.ParallelFC.bias_init_value")
def _():
    return layers.ParallelFC(
        2, 2, 2, bias_init_value=0.25, kernel_initializer=lambda w: w.fill_(1.0)
    ).bias


# ---- batch ensembles -------------------------------------------------------


@case("layers.FCBatchEnsemble.with_ids")
def _():
    f = fill(layers.FCBatchEnsemble(3, 2, 4, activation=torch.tanh))
    return f((x(5, 3), torch.tensor([0, 1, 2, 3, 1])))


@case("layers.FCBatchEnsemble.returns_ids")
def _():
    y, ids = layers.FCBatchEnsemble(3, 2, 4)(x(50, 3))
    return [y.shape, ids.dtype, ids.shape, bool(((ids >= 0) & (ids < 4)).all())]


@case("layers.FCBatchEnsemble.without_ids_output")
def _():
    f = fill(layers.FCBatchEnsemble(3, 2, 4, output_ensemble_ids=False))
    return f((x(2, 3), torch.tensor([3, 1])))


@case("layers.FCBatchEnsemble.rank_3_input")
def _():
    return fill(layers.FCBatchEnsemble(3, 2, 4, output_ensemble_ids=False))(
        (x(2, 3, 3), torch.tensor([3, 1]))
    )


@case("layers.FCBatchEnsemble.use_ln_and_bn")
def _():
    ids = torch.tensor([0, 1, 2, 3, 1])
    return [
        fill(layers.FCBatchEnsemble(3, 4, 4, use_ln=True, output_ensemble_ids=False))(
            (x(5, 3), ids)
        ),
        fill(layers.FCBatchEnsemble(3, 4, 4, use_bn=True, output_ensemble_ids=False))(
            (x(5, 3), ids)
        ),
    ]


@case("layers.FCBatchEnsemble.initial_vectors_are_signs")
def _():
    f = layers.FCBatchEnsemble(3, 2, 4)
    rank2 = {
        n: sorted(set(p.flatten().tolist()))
        for n, p in f.named_parameters()
        if list(p.shape) == [4, 3]
    }
    return list(rank2.values())


@case("layers.FCBatchEnsemble.ensemble_group_on_parameters")
def _():
    f = layers.FCBatchEnsemble(3, 2, 4, ensemble_group=7)
    return sorted([list(p.shape), getattr(p, "ensemble_group", -1)] for p in f.parameters())


@case("layers.Conv2DBatchEnsemble.with_ids")
def _():
    f = fill(layers.Conv2DBatchEnsemble(2, 3, 2, 4, use_bias=True))
    return f((x(3, 2, 3, 3), torch.tensor([0, 3, 2])))


@case("layers.Conv2DBatchEnsemble.without_ids_output_strides_padding")
def _():
    f = fill(
        layers.Conv2DBatchEnsemble(
            2,
            3,
            3,
            4,
            output_ensemble_ids=False,
            use_bias=True,
            strides=2,
            padding=1,
            activation=torch.tanh,
        )
    )
    return f((x(2, 2, 4, 4), torch.tensor([1, 3])))


# ---- compositional --------------------------------------------------------


@case("layers.CompositionalFC.with_weights")
def _():
    f = fill(layers.CompositionalFC(3, 2, 4, activation=torch.tanh))
    return f((x(5, 3), pattern((5, 4), 1.0).softmax(-1)))


@case("layers.CompositionalFC.no_weights_is_a_sum")
def _():
    f = fill(layers.CompositionalFC(3, 2, 4))
    return [f(x(2, 3)), f((x(2, 3), None))]


@case("layers.CompositionalFC.without_weight_output")
def _():
    return fill(layers.CompositionalFC(3, 2, 2, output_comp_weight=False, use_bias=False))(
        (x(2, 3), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    )


@case("layers.CompositionalFC.use_ln_and_bn")
def _():
    w = pattern((5, 4), 1.0).softmax(-1)
    return [
        fill(layers.CompositionalFC(3, 4, 4, use_ln=True, output_comp_weight=False))((x(5, 3), w)),
        fill(layers.CompositionalFC(3, 4, 4, use_bn=True, output_comp_weight=False))((x(5, 3), w)),
    ]


# ---- convolutions ---------------------------------------------------------


@case("layers.CausalConv1D.output_is_causal")
def _():
    return fill(layers.CausalConv1D(2, 3, 3, activation=torch.tanh))(x(2, 2, 5))


@case("layers.CausalConv1D.dilation")
def _():
    return fill(layers.CausalConv1D(1, 1, 2, dilation=2, activation=alf.math.identity))(
        torch.arange(6.0).reshape(1, 1, 6)
    )


@case("layers.CausalConv1D.hide_current")
def _():
    """The output at l depends on inputs before l only."""
    return fill(layers.CausalConv1D(1, 1, 2, hide_current=True, activation=alf.math.identity))(
        torch.arange(6.0).reshape(1, 1, 6)
    )


@case("layers.CausalConv1D.hide_current_with_dilation_refused")
def _():
    return refuses(layers.CausalConv1D, 1, 1, 2, dilation=2, hide_current=True)


@case("layers.CausalConv1D.use_bn_has_no_bias")
def _():
    c = fill(layers.CausalConv1D(1, 2, 2, use_bn=True))
    return [c.bias is None, c(x(2, 1, 4))]


@case("layers.Conv2D.plain")
def _():
    c = fill(layers.Conv2D(2, 3, 2))
    return [c(x(2, 2, 3, 3)), c.weight.shape, c.bias.shape]


@case("layers.Conv2D.strides_padding_rectangular_kernel")
def _():
    return fill(layers.Conv2D(1, 2, (3, 2), strides=(2, 1), padding=(1, 0), activation=torch.tanh))(
        x(1, 1, 4, 4)
    )


@case("layers.Conv2D.use_bn_train_and_eval")
def _():
    c = fill(layers.Conv2D(1, 2, 2, use_bn=True))
    first = c(x(2, 1, 3, 3))
    return [c.bias is None, first, fill(c).eval()(x(2, 1, 3, 3))]


@case("layers.Conv2D.use_ln")
def _():
    c = layers.Conv2D(1, 2, 2, use_ln=True)
    y = fill(c)(x(2, 1, 3, 3))
    return [y, shapes(c)]


@case("layers.Conv2D.make_parallel")
def _():
    p = layers.Conv2D(2, 3, 2).make_parallel(2)
    return [type(p).__name__, p(x(2, 2, 4, 4)).shape, p(x(2, 2, 2, 4, 4)).shape]


@case("layers.ParallelConv2D.shared_and_own_inputs")
def _():
    p = fill(layers.ParallelConv2D(2, 3, 2, 2))
    return [p(x(2, 2, 3, 3)), p(x(2, 2, 2, 3, 3)), p.weight.shape, p.bias.shape]


@case("layers.ParallelConv2D.weight_i_is_layer_i")
def _():
    p, c = fill(layers.ParallelConv2D(2, 3, 2, 2)), layers.Conv2D(2, 3, 2)
    with torch.no_grad():
        c.weight.copy_(p.weight[1])
        c.bias.copy_(p.bias[1])
    v = x(2, 2, 2, 3, 3)
    return (p(v)[:, 1] - c(v[:, 1])).abs().max() < 1e-5


@case("layers.ParallelConv2D.use_bn")
def _():
    return fill(layers.ParallelConv2D(1, 2, 2, 2, use_bn=True))(x(2, 2, 1, 3, 3))


@case("layers.ParallelConv2D.use_ln")
def _():
    return fill(layers.ParallelConv2D(1, 2, 2, 2, use_ln=True))(x(2, 2, 1, 3, 3))


@case("layers.ParallelConv2D.wrong_shapes")
def _():
    p = layers.ParallelConv2D(2, 3, 2, 2)
    return [refuses(p, x(2, 3, 3, 3)), refuses(p, x(2, 3, 2, 3, 3)), refuses(p, x(2, 3, 3))]


@case("layers.ConvTranspose2D.plain")
def _():
    c = fill(layers.ConvTranspose2D(2, 3, 2))
    return [c(x(2, 2, 2, 2)), c.weight.shape]


@case("layers.ConvTranspose2D.output_padding")
def _():
    return fill(
        layers.ConvTranspose2D(
            1, 2, 3, strides=2, padding=1, output_padding=1, activation=torch.tanh
        )
    )(x(1, 1, 2, 2))


@case("layers.ConvTranspose2D.use_bn")
def _():
    c = fill(layers.ConvTranspose2D(1, 2, 2, use_bn=True))
    return [c.bias is None, c(x(2, 1, 2, 2))]


@case("layers.ParallelConvTranspose2D.shared_and_own_inputs")
def _():
    p = fill(layers.ParallelConvTranspose2D(2, 3, 2, 2))
    return [p(x(1, 2, 2, 2)), p(x(1, 2, 2, 2, 2)), p.weight.shape]


@case("layers.ConvTranspose2D.make_parallel")
def _():
    p = layers.ConvTranspose2D(2, 3, 2, use_bn=True).make_parallel(2)
    return [type(p).__name__, p(x(2, 2, 4, 4)).shape]


# ---- parameters given from outside ----------------------------------------------


@case("layers.ParamFC.one_group")
def _():
    f = layers.ParamFC(3, 2)
    f.set_parameters(pattern((f.param_length,), 1.0))
    return [f.param_length, f.weight_length, f.bias_length, f.weight, f.bias, f(x(2, 3))]


@case("layers.ParamFC.groups_set_by_the_parameters")
def _():
    f = layers.ParamFC(3, 2, activation=torch.tanh)
    f.set_parameters(pattern((4, f.param_length), 1.0))
    return [f(x(2, 3)), f(x(2, 4, 3))]


@case("layers.ParamFC.use_ln")
def _():
    f = layers.ParamFC(3, 4, use_ln=True, n_groups=2)
    f.set_parameters(pattern((2, f.param_length), 1.0))
    return [f.param_length, f(x(2, 3))]


@case("layers.ParamFC.use_ln_one_group_output_shape")
def _():
    f = layers.ParamFC(3, 4, use_ln=True, n_groups=1)
    f.set_parameters(pattern((1, f.param_length), 1.0))
    return f(x(2, 3)).shape


@case("layers.ParamFC.no_bias")
def _():
    f = layers.ParamFC(3, 2, use_bias=False)
    f.set_parameters(pattern((f.param_length,), 1.0))
    return [f.param_length, f.bias_length, f(x(2, 3))]


@case("layers.ParamFC.refusals")
def _():
    f = layers.ParamFC(3, 2)
    return [
        refuses(f.set_parameters, torch.zeros(7)),
        refuses(f, x(2, 4)),
        refuses(layers.ParamFC, 3, 2, use_ln=True),
    ]


@case("layers.ParamFC.reinitialize_writes_into_theta")
def _():
    f = layers.ParamFC(3, 2, kernel_initializer=lambda w: w.fill_(2.0), bias_init_value=0.5)
    theta = torch.zeros(1, f.param_length)
    f.set_parameters(theta, reinitialize=True)
    return [theta, f.weight, f.bias]


@case("layers.ParamConv2D.one_group")
def _():
    f = layers.ParamConv2D(2, 3, 2, use_bias=True)
    f.set_parameters(pattern((f.param_length,), 1.0))
    return [f.param_length, f(x(2, 2, 3, 3))]


@case("layers.ParamConv2D.groups")
def _():
    f = layers.ParamConv2D(2, 3, 2, use_bias=True, activation=torch.tanh)
    f.set_parameters(pattern((2, f.param_length), 1.0))
    v = x(2, 2, 3, 3)
    return [f(v), f(v, keep_group_dim=False).shape, f(x(2, 2, 2, 3, 3)), f(x(2, 4, 3, 3)).shape]


@case("layers.ParamConv2D.pooling_strides_padding")
def _():
    f = layers.ParamConv2D(1, 2, 3, strides=1, padding=1, pooling_kernel=2)
    f.set_parameters(pattern((f.param_length,), 1.0))
    return f(x(1, 1, 4, 4))


@case("layers.ParamConv2D.use_ln")
def _():
    f = layers.ParamConv2D(1, 2, 2, use_ln=True, n_groups=2)
    f.set_parameters(pattern((2, f.param_length), 1.0))
    return [f.param_length, f(x(2, 1, 3, 3))]


@case("layers.ParamConv2D.default_has_no_bias")
def _():
    return layers.ParamConv2D(1, 2, 2).bias_length


# ---- blocks ---------------------------------------------------------------


@case("layers.ResidueBlock.same_channels_has_no_shortcut")
def _():
    b = fill(layers.ResidueBlock(2, 2, 3, 1, with_batch_normalization=False))
    return [shapes(b), b(x(1, 2, 3, 3))]


@case("layers.ResidueBlock.stride_with_bn")
def _():
    b = fill(layers.ResidueBlock(2, 3, 3, 2))
    return [shapes(b), b(x(2, 2, 4, 4)), b.eval()(x(2, 2, 4, 4)).shape]


@case("layers.ResidueBlock.eval_with_bn")
def _():
    return fill(layers.ResidueBlock(2, 3, 3, 1)).eval()(x(1, 2, 3, 3))


@case("layers.ResidueBlock.transpose_restores_the_shape")
def _():
    a, b = layers.ResidueBlock(2, 3, 3, 2), layers.ResidueBlock(3, 2, 3, 2, transpose=True)
    return [a(x(2, 2, 6, 6)).shape, b(a(x(2, 2, 6, 6))).shape]


@case("layers.ResidueBlock.activation")
def _():
    return fill(
        layers.ResidueBlock(1, 2, 3, 1, activation=nn.Tanh(), with_batch_normalization=False)
    )(x(1, 1, 3, 3))


@case("layers.BottleneckBlock.v1_5")
def _():
    b = fill(layers.BottleneckBlock(2, 3, (2, 3, 4), 2, with_batch_normalization=False))
    return [shapes(b), b(x(1, 2, 4, 4))]


@case("layers.BottleneckBlock.v1")
def _():
    return fill(
        layers.BottleneckBlock(2, 3, (2, 3, 4), 2, v1_5=False, with_batch_normalization=False)
    )(x(1, 2, 4, 4))


@case("layers.BottleneckBlock.bn_eval_no_shortcut")
def _():
    b = fill(layers.BottleneckBlock(4, 3, (2, 3, 4), 1)).eval()
    return [shapes(b), b(x(1, 4, 3, 3))]


@case("layers.BottleneckBlock.calc_output_shape")
def _():
    return [
        list(layers.BottleneckBlock(2, 3, (2, 3, 4), 2).calc_output_shape((2, 6, 6))),
        list(
            layers.BottleneckBlock(2, 3, (2, 3, 4), 2, transpose=True).calc_output_shape((2, 3, 3))
        ),
    ]


def transformer(**options):
    return fill_symmetric(layers.TransformerBlock(8, 2, 5, **options))


@case("layers.TransformerBlock.self_attention_abs")
def _():
    return transformer()(x(2, 5, 8))


@case("layers.TransformerBlock.number_of_parameters")
def _():
    return {
        p: size(layers.TransformerBlock(8, 2, 5, positional_encoding=p))
        for p in ("none", "abs", "rel")
    }


@case("layers.TransformerBlock.number_of_parameters_without_adding_the_encoding")
def _():
    return size(layers.TransformerBlock(8, 2, 5, add_positional_encoding=False))


@case("layers.TransformerBlock.masked_slot_has_no_influence")
def _():
    t = transformer()
    m = torch.tensor([[False, True, False, False, False]])
    a = x(1, 5, 8)
    b = a.clone()
    b[:, 1] = 9.0
    q = x(1, 2, 8)
    return bool((t(a, q, mask=m) - t(b, q, mask=m)).abs().max() < 1e-6)


@case("layers.TransformerBlock.query_of_rank_2")
def _():
    return transformer()(x(2, 5, 8), x(2, 8))


@case("layers.TransformerBlock.query_of_rank_3_rel")
def _():
    return transformer(positional_encoding="rel")(x(2, 5, 8), x(2, 3, 8))


@case("layers.TransformerBlock.no_positional_encoding")
def _():
    return transformer(positional_encoding="none")(x(2, 5, 8))


@case("layers.TransformerBlock.without_adding_the_encoding")
def _():
    return transformer(add_positional_encoding=False)(x(1, 5, 8))


@case("layers.TransformerBlock.unscaled_scores")
def _():
    return transformer(scale_attention_score=False)(x(1, 5, 8))


@case("layers.TransformerBlock.shorter_memory_abs")
def _():
    return transformer()(x(1, 3, 8))


@case("layers.TransformerBlock.shorter_memory_rel")
def _():
    return transformer(positional_encoding="rel")(x(1, 3, 8))


@case("layers.TransformerBlock.mask_of_slots")
def _():
    m = torch.tensor([[False, True, False, False, True], [False, False, False, False, False]])
    return transformer()(x(2, 5, 8), mask=m)


@case("layers.TransformerBlock.mask_per_query")
def _():
    m = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1).unsqueeze(0)
    return transformer()(x(1, 5, 8), mask=m)


@case("layers.TransformerBlock.own_sizes")
def _():
    t = fill_symmetric(
        layers.TransformerBlock(6, 2, 4, d_k=3, d_v=5, d_ff=7, activation=torch.tanh)
    )
    return [size(t), t(x(1, 4, 6))]


@case("layers.TransformerBlock.memory_too_long")
def _():
    return [
        refuses(layers.TransformerBlock(8, 2, 5), x(1, 6, 8)),
        refuses(layers.TransformerBlock(8, 2, 5), x(1, 5, 8), x(1, 6, 8)),
    ]


@case("layers.TransformerBlock.heads_that_do_not_divide")
def _():
    """d_k and d_v are the integer quotient of d_model and heads."""
    return fill_symmetric(layers.TransformerBlock(8, 3, 5))(x(1, 5, 8))


# ---- containers in layers ---------------------------------------------------


@case("layers.Sequential.plain")
def _():
    return fill(layers.Sequential(layers.FC(3, 4, torch.relu), layers.FC(4, 2)))(x(2, 3))


@case("layers.Sequential.named_inputs")
def _():
    s = layers.Sequential(
        layers.FC(3, 4),
        a=layers.FC(4, 4),
        b=("a", torch.tanh),
        c=(("a", "b"), lambda v: v[0] + v[1]),
    )
    return fill(s)(x(2, 3))


@case("layers.Sequential.input_fields_and_output")
def _():
    s = layers.Sequential(
        a=("input.x", layers.FC(3, 2)),
        b=("input.y", lambda v: v * 2),
        output={"p": "a", "q": "b", "r": "input.y"},
    )
    return fill(s)({"x": x(2, 3), "y": x(2)})


@case("layers.Sequential.make_parallel")
def _():
    p = layers.Sequential(layers.FC(3, 4, torch.relu), layers.FC(4, 2)).make_parallel(3)
    return [p(x(2, 3)).shape, p(x(2, 3, 3)).shape]


@case("layers.Branch.positional_and_named")
def _():
    a = layers.Branch(fill(layers.FC(3, 2)), torch.tanh)(x(2, 3))
    b = layers.Branch(p=fill(layers.FC(3, 2)), q=torch.tanh)(x(2, 3))
    return [a, b, type(a).__name__, type(b).__name__]


@case("layers.Branch.make_parallel")
def _():
    return [
        v.shape for v in layers.Branch(layers.FC(3, 2), layers.FC(3, 4)).make_parallel(5)(x(2, 3))
    ]


@case("layers.NaiveParallelLayer")
def _():
    """Replica i works on slice i of dimension 1."""
    p = fill(layers.NaiveParallelLayer(layers.FC(3, 2), 2))
    return [p(x(2, 2, 3)), len(list(p.parameters()))]


@case("layers.NaiveParallelLayer.of_a_function")
def _():
    return layers.NaiveParallelLayer(lambda v: v.sum(-1), 2)(x(3, 2, 4))


@case("layers.make_parallel_net.kinds")
def _():
    f = layers.make_parallel_net
    return [
        type(f(layers.FC(2, 2), 3)).__name__,
        type(f(nn.Linear(2, 2), 3)).__name__,
        f(torch.tanh, 3)(x(2, 3, 2)).shape,
        f(nn.Linear(2, 4), 3)(x(5, 3, 2)).shape,
    ]


@case("layers.make_parallel_input")
def _():
    """The replica dimension comes after the batch."""
    return layers.make_parallel_input({"a": x(2, 3), "b": torch.tensor([1, 2])}, 2)


@case("layers.make_parallel_spec")
def _():
    return layers.make_parallel_spec(
        {"a": alf.TensorSpec((3,)), "b": alf.BoundedTensorSpec((), "int64", 0, 3)}, 2
    )


@case("layers.reset_parameters.refuses_an_unknown_module_with_parameters")
def _():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.zeros(1))

    return [
        refuses(layers.reset_parameters, Odd()),
        refuses(layers.reset_parameters, layers.FC(2, 2)),
        refuses(layers.reset_parameters, torch.tanh),
    ]


# ---- alf.norm_layers ---------------------------------------------------------


@case("norm.BatchNorm1d.like_torch_before_steps_are_set")
def _():
    from alf.norm_layers import BatchNorm1d

    return [fill(BatchNorm1d(3))(x(4, 3)), fill(BatchNorm1d(3)).eval()(x(4, 3))]


@case("norm.BatchNorm2d.train_and_eval")
def _():
    from alf.norm_layers import BatchNorm2d

    return [fill(BatchNorm2d(2))(x(2, 2, 2, 2)), fill(BatchNorm2d(2)).eval()(x(2, 2, 2, 2))]


@case("norm.BatchNorm1d.use_bias_false")
def _():
    from alf.norm_layers import BatchNorm1d

    b = BatchNorm1d(3, use_bias=False)
    return [shapes(b), fill(b)(x(4, 3))]


@case("norm.BatchNorm1d.affine_false")
def _():
    from alf.norm_layers import BatchNorm1d

    trained = [list(p.shape) for p in BatchNorm1d(3, affine=False).parameters() if p.requires_grad]
    return [trained, BatchNorm1d(3, affine=False)(x(4, 3))]


@case("norm.BatchNorm1d.fixed_weight_norm")
def _():
    from alf.norm_layers import BatchNorm1d

    b = BatchNorm1d(4, fixed_weight_norm=True)
    return [b(x(5, 4)), b.eval()(x(5, 4))]


@case("norm.BatchNorm1d.steps_have_their_own_statistics")
def _():
    from alf.norm_layers import (
        BatchNorm1d,
        prepare_rnn_batch_norm,
        set_batch_norm_current_step,
        set_batch_norm_max_steps,
    )

    b = BatchNorm1d(2)
    prepare_rnn_batch_norm(b)
    set_batch_norm_max_steps(b, 2)
    for i in range(3):
        set_batch_norm_current_step(b, i)
        b(x(4, 2) * (i + 1) + i)
    b.eval()
    out = []
    for i in range(4):
        set_batch_norm_current_step(b, i)
        out.append(b(x(4, 2)))
    return out


@case("norm.BatchNorm1d.step_per_sample_in_eval")
def _():
    from alf.norm_layers import (
        BatchNorm1d,
        prepare_rnn_batch_norm,
        set_batch_norm_current_step,
        set_batch_norm_max_steps,
    )

    b = BatchNorm1d(2)
    prepare_rnn_batch_norm(b)
    set_batch_norm_max_steps(b, 3)
    for i in range(3):
        set_batch_norm_current_step(b, i)
        b(x(4, 2) * (i + 1) + i)
    b.eval()
    set_batch_norm_current_step(b, torch.tensor([0, 1, 2, 7]))
    return b(x(4, 2))


@case("norm.prepare_rnn_batch_norm")
def _():
    from alf.norm_layers import BatchNorm1d, prepare_rnn_batch_norm

    return [
        prepare_rnn_batch_norm(nn.Sequential(nn.Linear(2, 2), BatchNorm1d(2))),
        prepare_rnn_batch_norm(nn.Linear(2, 2)),
    ]


@case("norm.prepare_rnn_batch_norm.gives_the_module_methods")
def _():
    """After preparing, a step can be set on the whole module."""
    from alf.norm_layers import BatchNorm1d, prepare_rnn_batch_norm

    m = nn.Sequential(nn.Linear(2, 2), BatchNorm1d(2))
    prepare_rnn_batch_norm(m)
    m.set_batch_norm_max_steps(5)
    m.set_batch_norm_current_step(1)
    return m(x(3, 2)).shape


@case("norm.ParamLayerNorm1d")
def _():
    from alf.norm_layers import ParamLayerNorm1d

    n = ParamLayerNorm1d(2, 3)
    n.set_parameters(pattern((2, n.param_length), 1.0))
    return [
        n.param_length,
        n.weight_length,
        n.bias_length,
        n(x(2, 2, 3)),
        n(x(2, 2, 3), keep_group_dim=False),
    ]


@case("norm.ParamLayerNorm2d")
def _():
    from alf.norm_layers import ParamLayerNorm2d

    n = ParamLayerNorm2d(2, 3)
    n.set_parameters(pattern((2, n.param_length), 1.0))
    return [n.param_length, n(x(2, 2, 3, 2, 2))]


# ---- alf.initializers ----------------------------------------------------------


@case("initializers.variance_scaling_init.std")
def _():
    from alf.initializers import variance_scaling_init

    out = {}
    for mode in ("fan_in", "fan_out", "fan_avg"):
        for dist in ("truncated_normal", "uniform", "untruncated_normal"):
            w = torch.empty(400, 1600)
            variance_scaling_init(w, gain=1.0, mode=mode, distribution=dist)
            out[mode + " " + dist] = round(float(w.std()) * 1000 / 5)
    return out


@case("initializers.variance_scaling_init.nonlinearity")
def _():
    from alf.initializers import variance_scaling_init

    out = {}
    for name, f in (("relu", torch.relu), ("tanh", torch.tanh), ("elu", torch.nn.functional.elu)):
        for after in (True, False):
            w = torch.empty(500, 1000)
            variance_scaling_init(w, nonlinearity=f, calc_gain_after_activation=after)
            out["%s %s" % (name, after)] = round(float(w.std()) * 1000**0.5, 1)
    return out


@case("initializers.variance_scaling_init.truncated_at_two_std")
def _():
    from alf.initializers import variance_scaling_init

    w = torch.empty(500, 1000)
    variance_scaling_init(w)
    return [round(float(w.abs().max() / w.std()), 1)]


@case("initializers.variance_scaling_init.transposed")
def _():
    from alf.initializers import variance_scaling_init

    w = torch.empty(16, 256, 3, 3)
    variance_scaling_init(w, transposed=True)
    v = torch.empty(16, 256, 3, 3)
    variance_scaling_init(v)
    return round(float(w.std() / v.std()), 1)


@case("initializers.variance_scaling_init.refusals")
def _():
    from alf.initializers import variance_scaling_init

    return [
        refuses(variance_scaling_init, torch.empty(3)),
        refuses(variance_scaling_init, torch.empty(3, 3), mode="fan_middle"),
        refuses(variance_scaling_init, torch.empty(3, 3), distribution="cauchy"),
    ]
